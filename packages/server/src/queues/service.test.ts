// What queues say to requests that are wrong, and to streams of jobs.
import { create, toBinary } from "@bufbuild/protobuf";
import { EnqueueStreamRequestSchema, NackKind, QueueService } from "@sluice/api";
import type { Call } from "@sluice/rpc";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeCall } from "../stream/testing/fake-call.ts";
import { OpenedQueues } from "./testing/opened-queues.ts";
import { TestWorker } from "./testing/test-worker.ts";

let opened: OpenedQueues;

beforeEach(async () => {
  opened = await OpenedQueues.open({
    limits: { jobBytesMax: 1000, jobHeaderBytesMax: 100, jobKeyBytesMax: 20, jobBatchMax: 5, workSessionsMax: 3 },
  });
  await opened.createQueue("q", { windowMax: 10, jobsMax: 8n });
});
afterEach(() => opened[Symbol.asyncDispose]());

const text = (body: string) => ({ body: Buffer.from(body) });
const flow = (window: number) => ({ seen: 0n, window, windowBytes: 0n });
const fieldsOf = (error: unknown) =>
  (error as { facts?: { violations?: { field: string }[] } }).facts?.violations?.map(({ field }) => field);

describe("a bad job is refused, and nothing of its batch is taken", () => {
  test.each([
    { job: { priority: 8 }, field: "jobs[1].priority" },
    { job: { fairnessKey: "k".repeat(21) }, field: "jobs[1].fairness_key" },
    { job: { orderingKey: "ü".repeat(11) }, field: "jobs[1].ordering_key" },
    { job: { dedupId: "d".repeat(21) }, field: "jobs[1].dedup_id" },
    { job: { notBefore: -1n }, field: "jobs[1].not_before" },
    { job: { jobId: "12345" }, field: "jobs[1].job_id" },
    { job: { jobId: "with space" }, field: "jobs[1].job_id" },
    { job: { jobId: "x".repeat(129) }, field: "jobs[1].job_id" },
    { job: { ttlMs: 2n ** 63n }, field: "jobs[1].ttl_ms" },
  ])("$field: $job", async ({ job, field }) => {
    const error: unknown = await opened
      .enqueue("q", [text("good"), { ...text("bad"), ...job }])
      .catch((each: unknown) => each);
    expect(error).toMatchObject({ kind: "invalid-argument" });
    expect(fieldsOf(error)).toEqual([field]);
    expect((await opened.call("getQueue", { name: "q" })).queue?.counts).toMatchObject({ waiting: 0n, enqueued: 0n });
  });

  test.each([
    { what: "body", jobs: [text("x".repeat(1001))], subject: "bytes of a job's body", value: /1001 bytes.*1000/ },
    {
      what: "headers",
      jobs: [{ headers: { a: "b".repeat(100) } }],
      subject: "bytes of a job's headers",
      value: /101.*100/,
    },
    { what: "batch", jobs: Array.from({ length: 6 }, () => text("a")), subject: "jobs of a batch", value: /6 jobs.*5/ },
  ])("over the limit: $what", async ({ jobs, subject, value }) => {
    await expect(opened.enqueue("q", jobs)).rejects.toMatchObject({
      kind: "limit-exceeded",
      message: expect.stringMatching(value) as string,
      facts: { quota: { subject } },
    });
  });

  test("an id that another job has is ALREADY_EXISTS; a dedup id answers the first one", async () => {
    const [first] = await opened.enqueue("q", [{ ...text("a"), jobId: "mine", dedupId: "d" }]);
    expect(first).toBe("mine");
    await expect(opened.enqueue("q", [text("b"), { ...text("c"), jobId: "mine" }])).rejects.toMatchObject({
      kind: "already-exists",
      facts: { resource: { type: "job", name: "mine" } },
    });
    const again = await opened.call("enqueue", { queue: "q", jobs: [{ ...text("b"), dedupId: "d" }] });
    expect(again.jobs).toMatchObject([{ jobId: "mine", duplicate: true }]);
    expect((await opened.call("getQueue", { name: "q" })).queue?.counts).toMatchObject({ waiting: 1n });
  });

  test("more jobs than the queue holds are RESOURCE_EXHAUSTED, and none is lost", async () => {
    await opened.enqueue(
      "q",
      Array.from({ length: 5 }, () => text("a")),
    );
    await expect(
      opened.enqueue(
        "q",
        Array.from({ length: 4 }, () => text("b")),
      ),
    ).rejects.toMatchObject({
      kind: "limit-exceeded",
      facts: { quota: expect.anything() as unknown },
    });
    expect((await opened.call("getQueue", { name: "q" })).queue?.counts).toMatchObject({ waiting: 5n });
  });
});

