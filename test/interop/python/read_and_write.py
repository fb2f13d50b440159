"""Talks to a Sluice server with Python's grpcio and prints what it got, as JSON.

Usage: read_and_write.py HOST:PORT read | write-bad | follow COUNT | batches SIZE | context CURSOR | count
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


def read_batches(stub, size):
    """The same entries by StreamLogBatches, the sizes of the batches, and what else came."""
    entries, sizes, controls = [], [], []
    for batch in stub.StreamLogBatches(logs_pb2.LogStreamRequest(application="batched", batch_max_entries=size)):
        if batch.HasField("control"):
            controls.append(batch.control.WhichOneof("kind"))
            continue
        sizes.append(len(batch.entries))
        entries.extend(batch.entries)
    plain = [
        each
        for each in stub.StreamLogs(logs_pb2.LogStreamRequest(application="batched"))
        if not each.HasField("control")
    ]
    return {
        "isSame": entries == plain,
        "sizes": sizes,
        "controls": controls,
        "cursors": [each.cursor for each in entries],
    }


def read_context(stub, cursor):
    """The entries around one: the answer is put together of stored bytes."""
    found = stub.GetLogContext(logs_pb2.GetLogContextRequest(cursor=cursor, before=2, after=1))
    messages = [each.message for each in found.entries]
    return {"messages": messages, "index": found.index, "more": [found.has_more_before, found.has_more_after]}


def count(stub):
    """How many entries of each level: the answer is encoded by hand."""
    found = stub.CountLogs(logs_pb2.CountLogsRequest(applications=["batched"], bucket_ns=10**18))
    rows = [[each.application, each.severity_number, each.count] for each in found.counts]
    return {"total": found.total, "rows": rows}


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
        elif action == "batches":
            result = read_batches(stub, int(sys.argv[3]))
        elif action == "context":
            result = read_context(stub, sys.argv[3])
        elif action == "count":
            result = count(stub)
        else:
            result = follow(stub, int(sys.argv[3]))
    print(json.dumps(result))


main()
