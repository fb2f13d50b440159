"""A worker in Python, with grpcio alone: takes jobs of a Sluice queue, as many at a time as it has slots.

Usage: worker.py HOST:PORT QUEUE [--slots N]

The stubs are made from the contract (see README.md). What is between START and END is all that is this worker's own.
Ctrl-C takes no more jobs and lets the running ones end.
"""

import argparse
import queue
import signal
import threading
import time

import grpc
from sluice.queues.v1 import queues_pb2 as pb
from sluice.queues.v1 import queues_pb2_grpc
from sluice.stream.v1 import stream_pb2


# START
class Reject(Exception):
    """The job can never be done."""


def handle(job):
    """Does a job. Returning says that it is done, raising that it is to be tried again; Reject, that it is not."""
    text = job.body.decode()
    if text == "bad":
        raise Reject("bad is no job")
    if text == "fail":
        raise RuntimeError("not today")
    print(f"{job.job_id} {job.priority} {text}", flush=True)
# END


class Worker:
    """Keeps `window` at the number of idle slots: no job waits here while another worker could run it."""

    def __init__(self, stub, queue_name, slots):
        self.stub, self.queue_name, self.slots = stub, queue_name, slots
        self.lock = threading.Lock()
        self.running = {}  # attempt -> lease
        self.unanswered = {}  # attempt -> what was said of it, until it is answered
        self.seen = self.request = 0
        self.session_token = b""
        self.worker_id = ""
        self.lease_ms = 30_000
        self.out = None
        self.draining = False

    def flow(self):
        window = 0 if self.draining else self.slots - len(self.running)
        return stream_pb2.Flow(seen=self.seen, window=window)

    def say(self, **kind):
        if self.out is not None:
            self.out.put(pb.WorkRequest(**kind))

    def run(self):
        """Stream after stream, until it is drained. Jobs go on while there is none."""
        threading.Thread(target=self.heartbeat, daemon=True).start()
        pause = 0.2
        while not (self.draining and not self.running and not self.unanswered):
            try:
                self.work()
                pause = 0.2
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 5)

    def work(self):
        """One stream."""
        with self.lock:
            out, self.seen = queue.SimpleQueue(), 0
            subscribe = pb.Subscribe(
                queue=self.queue_name,
                worker_id=self.worker_id,
                session_token=self.session_token,
                held=[*self.running.values(), *(said["lease"] for said in self.unanswered.values())],
                flow=self.flow(),
            )
            out.put(pb.WorkRequest(subscribe=subscribe))
            for said in self.unanswered.values():
                out.put(pb.WorkRequest(**said["kind"]))
            self.out = out
            if self.draining:
                self.say(drain=pb.Drain())
        try:
            for answer in self.stub.Work(iter(out.get, None)):
                self.hear(answer)
        finally:
            out.put(None)  # ends the thread that sends

    def hear(self, answer):
        with self.lock:
            kind = answer.WhichOneof("kind")
            if kind == "session":
                self.session_token = answer.session.session_token
                self.worker_id = answer.session.worker_id
                self.lease_ms = answer.session.lease_ms
                self.forget(answer.session.lost)
            elif kind == "delivery":
                delivery = answer.delivery
                self.seen = delivery.number
                self.running[delivery.lease.attempt] = delivery.lease
                threading.Thread(target=self.do, args=(delivery,), daemon=True).start()
            elif kind == "results":
                for result in answer.results.results:
                    self.unanswered.pop(result.lease.attempt, None)
            elif kind == "lease_lost":
                self.forget(answer.lease_lost.leases)

    def forget(self, leases):
        """These jobs are another's by now: what is said of them would count for nothing."""
        for lease in leases:
            self.running.pop(lease.attempt, None)

    def do(self, delivery):
        kind, nack = "ack", {}
        try:
            handle(delivery.job)
        except Reject as error:
            kind, nack = "nack", {"kind": pb.NACK_KIND_REJECT, "reason": str(error)}
        except Exception as error:
            kind, nack = "nack", {"kind": pb.NACK_KIND_RETRY, "reason": str(error)}
        lease = delivery.lease
        with self.lock:
            if self.running.pop(lease.attempt, None) is None:
                return
            self.request += 1
            if kind == "ack":
                said = {"ack": pb.Ack(request=self.request, leases=[lease])}
            else:
                said = {"nack": pb.Nack(request=self.request, lease=lease, **nack)}
            self.unanswered[lease.attempt] = {"lease": lease, "kind": said}
            self.say(**said)
            self.say(flow=self.flow())

    def heartbeat(self):
        """Extends the leases of jobs that run for longer than a third of one."""
        while True:
            time.sleep(self.lease_ms / 3000)
            with self.lock:
                leases = list(self.running.values())
            if not leases:
                continue
            try:
                answer = self.stub.ExtendLeases(
                    pb.ExtendLeasesRequest(queue=self.queue_name, leases=leases), timeout=self.lease_ms / 3000
                )
                lost = [each.lease for each in answer.results if each.code != pb.RESULT_CODE_OK]
                with self.lock:
                    self.forget(lost)
            except grpc.RpcError:
                pass  # tried again before the lease ends

    def drain(self, *_):
        """The server ends the stream when nothing is left. Without the lock: a signal may interrupt who has it."""
        self.draining = True
        self.say(drain=pb.Drain())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("queue")
    parser.add_argument("--slots", type=int, default=4)
    options = parser.parse_args()
    # A network that swallows everything is noticed before the leases end.
    keepalive = [("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000)]
    with grpc.insecure_channel(options.address, options=keepalive) as channel:
        worker = Worker(queues_pb2_grpc.QueueServiceStub(channel), options.queue, options.slots)
        signal.signal(signal.SIGINT, worker.drain)
        signal.signal(signal.SIGTERM, worker.drain)
        worker.run()


if __name__ == "__main__":
    main()
