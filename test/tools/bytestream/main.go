// A client of google.bytestream.ByteStream with Google's own stubs, and with the client that Google's Go library has around them.
//
//	bytestream-client ADDRESS put NAME FILE [STOP_AFTER]
//	bytestream-client ADDRESS get NAME OFFSET LIMIT
//	bytestream-client ADDRESS status NAME
//	bytestream-client ADDRESS library-put NAME FILE
//	bytestream-client ADDRESS library-get NAME OFFSET
//
// put goes on where the server says; with STOP_AFTER it sends so many bytes more and leaves the resource unfinished. It prints the
// committed size; get prints the SHA-256 of what it got and its size; status prints size and whether it is complete. What
// fails is told by its code.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"

	library "google.golang.org/api/transport/bytestream"
	"google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const chunkBytes = 64 * 1024

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Println("failed", status.Code(err))
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, words []string) error {
	connection, err := grpc.NewClient(words[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := bytestream.NewByteStreamClient(connection)
	switch words[1] {
	case "put":
		return put(ctx, client, words[2], words[3:])
	case "get":
		return get(ctx, client, words[2], words[3:])
	case "status":
		answer, err := client.QueryWriteStatus(ctx, &bytestream.QueryWriteStatusRequest{ResourceName: words[2]})
		if err == nil {
			fmt.Println(answer.CommittedSize, answer.Complete)
		}
		return err
	case "library-put":
		return libraryPut(ctx, library.NewClient(connection), words[2], words[3])
	case "library-get":
		return libraryGet(ctx, library.NewClient(connection), words[2], words[3])
	}
	return fmt.Errorf("unknown word %q", words[1])
}

func libraryPut(ctx context.Context, client *library.Client, name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	writer, err := client.NewWriter(ctx, name)
	if err != nil {
		return err
	}
	size, err := io.Copy(writer, file)
	if err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	fmt.Println(size)
	return nil
}

func libraryGet(ctx context.Context, client *library.Client, name, from string) error {
	offset, err := strconv.ParseInt(from, 10, 64)
	if err != nil {
		return err
	}
	reader, err := client.NewReaderAt(ctx, name, offset)
	if err != nil {
		return err
	}
	defer reader.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, reader)
	if err != nil {
		return err
	}
	fmt.Printf("%x %d\n", hash.Sum(nil), size)
	return nil
}

func put(ctx context.Context, client bytestream.ByteStreamClient, name string, words []string) error {
	content, err := os.ReadFile(words[0])
	if err != nil {
		return err
	}
	offset := int64(0)
	known, err := client.QueryWriteStatus(ctx, &bytestream.QueryWriteStatusRequest{ResourceName: name})
	if err == nil {
		offset = known.CommittedSize
	} else if status.Code(err) != codes.NotFound {
		return err
	}
	end := int64(len(content))
	if len(words) > 1 {
		count, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return err
		}
		end = min(end, offset+count)
	}
	stream, err := client.Write(ctx)
	if err != nil {
		return err
	}
	for isFirst := true; isFirst || offset < end; isFirst = false {
		next := min(end, offset+chunkBytes)
		request := &bytestream.WriteRequest{
			WriteOffset: offset,
			Data:        content[offset:next],
			FinishWrite: len(words) == 1 && next == end,
		}
		if isFirst {
			request.ResourceName = name
		}
		// io.EOF: the server has answered already; CloseAndRecv says what.
		if err := stream.Send(request); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		offset = next
	}
	answer, err := stream.CloseAndRecv()
	if err == nil {
		fmt.Println(answer.CommittedSize)
	}
	return err
}

func get(ctx context.Context, client bytestream.ByteStreamClient, name string, words []string) error {
	offset, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return err
	}
	limit, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return err
	}
	request := &bytestream.ReadRequest{ResourceName: name, ReadOffset: offset, ReadLimit: limit}
	stream, err := client.Read(ctx, request)
	if err != nil {
		return err
	}
	hash, size := sha256.New(), 0
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			fmt.Printf("%x %d\n", hash.Sum(nil), size)
			return nil
		}
		if err != nil {
			return err
		}
		hash.Write(answer.Data)
		size += len(answer.Data)
	}
}
