"""Drives the whole protocol of a Sluice queue with Python's grpcio and prints what it saw, as JSON.

Usage: work_queue.py HOST:PORT
"""

import json
import queue
import sys

import grpc
from sluice.queues.v1 import queues_pb2 as pb
from sluice.queues.v1 import queues_pb2_grpc
from sluice.stream.v1 import stream_pb2

CODES = pb.ResultCode.DESCRIPTOR.values_by_number


class Worker:
    """One Work stream: what is said goes into a queue, what is told is asked for."""

    def __init__(self, stub, **subscribe):
        self._requests = queue.Queue()
        self.say(subscribe=pb.Subscribe(**subscribe))
        self.call = stub.Work(iter(self._requests.get, None))

    def say(self, **kind):
        self._requests.put(pb.WorkRequest(**kind))

    def half_close(self):
        self._requests.put(None)

    def told(self, kind):
        """The next message, which must be of this kind."""
        message = next(self.call)
        assert message.WhichOneof("kind") == kind, f"{kind} was expected: {message}"
        return getattr(message, kind)

    def results(self, **kind):
        self.say(**kind)
        return [CODES[each.code].name for each in self.told("results").results]


def flow(seen, window):
    return stream_pb2.Flow(seen=seen, window=window)


def error_of(action):
    try:
        action()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return None


def protocol(stub):
    """Credit, offers, starts, acks, nacks, throttle, recall, progress, extension, reattachment, drain."""
    seen = {}
    stub.CreateQueue(pb.CreateQueueRequest(name="tax", settings=pb.QueueSettings(backoff_ms=0)))
    jobs = [pb.NewJob(body=f"job {n}".encode(), headers={"n": str(n)}) for n in range(6)]
    seen["ids"] = [each.job_id for each in stub.Enqueue(pb.EnqueueRequest(queue="tax", jobs=jobs)).jobs]

    worker = Worker(stub, queue="tax", worker_id="python", explicit_start=True, flow=flow(0, 2), heartbeat_ms=0)
    session = worker.told("session")
    offers = [worker.told("delivery") for _ in range(2)]
    seen["offers"] = [[each.number, each.job.body.decode(), dict(each.job.headers), each.lease_until] for each in offers]
    leases = [each.lease for each in offers]
    seen["start"] = worker.results(start=pb.Start(request=1, leases=leases))
    worker.say(progress=pb.Progress(lease=leases[0], fraction=0.5, message="half"))
    seen["ack"] = worker.results(ack=pb.Ack(request=2, leases=[leases[0], pb.Lease(job_id="99", attempt=1)]))
    seen["again"] = worker.results(ack=pb.Ack(request=3, leases=[leases[0]]))
    retry = pb.Nack(request=4, lease=leases[1], kind=pb.NACK_KIND_REJECT, reason="no ink")
    seen["nack"] = worker.results(nack=retry)

    worker.say(flow=flow(2, 4))
    offers = [worker.told("delivery") for _ in range(4)]
    kept = offers[0].lease
    worker.results(start=pb.Start(leases=[kept]))
    extended = stub.ExtendLeases(pb.ExtendLeasesRequest(queue="tax", leases=[kept], lease_ms=60_000))
    seen["extend"] = [CODES[each.code].name for each in extended.results]
    seen["explain"] = stub.ExplainJob(pb.ExplainJobRequest(queue="tax", job_id=kept.job_id)).job.worker_id

    second = Worker(stub, queue="tax", explicit_start=True, flow=flow(0, 1), heartbeat_ms=0)
    second.told("session")
    taken = second.told("delivery").lease
    recall = worker.told("recall")
    seen["recall"] = [pb.RecallReason.Name(recall.reason), [each.job_id for each in recall.leases] == [taken.job_id]]
    recalled = next(each.lease for each in offers if each.lease.job_id == taken.job_id)
    seen["late start"] = worker.results(start=pb.Start(leases=[recalled]))
    second.say(throttle=pb.Throttle(fairness_key="other", until=2**62))
    second.half_close()
    seen["end"] = [each.WhichOneof("kind") for each in second.call]

    worker.call.cancel()
    back = Worker(stub, queue="tax", session_token=session.session_token, held=[kept, recalled], explicit_start=True)
    session = back.told("session")
    seen["back"] = [session.worker_id, list(session.kept) == [kept], list(session.lost) == [recalled]]
    back.results(ack=pb.Ack(leases=[kept]))
    back.say(drain=pb.Drain())
    seen["drained"] = back.told("drained").last_number
    seen["after"] = [each.WhichOneof("kind") for each in back.call]
    return seen


def streams(stub):
    """A stream of batches in, a worker that starts its jobs as they arrive, and what people ask."""
    stub.CreateQueue(pb.CreateQueueRequest(name="stream"))
    batches = [pb.EnqueueStreamRequest(queue="stream", jobs=[pb.NewJob(body=b"a"), pb.NewJob(body=b"b", priority=6)])] * 3
    seen = {"batches": [len(each.jobs) for each in stub.EnqueueStream(iter(batches))]}
    peeked = stub.PeekJobs(pb.PeekJobsRequest(queue="stream", limit=2, body_bytes=10))
    seen["peek"] = [each.job.body.decode() for each in peeked.jobs]
    worker = Worker(stub, queue="stream", flow=flow(0, 6))
    worker.told("session")
    deliveries = [worker.told("delivery") for _ in range(6)]
    seen["leased"] = all(each.lease_until > 0 for each in deliveries)
    acked = worker.results(ack=pb.Ack(leases=[each.lease for each in deliveries]))
    seen["acks"] = sorted(set(acked))
    worker.call.cancel()
    counts = stub.GetQueue(pb.GetQueueRequest(name="stream")).queue.counts
    seen["done"] = [counts.done, counts.waiting]
    return seen


def errors(stub):
    """What is wrong is said, with its code."""
    first = iter([pb.WorkRequest(flow=flow(0, 1))])
    job = pb.NewJob(job_id="mine")
    stub.Enqueue(pb.EnqueueRequest(queue="stream", jobs=[job]))
    return {
        "unknown": error_of(lambda: stub.GetQueue(pb.GetQueueRequest(name="gone"))),
        "reused": error_of(lambda: stub.Enqueue(pb.EnqueueRequest(queue="stream", jobs=[job]))),
        "first": error_of(lambda: next(stub.Work(first))),
        "window": error_of(lambda: list(Worker(stub, queue="stream", flow=flow(0, 10_001)).call)),
    }


def main():
    with grpc.insecure_channel(sys.argv[1]) as channel:
        stub = queues_pb2_grpc.QueueServiceStub(channel)
        print(json.dumps({"protocol": protocol(stub), "streams": streams(stub), "errors": errors(stub)}))


main()
