package main

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// passThrough is a codec for messages that are bytes already.
type passThrough struct{}

func (passThrough) Marshal(message any) ([]byte, error) {
	bytes, ok := message.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T: only bytes", message)
	}
	return *bytes, nil
}

func (passThrough) Unmarshal(bytes []byte, message any) error {
	into, ok := message.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot receive into a %T: only bytes", message)
	}
	*into = bytes
	return nil
}

func (passThrough) Name() string { return "proto" }

// newEncodedServer serves StreamLogs (history) and Echo without touching a message.
func newEncodedServer(options []grpc.ServerOption, entries [][]byte, count int) *grpc.Server {
	handle := func(_ any, stream grpc.ServerStream) error {
		var request []byte
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		switch method, _ := grpc.MethodFromServerStream(stream); method {
		case "/bench.v1.EchoService/Echo":
			return stream.SendMsg(&request)
		case "/LogService/StreamLogs":
			for i := range count {
				if err := stream.SendMsg(&entries[i%len(entries)]); err != nil {
					return err
				}
			}
			return nil
		default:
			return status.Errorf(codes.Unimplemented, "the encoded form has no %s", method)
		}
	}
	return grpc.NewServer(append(options, grpc.ForceServerCodec(passThrough{}), grpc.UnknownServiceHandler(handle))...)
}
