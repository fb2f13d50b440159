// Workers and their streams, over a real engine and a real journal, without a network.
import { create } from "@bufbuild/protobuf";
import {
  type Delivery,
  type Lease,
  LeaseSchema,
  NackKind,
  RecallReason,
  ResultCode,
  type WorkResponse,
} from "@sluice/api";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SluiceError } from "../errors.ts";
import { OpenedQueues } from "./testing/opened-queues.ts";
import type { TestWorker } from "./testing/test-worker.ts";

let opened: OpenedQueues;

beforeEach(async () => {
  opened = await OpenedQueues.open();
  await opened.createQueue("q");
});
afterEach(() => opened[Symbol.asyncDispose]());

const text = (body: string) => ({ body: Buffer.from(body) });
const leaseOf = ({ lease }: Delivery): Lease => lease!;
const bodies = (deliveries: readonly Delivery[]) => deliveries.map(({ job }) => Buffer.from(job!.body).toString());
const codes = (results: readonly { code: ResultCode }[]) => results.map(({ code }) => code);
const flow = (window: number) => ({ seen: 0n, window, windowBytes: 0n });
const offers = { queue: "q", explicitStart: true, heartbeatMs: 0 } as const;
const countsOf = async () => (await opened.call("getQueue", { name: "q" })).queue!.counts!;

function recalls(worker: TestWorker): { reason: RecallReason; attempts: bigint[] }[] {
  return worker.all("recall").map(({ reason, leases }) => ({ reason, attempts: leases.map(({ attempt }) => attempt) }));
}

test("a job is offered, started, acknowledged, and done", async () => {
  const [jobId] = await opened.enqueue("q", [{ ...text("tax"), headers: { user: "ada" }, priority: 5 }]);
  const worker = await opened.worker({ ...offers, workerId: "w", flow: flow(1) });
  const [delivery] = await worker.deliveries(1);
  expect(delivery).toMatchObject({ number: 1n, failures: 0, leaseUntil: 0n, lease: { jobId } });
  expect(delivery!.job).toMatchObject({ jobId, priority: 5, headers: { user: "ada" }, body: Buffer.from("tax") });
  expect(await countsOf()).toMatchObject({ waiting: 0n, offered: 1n, workers: 1 });

  const lease = leaseOf(delivery!);
  const [started] = await worker.startJobs([lease]);
  expect(started).toMatchObject({ lease, code: ResultCode.OK });
  expect(started!.leaseUntil).toBe(opened.clock.nowNs() + 30_000_000_000n);
  expect(await countsOf()).toMatchObject({ offered: 0n, running: 1n });
  expect(codes(await worker.ack([lease]))).toEqual([ResultCode.OK]);
  expect(codes(await worker.ack([lease]))).toEqual([ResultCode.DUPLICATE]);
  expect(await countsOf()).toMatchObject({ running: 0n, done: 1n });
  expect(worker.all("session")).toMatchObject([{ workerId: "w", graceMs: 30_000, leaseMs: 30_000 }]);
});

test("without explicit start a delivery is started when it arrives, and its start is on disk", async () => {
  const worker = await opened.worker({ queue: "q", leaseMs: 5000, flow: flow(2) });
  await opened.enqueue("q", [text("a")]);
  const [delivery] = await worker.deliveries(1);
  expect(delivery!.leaseUntil).toBe(opened.clock.nowNs() + 5_000_000_000n);
  expect(codes(await worker.ack([leaseOf(delivery!)]))).toEqual([ResultCode.OK]);
});

test("nothing is delivered beyond the window, and nothing before there is one", async () => {
  await opened.enqueue(
    "q",
    Array.from({ length: 10 }, (_, i) => text(`${i}`)),
  );
  const worker = await opened.worker(offers);
  worker.flow(0, 3);
  expect(bodies(await worker.deliveries(3))).toEqual(["0", "1", "2"]);
  expect(await countsOf()).toMatchObject({ waiting: 7n, offered: 3n, credit: 0n });
  worker.flow(3, 1);
  worker.flow(3, 1);
  await worker.deliveries(4);
  worker.flow(4, 0);
  expect(codes(await worker.ack([leaseOf((await worker.deliveries(4))[0]!)]))).toEqual([ResultCode.OK]);
  expect(worker.all("delivery")).toHaveLength(4);
});

