package main

import (
	"context"
	"errors"
	"io"
	"log"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"sluice.example/bench/grpc-go/pb"
	benchv1 "sluice.example/bench/grpc-go/pb/bench/v1"
	collectorv1 "sluice.example/bench/grpc-go/pb/opentelemetry/proto/collector/logs/v1"
	commonv1 "sluice.example/bench/grpc-go/pb/opentelemetry/proto/common/v1"
	logsv1 "sluice.example/bench/grpc-go/pb/sluice/logs/v1"
)

// Entries that may wait for one follower: a full one makes the producer wait.
const followerBacklog = 256

func registerTyped(server *grpc.Server, frames [][]byte, count int, journal *journal) {
	logs := &logService{count: count, journal: journal, followers: map[*follower]struct{}{}}
	for _, message := range frames {
		entry := &logsv1.LogEntry{}
		if err := proto.Unmarshal(message, entry); err != nil {
			log.Fatal(err)
		}
		logs.entries = append(logs.entries, entry)
	}
	pb.RegisterLogServiceServer(server, seedService{logs: logs})
	logsv1.RegisterLogServiceServer(server, logs)
	collectorv1.RegisterLogsServiceServer(server, otlpService{journal: journal})
	benchv1.RegisterEchoServiceServer(server, echoService{})
}

type seedService struct {
	pb.UnimplementedLogServiceServer
	logs *logService
}

func (s seedService) StreamLogs(request *logsv1.LogStreamRequest, stream pb.LogService_StreamLogsServer) error {
	return s.logs.StreamLogs(request, stream)
}

type logService struct {
	logsv1.UnimplementedLogServiceServer
	entries []*logsv1.LogEntry
	count   int
	journal *journal

	mutex     sync.RWMutex
	followers map[*follower]struct{}
}

type follower struct {
	coming  chan *logsv1.LogEntry
	context context.Context
}

func (s *logService) StreamLogs(request *logsv1.LogStreamRequest, stream grpc.ServerStreamingServer[logsv1.LogEntry]) error {
	if request.Follow {
		return s.follow(stream)
	}
	for i := range s.count {
		if err := stream.Send(s.entries[i%len(s.entries)]); err != nil {
			return err
		}
	}
	return nil
}

func (s *logService) follow(stream grpc.ServerStreamingServer[logsv1.LogEntry]) error {
	self := &follower{coming: make(chan *logsv1.LogEntry, followerBacklog), context: stream.Context()}
	s.mutex.Lock()
	s.followers[self] = struct{}{}
	s.mutex.Unlock()
	defer func() {
		s.mutex.Lock()
		delete(s.followers, self)
		s.mutex.Unlock()
	}()
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for {
		select {
		case entry := <-self.coming:
			if err := stream.Send(entry); err != nil {
				return err
			}
		case <-self.context.Done():
			return self.context.Err()
		}
	}
}

func (s *logService) WriteLogStream(stream grpc.BidiStreamingServer[logsv1.WriteLogStreamRequest, logsv1.WriteLogStreamResponse]) error {
	acknowledged := int64(0)
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var bytes []byte
		for _, entry := range request.Entries {
			if bytes, err = appendFrame(bytes, entry); err != nil {
				return err
			}
		}
		if err := s.journal.append(bytes); err != nil {
			return err
		}
		s.publish(request.Entries)
		acknowledged += int64(len(request.Entries))
		if err := stream.Send(&logsv1.WriteLogStreamResponse{Acknowledged: acknowledged}); err != nil {
			return err
		}
	}
}

func (s *logService) publish(entries []*logsv1.LogEntry) {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	for _, entry := range entries {
		for follower := range s.followers {
			select {
			case follower.coming <- entry:
			case <-follower.context.Done():
			}
		}
	}
}

type otlpService struct {
	collectorv1.UnimplementedLogsServiceServer
	journal *journal
}

func (s otlpService) Export(_ context.Context, request *collectorv1.ExportLogsServiceRequest) (*collectorv1.ExportLogsServiceResponse, error) {
	var bytes []byte
	for _, resource := range request.ResourceLogs {
		application := stringAttribute(resource.Resource.GetAttributes(), "service.name")
		for _, scope := range resource.ScopeLogs {
			for _, record := range scope.LogRecords {
				entry := &logsv1.LogEntry{
					Timestamp: int64(record.TimeUnixNano), Level: record.SeverityText, Application: application,
					Message: record.Body.GetStringValue(), Fields: map[string]string{},
					SeverityNumber: int32(record.SeverityNumber), TraceId: record.TraceId, SpanId: record.SpanId,
				}
				for _, attribute := range record.Attributes {
					entry.Fields[attribute.Key] = attribute.Value.GetStringValue()
				}
				var err error
				if bytes, err = appendFrame(bytes, entry); err != nil {
					return nil, err
				}
			}
		}
	}
	return &collectorv1.ExportLogsServiceResponse{}, s.journal.append(bytes)
}

func stringAttribute(attributes []*commonv1.KeyValue, key string) string {
	for _, attribute := range attributes {
		if attribute.Key == key {
			return attribute.Value.GetStringValue()
		}
	}
	return ""
}

type echoService struct {
	benchv1.UnimplementedEchoServiceServer
}

func (echoService) Echo(_ context.Context, request *benchv1.EchoRequest) (*benchv1.EchoResponse, error) {
	return &benchv1.EchoResponse{Payload: request.Payload}, nil
}

func (echoService) Repeat(request *benchv1.RepeatRequest, stream grpc.ServerStreamingServer[benchv1.EchoResponse]) error {
	for range request.Count {
		if err := stream.Send(&benchv1.EchoResponse{Payload: request.Payload}); err != nil {
			return err
		}
	}
	return nil
}

func (echoService) Upload(stream grpc.ClientStreamingServer[benchv1.EchoRequest, benchv1.UploadResponse]) error {
	for count := int32(0); ; count++ {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return stream.SendAndClose(&benchv1.UploadResponse{Count: count})
		} else if err != nil {
			return err
		}
	}
}

func (echoService) Chat(stream grpc.BidiStreamingServer[benchv1.EchoRequest, benchv1.EchoResponse]) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&benchv1.EchoResponse{Payload: request.Payload}); err != nil {
			return err
		}
	}
}
