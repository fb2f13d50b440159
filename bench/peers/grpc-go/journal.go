package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"syscall"

	"google.golang.org/protobuf/proto"
)

// journal appends to one file with group commit: while one fdatasync runs, what arrives gathers for the next.
type journal struct {
	appends chan journalAppend
}

type journalAppend struct {
	bytes []byte
	done  chan error
}

// openJournal starts a journal in `folder`; "" makes one that drops what it is given.
func openJournal(folder string) (*journal, error) {
	j := &journal{appends: make(chan journalAppend, 64)}
	if folder == "" {
		go func() {
			for a := range j.appends {
				a.done <- nil
			}
		}()
		return j, nil
	}
	file, err := os.Create(filepath.Join(folder, "entries.frames"))
	if err != nil {
		return nil, err
	}
	go j.commit(file)
	return j, nil
}

// append returns when the bytes are durable.
func (j *journal) append(bytes []byte) error {
	done := make(chan error, 1)
	j.appends <- journalAppend{bytes, done}
	return <-done
}

func (j *journal) commit(file *os.File) {
	for first := range j.appends {
		group := []journalAppend{first}
		gathered := first.bytes
	gather:
		for {
			select {
			case more := <-j.appends:
				group = append(group, more)
				gathered = append(gathered, more.bytes...)
			default:
				break gather
			}
		}
		_, err := file.Write(gathered)
		if err == nil {
			err = syscall.Fdatasync(int(file.Fd()))
		}
		for _, a := range group {
			a.done <- err
		}
	}
}

// appendFrame encodes the message as a gRPC frame behind `bytes`.
func appendFrame(bytes []byte, message proto.Message) ([]byte, error) {
	start := len(bytes)
	bytes = append(bytes, 0, 0, 0, 0, 0)
	bytes, err := proto.MarshalOptions{}.MarshalAppend(bytes, message)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(bytes[start+1:], uint32(len(bytes)-start-framePrefixBytes))
	return bytes, nil
}