test("a lane keeps its part of the window for urgent jobs", async () => {
  const lanes = [{ minPriority: 6, window: 1 }];
  const worker = await opened.worker({ ...offers, lanes, flow: flow(3) });
  await opened.enqueue("q", [text("a"), text("b"), text("c"), { ...text("urgent"), priority: 7 }]);
  expect(bodies(await worker.deliveries(3)).sort()).toEqual(["a", "b", "urgent"]);
  worker.say({ case: "lanes", value: { lanes: [] } });
  worker.flow(3, 1);
  expect(bodies(await worker.deliveries(4)).at(-1)).toBe("c");
});

describe("no job is stuck in somebody's backlog", () => {
  test("an idle worker that joins gets an offer of the one who holds 60, at once", async () => {
    await opened.enqueue(
      "q",
      Array.from({ length: 60 }, (_, i) => text(`${i}`)),
    );
    const slow = await opened.worker({ ...offers, flow: flow(60) });
    const backlog = await slow.deliveries(60);
    expect(codes(await slow.startJobs([leaseOf(backlog[0]!)]))).toEqual([ResultCode.OK]);
    const idle = await opened.worker({ ...offers, flow: flow(1) });
    const [taken] = await idle.deliveries(1);
    expect(bodies([taken!])).toEqual(["59"]);
    await slow.until(() => slow.all("recall").length > 0);
    expect(recalls(slow)).toEqual([{ reason: RecallReason.REBALANCE, attempts: [leaseOf(backlog[59]!).attempt] }]);
    // Too late: somebody else has it.
    expect(codes(await slow.startJobs([leaseOf(backlog[59]!)]))).toEqual([ResultCode.STALE]);
    expect(codes(await idle.startJobs([leaseOf(taken!)]))).toEqual([ResultCode.OK]);
    expect(codes(await slow.ack([leaseOf(backlog[59]!)]))).toEqual([ResultCode.STALE]);
  });

  test("an urgent job passes full windows", async () => {
    await opened.enqueue(
      "q",
      Array.from({ length: 10 }, (_, i) => text(`${i}`)),
    );
    const worker = await opened.worker({ ...offers, flow: flow(5) });
    const backlog = await worker.deliveries(5);
    await worker.startJobs([leaseOf(backlog[0]!)]);
    await opened.enqueue("q", [{ ...text("urgent"), priority: 7 }]);
    const [urgent] = (await worker.deliveries(6)).slice(5);
    expect(bodies([urgent!])).toEqual(["urgent"]);
    const order = worker.told.map(({ case: kind }) => kind);
    expect(order.lastIndexOf("recall")).toBeLessThan(order.lastIndexOf("delivery"));
    expect(recalls(worker)).toEqual([
      { reason: RecallReason.HIGHER_PRIORITY, attempts: [leaseOf(backlog[4]!).attempt] },
    ]);
    expect(codes(await worker.startJobs([leaseOf(urgent!)]))).toEqual([ResultCode.OK]);
  });

  test("what is taken back before a worker that does not read has it, leaves no trace with it", async () => {
    const stalled = await opened.worker({ ...offers, flow: flow(10) });
    await stalled.until(() => stalled.all("session").length === 1);
    stalled.isStalled = true;
    await opened.enqueue("q", [text("a")]);
    const idle = await opened.worker({ ...offers, flow: flow(10) });
    stalled.flow(0, 0);
    await opened.enqueue("q", [text("b")]);
    await idle.deliveries(1);
    stalled.cut();
    expect(bodies(await idle.deliveries(2)).sort()).toEqual(["a", "b"]);
    expect(stalled.all("recall")).toEqual([]);
  });
});