describe("a queue that is not there", () => {
  const lease = { jobId: "1", attempt: 1n };
  test.each([
    ["enqueue", () => opened.call("enqueue", { queue: "gone", jobs: [text("a")] })],
    ["work", () => opened.worker({ queue: "gone" })],
    ["extendLeases", () => opened.call("extendLeases", { queue: "gone", leases: [lease] })],
    ["getQueue", () => opened.call("getQueue", { name: "gone" })],
    ["updateQueue", () => opened.call("updateQueue", { name: "gone" })],
    ["deleteQueue", () => opened.call("deleteQueue", { name: "gone" })],
    ["deleteQueue, forced", () => opened.call("deleteQueue", { name: "gone", force: true })],
    ["purge", () => opened.call("purge", { queue: "gone" })],
  ])("%s is NOT_FOUND", async (_name, call) => {
    await expect(call()).rejects.toMatchObject({
      kind: "not-found",
      facts: { resource: { type: "queue", name: "gone" } },
    });
  });

  test.each(["", "UPPER", "-dash", "a".repeat(129), "../etc", "a/b"])("%j is the name of none", async (name) => {
    for (const call of [
      () => opened.createQueue(name),
      () => opened.enqueue(name, [text("a")]),
      () => opened.worker({ queue: name }),
    ]) {
      await expect(call()).rejects.toMatchObject({ kind: "invalid-argument" });
    }
  });

  test("made twice is ALREADY_EXISTS", async () => {
    await expect(opened.createQueue("q")).rejects.toMatchObject({ kind: "already-exists" });
  });
});

describe("a worker that says something wrong is told what, and its stream ends", () => {
  const ending = async (kinds: Parameters<TestWorker["say"]>[0][]) => {
    const worker = await opened.worker({ queue: "q", explicitStart: true });
    for (const kind of kinds) worker.say(kind);
    return await worker.ending();
  };

  test("a window over the limit is RESOURCE_EXHAUSTED, in Subscribe and later", async () => {
    const expected = {
      kind: "limit-exceeded",
      message: 'Cannot set a window of 11 at queue "q": the limit is 10',
      facts: { quota: { subject: "window of a worker" } },
    };
    expect(await ending([{ case: "flow", value: flow(11) }])).toMatchObject(expected);
    const worker = await opened.worker({ queue: "q", flow: flow(11) });
    expect(await worker.ending()).toMatchObject(expected);
  });

  test.each([
    { field: "flow.seen", kind: { case: "flow", value: { seen: 1n } } },
    { field: "subscribe", kind: { case: "subscribe", value: { queue: "q" } } },
    { field: "nack.lease", kind: { case: "nack", value: { kind: NackKind.RETURN } } },
    { field: "nack.kind", kind: { case: "nack", value: { lease: { jobId: "1" } } } },
    { field: "progress.fraction", kind: { case: "progress", value: { lease: { jobId: "1" }, fraction: Number.NaN } } },
    { field: "lanes[0].min_priority", kind: { case: "lanes", value: { lanes: [{ minPriority: 8, window: 1 }] } } },
    { field: "kind", kind: { case: undefined } },
  ] as const)("$field", async ({ field, kind }) => {
    const error = await ending([kind as Parameters<TestWorker["say"]>[0]]);
    expect(error).toMatchObject({ kind: "invalid-argument" });
    expect(fieldsOf(error)).toEqual([field]);
    expect(opened.service.workers).toBe(0);
  });

  test("too many leases in one request", async () => {
    const leases = Array.from({ length: 6 }, () => ({ jobId: "1", attempt: 1n }));
    expect(await ending([{ case: "ack", value: { leases } }])).toMatchObject({
      facts: { quota: { subject: "leases of a request" } },
    });
    await expect(opened.call("extendLeases", { queue: "q", leases })).rejects.toMatchObject({ kind: "limit-exceeded" });
    await expect(opened.worker({ queue: "q", held: leases })).rejects.toMatchObject({ kind: "limit-exceeded" });
  });

  test("bytes that are no request", async () => {
    const worker = await opened.worker({ queue: "q" });
    worker.sayBytes(Uint8Array.of(0x1a, 0xff, 0xff));
    expect(await worker.ending()).toMatchObject({ facts: { reason: "MALFORMED_MESSAGE" } });
  });

  test.each([
    ["nothing at all", (worker: TestWorker) => worker.halfClose()],
    ["a flow", (worker: TestWorker) => worker.flow(0, 1)],
    ["garbage", (worker: TestWorker) => worker.sayBytes(Uint8Array.of(0x0a, 0xff))],
  ])("a first request that is no subscribe: %s", async (_name, say) => {
    const worker = new TestWorker();
    say(worker);
    await expect(worker.start(opened.service)).rejects.toMatchObject({ kind: "invalid-argument" });
  });

  test.each([
    { field: "lease_ms", subscribe: { leaseMs: 5 } },
    { field: "heartbeat_ms", subscribe: { heartbeatMs: 5 } },
    { field: "worker_id", subscribe: { workerId: "w".repeat(257) } },
    { field: "session_token", subscribe: { sessionToken: new Uint8Array(65) } },
    { field: "lanes", subscribe: { lanes: Array.from({ length: 9 }, () => ({ minPriority: 1 })) } },
  ])("a bad subscribe: $field", async ({ field, subscribe }) => {
    const error: unknown = await opened.worker({ queue: "q", ...subscribe }).catch((each: unknown) => each);
    expect(fieldsOf(error)).toEqual([field]);
  });

  test("more workers than the server takes: those who left give way, others are refused", async () => {
    const workers = [];
    for (let i = 0; i < 3; i++) workers.push(await opened.worker({ queue: "q" }));
    await expect(opened.worker({ queue: "q" })).rejects.toMatchObject({
      facts: { quota: { subject: "workers of the server" }, retryAfterMs: 5000 },
    });
    workers[0]!.cut();
    await opened.worker({ queue: "q" });
    expect(opened.service).toMatchObject({ workers: 3, sessions: 3 });
  });
});

