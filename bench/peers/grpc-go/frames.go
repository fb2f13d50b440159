package main

import (
	"encoding/binary"
	"fmt"
	"os"
)

const framePrefixBytes = 5

// readFrames returns the messages of a file of gRPC frames, without their prefixes.
func readFrames(path string) ([][]byte, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var messages [][]byte
	for offset := 0; offset < len(file); {
		if len(file)-offset < framePrefixBytes {
			return nil, fmt.Errorf("%s: a torn frame at byte %d", path, offset)
		}
		length := int(binary.BigEndian.Uint32(file[offset+1:]))
		start := offset + framePrefixBytes
		if length > len(file)-start {
			return nil, fmt.Errorf("%s: a torn frame at byte %d", path, offset)
		}
		messages = append(messages, file[start:start+length])
		offset = start + length
	}
	if len(messages) == 0 {
		return nil, fmt.Errorf("%s holds no frame", path)
	}
	return messages, nil
}