describe("a worker whose connection is lost", () => {
  async function runOne(): Promise<{ worker: TestWorker; lease: Lease; token: Uint8Array }> {
    await opened.enqueue("q", [text("started"), text("offered")]);
    const worker = await opened.worker({ ...offers, workerId: "w", flow: flow(2) });
    const [first] = await worker.deliveries(2);
    await worker.startJobs([leaseOf(first!)]);
    return { worker, lease: leaseOf(first!), token: worker.all("session")[0]!.sessionToken };
  }

  test("gives back offers at once, and what it had started after the grace time", async () => {
    const { worker } = await runOne();
    worker.cut();
    const other = await opened.worker({ ...offers, flow: flow(2) });
    expect(bodies(await other.deliveries(1))).toEqual(["offered"]);
    opened.clock.advance(29_999);
    expect(other.all("delivery")).toHaveLength(1);
    opened.clock.advance(1);
    const [, again] = await other.deliveries(2);
    expect(again).toMatchObject({ failures: 0 });
    expect(bodies([again!])).toEqual(["started"]);
  });

  test("comes back within the grace time, and is told lease by lease what it still has", async () => {
    const { worker, lease, token } = await runOne();
    worker.cut();
    expect(opened.service.workers).toBe(0);
    opened.clock.advance(20_000);
    const foreign = create(LeaseSchema, { jobId: "77", attempt: 5n });
    const back = await opened.worker({ ...offers, sessionToken: token, held: [lease, foreign] });
    await back.until(() => back.all("session").length === 1);
    expect(back.all("session")).toMatchObject([{ workerId: "w", sessionToken: token, kept: [lease], lost: [foreign] }]);
    expect(codes(await back.ack([lease, foreign]))).toEqual([ResultCode.OK, ResultCode.NOT_FOUND]);
    expect(opened.service).toMatchObject({ workers: 1, sessions: 1 });
  });

  test("does not name what never arrived: that goes to others at once", async () => {
    await opened.enqueue("q", [text("lost on the way"), text("arrived")]);
    const worker = await opened.worker({ queue: "q", flow: flow(2) });
    const [, arrived] = await worker.deliveries(2);
    const token = worker.all("session")[0]!.sessionToken;
    worker.cut();
    const other = await opened.worker({ ...offers, flow: flow(2) });
    const back = await opened.worker({ queue: "q", sessionToken: token, held: [leaseOf(arrived!)] });
    expect(bodies(await other.deliveries(1))).toEqual(["lost on the way"]);
    expect(codes(await back.ack([leaseOf(arrived!)]))).toEqual([ResultCode.OK]);
  });

  test("takes over from its old stream, which still seemed to live", async () => {
    const { worker, lease, token } = await runOne();
    const back = await opened.worker({ ...offers, sessionToken: token, held: [lease] });
    await back.until(() => back.all("session").length === 1);
    expect(back.all("session")).toMatchObject([{ kept: [lease] }]);
    expect(await worker.ending()).toMatchObject({ kind: "aborted", facts: { reason: "SESSION_TAKEN_OVER" } });
    expect(codes(await back.ack([lease]))).toEqual([ResultCode.OK]);
    expect(opened.service).toMatchObject({ workers: 1, sessions: 1 });
  });

  test("has its leases after a restart of the server, by its id", async () => {
    const { lease, token } = await runOne();
    await opened.restart();
    const back = await opened.worker({ ...offers, workerId: "w", sessionToken: token, held: [lease] });
    await back.until(() => back.all("session").length === 1);
    const [session] = back.all("session");
    expect(session).toMatchObject({ workerId: "w", kept: [lease] });
    expect(session!.sessionToken).not.toEqual(token);
    expect(codes(await back.ack([lease]))).toEqual([ResultCode.OK]);
    expect(await countsOf()).toMatchObject({ done: 1n, running: 0n });
  });

  test("a thousand times leaves no phantom", async () => {
    await opened.enqueue("q", [text("a")]);
    const first = await opened.worker({ ...offers, flow: flow(1) });
    await first.deliveries(1);
    const { timers } = opened.clock;
    const token = first.all("session")[0]!.sessionToken;
    first.cut();
    for (let i = 0; i < 1000; i++) {
      const again = await opened.worker({ ...offers, heartbeatMs: 500, sessionToken: token, flow: flow(1) });
      await again.deliveries(1);
      if (i % 2 === 0) again.cut();
      else {
        again.halfClose();
        expect(await again.ending()).toBeUndefined();
      }
    }
    expect(opened.service).toMatchObject({ workers: 0, sessions: 1 });
    expect(await countsOf()).toMatchObject({ waiting: 1n, offered: 0n, running: 0n, workers: 0, credit: 0n });
    expect(opened.clock.timers).toBe(timers);
    opened.clock.advance(30_000);
    expect(opened.service.sessions).toBe(0);
  });
});

