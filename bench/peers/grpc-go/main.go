// The grpc-go peer of the benchmark, in three forms:
//
//	plain    generated code and default options, as most of its users write it
//	tuned    generated code, with the options that its documentation offers for throughput
//	encoded  the tuned options, and messages encoded beforehand behind a codec that passes bytes through
//
// It prints `version …`, then `listening HOST:PORT`, and serves until it is told to end.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"sluice.example/bench/grpc-go/pb"
)

func main() {
	port := flag.Int("port", 0, "port on 127.0.0.1; 0 picks a free one")
	entriesPath := flag.String("entries", "", "file of gRPC frames, one log entry each")
	count := flag.Int("count", 1_000_000, "entries that a StreamLogs without follow answers with")
	data := flag.String("data", "", "folder to append written entries in; without it they are dropped after the followers have them")
	files := flag.String("files", "", "folder that DownloadFile reads from")
	form := flag.String("form", "plain", "plain, tuned or encoded")
	certificate := flag.String("certificate", "", "PEM file; with it the port speaks TLS")
	key := flag.String("key", "", "PEM file of the certificate's key")
	flag.Parse()

	frames, err := readFrames(*entriesPath)
	if err != nil {
		log.Fatal(err)
	}
	journal, err := openJournal(*data)
	if err != nil {
		log.Fatal(err)
	}

	var options []grpc.ServerOption
	if *certificate != "" {
		secure, err := credentials.NewServerTLSFromFile(*certificate, *key)
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.Creds(secure))
	}
	var server *grpc.Server
	switch *form {
	case "plain":
		server = grpc.NewServer(options...)
		registerTyped(server, frames, *count, journal)
		pb.RegisterFileServiceServer(server, fileService{folder: *files})
	case "tuned":
		server = grpc.NewServer(append(options, tunedOptions()...)...)
		registerTyped(server, frames, *count, journal)
		pb.RegisterFileServiceServer(server, fileService{folder: *files})
	case "encoded":
		server = newEncodedServer(append(options, tunedOptions()...), frames, *count)
	default:
		log.Fatalf("unknown form %q: plain, tuned or encoded", *form)
	}

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "version grpc-go %s, %s\n", grpc.Version, runtime.Version())
	fmt.Fprintf(os.Stderr, "listening %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}

// Fewer system calls (larger, shared write buffers), windows wide enough that the client never makes it wait, and
// workers that keep their grown stacks between calls.
func tunedOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.WriteBufferSize(256 << 10),
		grpc.ReadBufferSize(256 << 10),
		grpc.SharedWriteBuffer(true),
		grpc.InitialWindowSize(1 << 20),
		grpc.InitialConnWindowSize(16 << 20),
		grpc.NumStreamWorkers(uint32(runtime.NumCPU())),
	}
}
