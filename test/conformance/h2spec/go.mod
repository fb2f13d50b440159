module h2spec-pinned

go 1.21

require (
	github.com/fatih/color v1.17.0
	github.com/spf13/cobra v1.8.1
	github.com/summerwind/h2spec v2.2.1+incompatible
	golang.org/x/net v0.30.0
)