describe("leases", () => {
  test("end when nobody extends them: the worker hears of it, the job goes on elsewhere, its Ack changes nothing", async () => {
    await opened.enqueue("q", [text("a")]);
    const worker = await opened.worker({ ...offers, leaseMs: 1000, flow: flow(1) });
    const [delivery] = await worker.deliveries(1);
    const lease = leaseOf(delivery!);
    await worker.startJobs([lease]);
    opened.clock.advance(900);
    const extended = await opened.call("extendLeases", { queue: "q", leases: [lease, { jobId: "9", attempt: 1n }] });
    expect(extended.results).toMatchObject([
      { code: ResultCode.OK, leaseUntil: opened.clock.nowNs() + 1_000_000_000n },
      { code: ResultCode.NOT_FOUND },
    ]);
    opened.clock.advance(999);
    expect(worker.all("leaseLost")).toEqual([]);
    opened.clock.advance(1);
    await worker.until(() => worker.all("leaseLost").length > 0);
    expect(worker.all("leaseLost")).toMatchObject([{ leases: [lease] }]);
    expect(codes(await worker.ack([lease]))).toEqual([ResultCode.STALE]);
    expect(await countsOf()).toMatchObject({ delayed: 1n, failures: 1n });
    worker.flow(1, 1);
    opened.clock.advance(1000);
    const [, again] = await worker.deliveries(2);
    expect(again).toMatchObject({ failures: 1 });
    expect(leaseOf(again!).attempt).not.toBe(lease.attempt);
  });

  test("of somebody else cannot be acknowledged", async () => {
    await opened.enqueue("q", [text("a")]);
    const worker = await opened.worker({ ...offers, flow: flow(1) });
    const [delivery] = await worker.deliveries(1);
    await worker.startJobs([leaseOf(delivery!)]);
    const other = await opened.worker(offers);
    expect(codes(await other.ack([leaseOf(delivery!)]))).toEqual([ResultCode.STALE]);
    expect(await countsOf()).toMatchObject({ running: 1n, done: 0n });
  });

  test("of a cancelled job are lost, by the id that its producer chose", async () => {
    await opened.enqueue("q", [{ ...text("a"), jobId: "order-7" }]);
    const worker = await opened.worker({ ...offers, flow: flow(1) });
    const [delivery] = await worker.deliveries(1);
    expect(leaseOf(delivery!).jobId).toBe("order-7");
    await worker.startJobs([leaseOf(delivery!)]);
    worker.say({ case: "progress", value: { lease: leaseOf(delivery!), fraction: 0.5, message: "half" } });
    await expect
      .poll(async () => (await opened.call("explainJob", { queue: "q", jobId: "order-7" })).job)
      .toMatchObject({ progress: 0.5, progressMessage: "half" });
    await opened.call("cancelJob", { queue: "q", jobId: "order-7" });
    await worker.until(() => worker.all("leaseLost").length > 0);
    expect(worker.all("leaseLost")).toMatchObject([{ leases: [leaseOf(delivery!)] }]);
  });
});

test("a nack returns, retries or rejects; the answer names its lease", async () => {
  await opened.enqueue("q", [text("a"), text("b"), text("c")]);
  const worker = await opened.worker({ ...offers, flow: flow(3) });
  const leases = (await worker.deliveries(3)).map(leaseOf);
  await worker.startJobs(leases);
  const kinds = [NackKind.RETURN, NackKind.RETRY, NackKind.REJECT];
  for (const [i, kind] of kinds.entries()) {
    worker.say({ case: "nack", value: { request: 70n + BigInt(i), lease: leases[i]!, kind, reason: "no ink" } });
    expect(await worker.results(70n + BigInt(i))).toMatchObject([{ lease: leases[i], code: ResultCode.OK }]);
  }
  expect(await countsOf()).toMatchObject({ waiting: 1n, delayed: 1n, dead: 1n, failures: 2n });
  const { jobs } = await opened.call("listDeadJobs", { queue: "q" });
  expect(jobs).toMatchObject([{ history: [{ reason: "no ink" }] }]);
});

