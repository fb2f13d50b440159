"""Talks to a Sluice server with Python's grpcio and prints what it got, as JSON.

Usage: read_and_write.py HOST:PORT read | write-bad | follow COUNT
"""

import json
import sys

import grpc
from sluice.logs.v1 import logs_pb2, logs_pb2_grpc


def read(stub):
    """Every entry of the log. Python's protobuf refuses a message with a string that is no UTF-8."""
    entries = []
    for entry in stub.StreamLogs(logs_pb2.LogStreamRequest()):
        if entry.HasField("control"):
            continue
        entries.append({"sequence": entry.sequence, "message": entry.message, "fields": dict(entry.fields)})
    return entries


def write_bad(stub, channel):
    """A batch whose second entry is no UTF-8: Python would not send one, so its bytes are written by hand."""
    good = logs_pb2.LogEntry(application="python", message="good").SerializeToString()
    bad = logs_pb2.LogEntry(application="python", message="bad??").SerializeToString().replace(b"??", b"\xff\xfe")
    in_field = logs_pb2.LogEntry(application="python", fields={"k": "v??"}).SerializeToString().replace(b"??", b"\xc3(")
    forged = logs_pb2.LogEntry(application="python", sequence=7).SerializeToString()
    batch = b"".join(b"\x22" + bytes([len(each)]) + each for each in (good, bad, in_field, forged, good))
    write = channel.unary_unary(
        "/sluice.logs.v1.LogService/WriteLogs",
        request_serializer=lambda message: message,
        response_deserializer=logs_pb2.WriteLogsResponse.FromString,
    )
    response = write(batch)
    return {
        "accepted": response.accepted,
        "rejected": [{"index": each.index, "reason": each.reason} for each in response.rejected],
    }


def follow(stub, count):
    """Writes entries and follows them at the same time; leaves after `count`."""
    stream = stub.StreamLogs(logs_pb2.LogStreamRequest(application="python-live", follow=True, tail_lines=0))
    seen = []
    for entry in stream:
        if entry.HasField("control"):
            if entry.control.HasField("sync"):
                entries = [logs_pb2.LogEntry(application="python-live", message=f"m{n}") for n in range(count)]
                stub.WriteLogs(logs_pb2.WriteLogsRequest(entries=entries))
            continue
        seen.append(entry.message)
        if len(seen) == count:
            stream.cancel()
            break
    return seen


def main():
    address, action = sys.argv[1:3]
    with grpc.insecure_channel(address) as channel:
        stub = logs_pb2_grpc.LogServiceStub(channel)
        if action == "read":
            result = read(stub)
        elif action == "write-bad":
            result = write_bad(stub, channel)
        else:
            result = follow(stub, int(sys.argv[3]))
    print(json.dumps(result))


main()
