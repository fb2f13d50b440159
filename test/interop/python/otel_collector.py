"""An OTLP/gRPC receiver by OpenTelemetry's own Python stubs: says where it listens, then one line of JSON for each request."""

import json
import sys
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc


class Receiver(logs_service_pb2_grpc.LogsServiceServicer):
    def Export(self, request, context):
        print(json.dumps(MessageToDict(request)), flush=True)
        return logs_service_pb2.ExportLogsServiceResponse()


server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Receiver(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"listening on 127.0.0.1:{port}", flush=True)
sys.stdin.read()
server.stop(0)
