// Encodes or decodes HPACK stories with golang.org/x/net/http2/hpack.
//
// Usage: hpack-peer encode|decode, a JSON array of stories on stdin, the completed stories on stdout. A story is of the
// format of http2jp's hpack-test-case, with "never_indexed" (the places of such headers) besides. Strings have one
// character below U+0100 for each byte.
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/net/http2/hpack"
)

type testCase struct {
	Seqno           int                 `json:"seqno"`
	HeaderTableSize *uint32             `json:"header_table_size,omitempty"`
	Wire            string              `json:"wire,omitempty"`
	Headers         []map[string]string `json:"headers"`
	NeverIndexed    []int               `json:"never_indexed,omitempty"`
}

type story struct {
	Description string     `json:"description"`
	Cases       []testCase `json:"cases"`
}

func toBytes(text string) string {
	var out []byte
	for _, character := range text {
		out = append(out, byte(character))
	}
	return string(out)
}

func toText(bytes string) string {
	var out []rune
	for _, each := range []byte(bytes) {
		out = append(out, rune(each))
	}
	return string(out)
}

func encode(s *story) error {
	var out bytes.Buffer
	encoder := hpack.NewEncoder(&out)
	for i := range s.Cases {
		each := &s.Cases[i]
		if each.HeaderTableSize != nil {
			encoder.SetMaxDynamicTableSizeLimit(*each.HeaderTableSize)
			encoder.SetMaxDynamicTableSize(*each.HeaderTableSize)
		}
		sensitive := map[int]bool{}
		for _, place := range each.NeverIndexed {
			sensitive[place] = true
		}
		out.Reset()
		for place, header := range each.Headers {
			for name, value := range header {
				field := hpack.HeaderField{Name: toBytes(name), Value: toBytes(value), Sensitive: sensitive[place]}
				if err := encoder.WriteField(field); err != nil {
					return err
				}
			}
		}
		each.Wire = hex.EncodeToString(out.Bytes())
	}
	s.Description = "Encoded by golang.org/x/net/http2/hpack."
	return nil
}

func decode(s *story) error {
	decoder := hpack.NewDecoder(4096, nil)
	for i := range s.Cases {
		each := &s.Cases[i]
		if each.HeaderTableSize != nil {
			decoder.SetAllowedMaxDynamicTableSize(*each.HeaderTableSize)
		}
		wire, err := hex.DecodeString(each.Wire)
		if err != nil {
			return err
		}
		fields, err := decoder.DecodeFull(wire)
		if err != nil {
			return fmt.Errorf("case %d: %w", each.Seqno, err)
		}
		each.Headers = []map[string]string{}
		each.NeverIndexed = nil
		for place, field := range fields {
			each.Headers = append(each.Headers, map[string]string{toText(field.Name): toText(field.Value)})
			if field.Sensitive {
				each.NeverIndexed = append(each.NeverIndexed, place)
			}
		}
	}
	return nil
}

func run() error {
	work := map[string]func(*story) error{"encode": encode, "decode": decode}[os.Args[1]]
	var stories []story
	if err := json.NewDecoder(os.Stdin).Decode(&stories); err != nil {
		return err
	}
	for i := range stories {
		if err := work(&stories[i]); err != nil {
			return fmt.Errorf("story %d: %w", i, err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(stories)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
