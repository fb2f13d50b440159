package main

import (
	"io"
	"os"
	"path/filepath"

	"google.golang.org/grpc"

	"sluice.example/bench/grpc-go/pb"
	filesv1 "sluice.example/bench/grpc-go/pb/sluice/files/v1"
)

const chunkBytes = 256 << 10

type fileService struct {
	pb.UnimplementedFileServiceServer
	folder string
}

// Send encodes before it returns, so that one buffer will do.
func (s fileService) DownloadFile(request *filesv1.FileRequest, stream grpc.ServerStreamingServer[filesv1.FileChunk]) error {
	file, err := os.Open(filepath.Join(s.folder, request.FilePath))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	buffer := make([]byte, chunkBytes)
	for offset := int64(0); offset < info.Size(); {
		count, err := io.ReadFull(file, buffer[:min(chunkBytes, info.Size()-offset)])
		if err != nil {
			return err
		}
		chunk := &filesv1.FileChunk{
			FilePath:    request.FilePath,
			Offset:      offset,
			Data:        buffer[:count],
			TotalSize:   info.Size(),
			IsLastChunk: offset+int64(count) == info.Size(),
		}
		if err := stream.Send(chunk); err != nil {
			return err
		}
		offset += int64(count)
	}
	return nil
}