describe("EnqueueStream", () => {
  async function produce(requests: AsyncIterable<Uint8Array>): Promise<{ ids: string[][]; error: unknown }> {
    const handler = opened.service.handlers.enqueueStream;
    if (handler === undefined || !("raw" in handler) || handler.bidi === undefined) throw new Error("no such handler");
    const ids: string[][] = [];
    const call: Call = new FakeCall(QueueService.method.enqueueStream);
    try {
      const answers = handler.bidi(requests, call) as AsyncIterable<{ jobs: { jobId: string }[] }>;
      for await (const { jobs } of answers) ids.push(jobs.map(({ jobId }) => jobId));
      return { ids, error: undefined };
    } catch (error) {
      return { ids, error };
    }
  }
  const request = (queue: string, ...bodies: string[]) =>
    toBinary(EnqueueStreamRequestSchema, create(EnqueueStreamRequestSchema, { queue, jobs: bodies.map(text) }));

  test("answers batch by batch, in order", async () => {
    const { ids, error } = await produce(
      (async function* requests() {
        yield request("q", "a", "b");
        yield request("", "c");
        yield request("q", "d");
      })(),
    );
    expect({ ids, error }).toEqual({ ids: [["1", "2"], ["3"], ["4"]], error: undefined });
  });

  test("ends with the refusal of a batch, after the answers to those before it", async () => {
    const { ids, error } = await produce(
      (async function* requests() {
        yield request("q", "a");
        yield request("q", "x".repeat(1001));
        yield request("q", "never");
      })(),
    );
    expect(ids).toEqual([["1"]]);
    expect(error).toMatchObject({ kind: "limit-exceeded" });
    expect((await opened.call("getQueue", { name: "q" })).queue?.counts).toMatchObject({ waiting: 1n });
    expect(opened.service.enqueuingBytes).toBe(0);
  });

  test("stays with its queue, and ends when the server drains", async () => {
    await opened.createQueue("other");
    const both = (async function* requests() {
      yield request("q", "a");
      yield request("other", "b");
    })();
    expect(fieldsOf((await produce(both)).error)).toEqual(["queue"]);
    const { promise: forEver, resolve } = Promise.withResolvers<void>();
    const open = produce(
      (async function* requests() {
        yield request("q", "c");
        await forEver;
      })(),
    );
    await expect.poll(async () => (await opened.call("getQueue", { name: "q" })).queue?.counts?.waiting).toBe(2n);
    opened.service.drain();
    expect(await open).toMatchObject({ ids: [["2"]], error: { facts: { reason: "DRAINING" } } });
    resolve();
  });
});

test("a batch without jobs is taken, and says nothing", async () => {
  expect(await opened.call("enqueue", { queue: "q" })).toEqual({ jobs: [] });
});