test("a throttle holds back one fairness key until its time, for every worker", async () => {
  const worker = await opened.worker(offers);
  const until = opened.clock.nowNs() + 5_000_000_000n;
  worker.say({ case: "throttle", value: { fairnessKey: "acme", until } });
  worker.flow(0, 5);
  await opened.enqueue("q", [{ ...text("a"), fairnessKey: "acme" }, text("b")]);
  expect(bodies(await worker.deliveries(1))).toEqual(["b"]);
  const { reasons } = await opened.call("explainJob", { queue: "q", jobId: "1" });
  expect(reasons).toMatchObject([{ subject: "acme", until }]);
  opened.clock.advance(5000);
  expect(bodies(await worker.deliveries(2))).toEqual(["b", "a"]);
  worker.say({ case: "throttle", value: { fairnessKey: "k".repeat(257), until } });
  expect(await worker.ending()).toMatchObject({
    facts: { violations: [{ field: "throttle.fairness_key", description: "has 257 bytes, the limit is 256" }] },
  });
});

describe("drain", () => {
  test("of a worker: offers go to others at once, and it ends when it has nothing left", async () => {
    await opened.enqueue("q", [text("a"), text("b")]);
    const worker = await opened.worker({ ...offers, flow: flow(2) });
    const [first] = await worker.deliveries(2);
    await worker.startJobs([leaseOf(first!)]);
    worker.say({ case: "drain", value: {} });
    await expect.poll(countsOf).toMatchObject({ offered: 0n, waiting: 1n, running: 1n });
    const other = await opened.worker({ ...offers, flow: flow(1) });
    expect(bodies(await other.deliveries(1))).toEqual(["b"]);
    expect(worker.ended).toBeUndefined();
    expect(codes(await worker.ack([leaseOf(first!)]))).toEqual([ResultCode.OK]);
    expect(await worker.ending()).toBeUndefined();
    expect(worker.told.at(-1)).toMatchObject({ case: "drained", value: { lastNumber: 2n } });
    expect(opened.service.workers).toBe(1);
  });

  test("of a worker ends at its deadline, whatever runs", async () => {
    await opened.enqueue("q", [text("a")]);
    const timers = opened.clock.timers;
    const worker = await opened.worker({ ...offers, flow: flow(1) });
    const [first] = await worker.deliveries(1);
    await worker.startJobs([leaseOf(first!)]);
    worker.say({ case: "drain", value: { deadlineMs: 200 } });
    await expect.poll(() => opened.clock.timers).toBeGreaterThan(timers + 1);
    opened.clock.advance(200);
    expect(await worker.ending()).toBeUndefined();
    expect(await countsOf()).toMatchObject({ running: 1n, workers: 0 });
  });

  test("of the server: offers return at once, what was said is answered, streams end with UNAVAILABLE", async () => {
    await opened.enqueue("q", [text("a"), text("b")]);
    const worker = await opened.worker({ ...offers, flow: flow(2) });
    const [first] = await worker.deliveries(2);
    const answer = worker.ack([leaseOf(first!)]);
    await expect.poll(countsOf).toMatchObject({ offered: 1n });
    opened.service.drain();
    expect(await countsOf()).toMatchObject({ waiting: 1n, offered: 0n, workers: 0 });
    expect(codes(await answer)).toEqual([ResultCode.OK]);
    const error = (await worker.ending()) as SluiceError;
    expect(error).toMatchObject({ kind: "unavailable", facts: { reason: "STREAM_INTERRUPTED", retryAfterMs: 1000 } });
    expect(error.message).toContain("subscribe again with session_token");
    await expect(opened.worker(offers)).rejects.toMatchObject({ facts: { reason: "DRAINING" } });
  });
});

test("heartbeats say how the server counts the stream", async () => {
  const worker = await opened.worker({ ...offers, heartbeatMs: 1000, flow: flow(2) });
  await opened.enqueue("q", [text("a"), text("b"), { ...text("c"), priority: 6 }, text("d")]);
  await worker.deliveries(2);
  opened.clock.advance(1000);
  expect(worker.all("flowState")).toMatchObject([{ sent: BigInt(worker.all("delivery").length), credit: 0 }]);
  worker.isStalled = true;
  opened.clock.advance(5000);
  worker.isStalled = false;
  worker.wake();
  expect(worker.all("flowState")).toHaveLength(2);
});

test("the messages of a stream begin with its session", async () => {
  await opened.enqueue("q", [text("a")]);
  const worker = await opened.worker({ ...offers, flow: flow(1) });
  await worker.deliveries(1);
  const kinds = worker.told.map(({ case: kind }: WorkResponse["kind"]) => kind);
  expect(kinds).toEqual(["session", "delivery"]);
});
