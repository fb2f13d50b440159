import { NackKind, RecallReason, ResultCode } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LeaseLostError, RejectJob, RetryJob, ReturnJob } from "./queue-job.ts";
import { settle } from "./testing/chance.ts";
import { openHandler, openWorker } from "./testing/model-work.ts";

const START_NS = 1_700_000_000_000_000_000n;

test("it takes as many jobs as it has slots; what ends a job leaves before the window that its place makes", async () => {
  const jobs = openHandler();
  const ended: string[] = [];
  const { worker, subscribed } = openWorker(jobs.handler, {
    slots: 2,
    onEnded: (job, outcome) => ended.push(`${job.id} ${outcome}`),
  });
  const work = await subscribed();
  expect(work.subscribe).toMatchObject({ queue: "tax", explicitStart: false, held: [], flow: { seen: 0n, window: 2 } });
  work.deliver("1", { body: "é" });
  work.deliver("2");
  await settle();
  expect([jobs.running(), work.credit, work.flows.length]).toEqual([["1", "2"], 0, 1]);
  await jobs.finish("2");
  expect(work.requests.slice(1).map((each) => each.case)).toEqual(["ack", "flow"]);
  expect([work.acks, work.credit, ended]).toEqual([["2"], 1, []]);
  work.results("ack", ResultCode.OK, "2");
  await settle();
  expect([ended, work.flows.at(-1)]).toEqual([["2 ack"], [2, 1]]);
  await jobs.finish("1");
  expect(work.credit).toBe(2);
  work.results("ack", ResultCode.OK, "1");
  const drained = worker.drain();
  await settle();
  work.drained();
  await drained;
  await settle();
  expect(work.isEnded).toBe(true);
});

test("what a handler throws says what becomes of its job", async () => {
  const jobs = openHandler();
  const { subscribed, closed, worker } = openWorker(jobs.handler, { slots: 4 });
  const work = await subscribed();
  for (const id of ["1", "2", "3", "4"]) work.deliver(id);
  await settle();
  await jobs.fail("1", new Error("no paper"));
  await jobs.fail("2", new ReturnJob("busy", { throttleMs: 1500 }));
  await jobs.fail("3", new RejectJob("no such customer"));
  await jobs.fail("4", new RetryJob("later", { afterMs: 2000 }));
  expect(work.nacks).toEqual([
    { job: "1", kind: NackKind.RETRY, reason: "no paper", notBefore: 0n },
    { job: "2", kind: NackKind.RETURN, reason: "busy", notBefore: 0n },
    { job: "3", kind: NackKind.REJECT, reason: "no such customer", notBefore: 0n },
    { job: "4", kind: NackKind.RETRY, reason: "later", notBefore: START_NS + 2_000_000_000n },
  ]);
  expect(work.throttles).toMatchObject([{ fairnessKey: "", until: START_NS + 1_500_000_000n }]);
  closed.abort();
  await worker.ended;
});

test("an offer's handler runs after its Start was answered OK, and never after another answer", async () => {
  const jobs = openHandler();
  const { subscribed, closed, worker } = openWorker(jobs.handler, { slots: 1, window: 3 });
  const work = await subscribed();
  expect(work.subscribe).toMatchObject({ explicitStart: true, flow: { window: 3 } });
  for (const id of ["1", "2", "3"]) work.deliver(id, { offer: true });
  await settle();
  expect([jobs.begun, work.starts, work.credit, worker.waiting]).toEqual([[], ["1"], 0, 2]);
  work.results("start", ResultCode.STALE, "1");
  await settle();
  expect([jobs.begun, work.starts, work.credit]).toEqual([[], ["1", "2"], 1]);
  work.results("start", ResultCode.OK, "2");
  await settle();
  expect([jobs.begun, worker.running, worker.waiting]).toEqual([["2"], 1, 1]);
  closed.abort();
  await worker.ended;
});

test("a recalled offer is forgotten, its place is given back, and a Start that crossed it has no effect", async () => {
  const jobs = openHandler();
  const { subscribed, closed, worker } = openWorker(jobs.handler, { slots: 1, window: 3 });
  const work = await subscribed();
  for (const id of ["1", "2"]) work.deliver(id, { offer: true });
  await settle();
  const leases = ["1", "2"].map((jobId) => ({ jobId, attempt: BigInt(jobId) }));
  work.answer({ case: "recall", value: { leases, reason: RecallReason.REBALANCE } });
  await settle();
  expect([work.starts, work.credit, worker.waiting]).toEqual([["1"], 3, 0]);
  work.results("start", ResultCode.STALE, "1");
  await settle();
  expect([jobs.begun, work.nacks]).toEqual([[], []]);
  closed.abort();
  await worker.ended;
});

test("of the offers that wait the most urgent one is started first", async () => {
  const jobs = openHandler();
  const { subscribed, closed, worker } = openWorker(jobs.handler, { slots: 1, window: 4 });
  const work = await subscribed();
  work.deliver("1", { offer: true });
  work.deliver("2", { offer: true });
  work.deliver("3", { offer: true, priority: 7 });
  work.deliver("4", { offer: true, priority: 7 });
  for (const id of ["1", "3", "4", "2"]) {
    await settle();
    work.results("start", ResultCode.OK, id);
    await settle();
    await jobs.finish(id);
  }
  expect(jobs.begun).toEqual(["1", "3", "4", "2"]);
  closed.abort();
  await worker.ended;
});

test("after a lost connection it says what it holds, and says again what was not answered", async () => {
  const jobs = openHandler();
  const lost: LeaseLostError[] = [];
  const { clock, subscribed, calls, closed, worker } = openWorker(jobs.handler, {
    slots: 4,
    onLeaseLost: (error) => lost.push(error),
  });
  const first = await subscribed({ token: "one" });
  for (const id of ["1", "2", "3", "4"]) first.deliver(id);
  await settle();
  await jobs.finish("1");
  first.lose();
  await settle();
  await jobs.fail("4", new ReturnJob("busy", { throttleMs: 1500 }));
  await clock.advanceInTurns(100);
  const second = calls[1]!;
  const leases = (...ids: string[]) => ids.map((jobId) => ({ jobId, attempt: BigInt(jobId) }));
  expect(second.subscribe).toMatchObject({
    workerId: "w",
    held: leases("2", "3", "1", "4"),
    flow: { seen: 0n, window: 2 },
  });
  expect(Buffer.from(second.subscribe.sessionToken).toString()).toBe("one");
  expect([second.acks, second.nacks.map(({ job }) => job)]).toEqual([["1"], ["4"]]);
  expect(second.throttles).toMatchObject([{ fairnessKey: "", until: START_NS + 1_500_000_000n }]);
  const [kept, gone] = [jobs.signal("2"), jobs.signal("3")];
  second.session({ kept: leases("2"), lost: leases("3") });
  second.results("ack", ResultCode.DUPLICATE, "1");
  await settle();
  expect([kept.aborted, gone.aborted, gone.reason]).toEqual([false, true, lost[0]]);
  expect(lost.map(({ jobId }) => jobId)).toEqual(["3"]);
  await jobs.finish("3");
  await jobs.finish("2");
  expect(second.acks).toEqual(["1", "2"]);
  closed.abort();
  await worker.ended;
});

test("offers are forgotten with their connection", async () => {
  const jobs = openHandler();
  const { clock, subscribed, calls, closed, worker } = openWorker(jobs.handler, { slots: 1, window: 5 });
  const first = await subscribed();
  for (const id of ["1", "2", "3"]) first.deliver(id, { offer: true });
  await settle();
  first.results("start", ResultCode.OK, "1");
  await settle();
  first.lose();
  await settle();
  expect([worker.running, worker.waiting, worker.isConnected]).toEqual([1, 0, false]);
  await clock.advanceInTurns(100);
  expect(calls[1]?.subscribe).toMatchObject({ held: [{ jobId: "1" }], flow: { window: 4 } });
  closed.abort();
  await worker.ended;
});

test("a job whose Start was not answered before the connection was lost runs when the next session keeps it", async () => {
  const jobs = openHandler();
  const { clock, subscribed, calls, closed, worker } = openWorker(jobs.handler, { slots: 2, window: 4 });
  const first = await subscribed();
  for (const id of ["1", "2", "3"]) first.deliver(id, { offer: true });
  await settle();
  expect(first.starts).toEqual(["1", "2"]);
  first.lose();
  await clock.advanceInTurns(100);
  const [one, two] = [1n, 2n].map((attempt) => ({ jobId: String(attempt), attempt }));
  expect(calls[1]?.subscribe).toMatchObject({ held: [one, two], flow: { window: 2 } });
  calls[1]!.session({ kept: [one!], lost: [two!] });
  await settle();
  expect([jobs.begun, calls[1]!.credit]).toEqual([["1"], 3]);
  closed.abort();
  await worker.ended;
});

test("a lease that nobody could extend is lost here when it ends there, with the reason", async () => {
  const jobs = openHandler();
  const lost: string[] = [];
  const warnings: string[] = [];
  const { subscribed, clock, report, closed, worker } = openWorker(jobs.handler, {
    slots: 1,
    serverHeartbeatMs: 0,
    onLeaseLost: ({ message }) => lost.push(message),
    onWarning: (text) => warnings.push(text),
  });
  const work = await subscribed({ leaseMs: 6000 });
  work.deliver("1");
  await settle();
  report({ kind: "failed", reason: "no route" });
  report({ kind: "failed", reason: "no route" });
  await clock.advanceInTurns(6000);
  expect([lost, jobs.signal("1").aborted]).toEqual([[], false]);
  clock.skip(4000); // the event loop is blocked
  await clock.advanceInTurns(0);
  expect(jobs.signal("1").reason).toBeInstanceOf(LeaseLostError);
  expect(lost).toEqual([
    "The lease of job 1 is lost: no heartbeat got through for 6000 ms (last failure: no route); the event loop was blocked for 3000 ms",
  ]);
  expect(warnings[0]).toBe("A heartbeat did not get through: no route");
  expect(warnings.length).toBe(2);
  await jobs.finish("1");
  expect([work.acks, work.credit]).toEqual([[], 1]);
  closed.abort();
  await worker.ended;
});

test("an event loop that was blocked while the leases were kept is told of, and no job is lost", async () => {
  const jobs = openHandler();
  const warnings: string[] = [];
  const { subscribed, clock, heartbeat, closed, worker } = openWorker(jobs.handler, {
    slots: 1,
    serverHeartbeatMs: 0,
    onWarning: (text) => warnings.push(text),
  });
  const work = await subscribed({ leaseMs: 6000 });
  work.deliver("1");
  await settle();
  clock.skip(31_000);
  for (const seat of heartbeat.held.keys()) heartbeat.setLease(seat, 6000); // the thread has done it
  await clock.advanceInTurns(0);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toMatch(/blocked for 30000 ms, more than a third of the lease of 6000 ms/);
  expect(jobs.signal("1").aborted).toBe(false);
  await jobs.finish("1");
  expect(work.acks).toEqual(["1"]);
  closed.abort();
  await worker.ended;
});

test("a handler extends its lease, and hears when that is not granted", async () => {
  const extended: unknown[] = [];
  const { subscribed, extensions, closed, worker } = openWorker(async (_job, { extend, signal }) => {
    extended.push(await extend(90_000));
    await extend().catch((error: unknown) => extended.push(error, signal.reason));
  });
  const work = await subscribed();
  work.deliver("5");
  await settle();
  expect(extensions.map(({ leaseMs }) => leaseMs)).toEqual([90_000, 30_000]);
  expect(extended[0]).toBe(77n);
  expect(extended[1]).toBeInstanceOf(LeaseLostError);
  expect(extended[2]).toBe(extended[1]);
  expect(work.acks).toEqual([]);
  closed.abort();
  await worker.ended;
});

test("a server that counts otherwise is told the window again", async () => {
  const jobs = openHandler();
  const { subscribed, closed, worker } = openWorker(jobs.handler, { slots: 2 });
  const work = await subscribed();
  work.deliver("1");
  await settle();
  work.answer({ case: "flowState", value: { sent: 1n, credit: 1 } });
  await settle();
  expect(work.flows).toEqual([[0, 2]]);
  work.answer({ case: "flowState", value: { sent: 1n, credit: 0 } });
  await settle();
  expect(work.flows).toEqual([
    [0, 2],
    [1, 1],
  ]);
  closed.abort();
  await worker.ended;
});

test("a lane keeps its slots free for urgent jobs, and less of them while those run", async () => {
  const jobs = openHandler();
  const { subscribed, closed, worker } = openWorker(jobs.handler, { slots: 3, lanes: [{ minPriority: 6, slots: 1 }] });
  const work = await subscribed();
  expect(work.subscribe.lanes).toMatchObject([{ minPriority: 6, window: 1 }]);
  work.deliver("1", { priority: 7 });
  await settle();
  work.deliver("2");
  await settle();
  await jobs.finish("1");
  const lanes = work.requests.flatMap((each) => (each.case === "lanes" ? [each.value.lanes[0]?.window] : []));
  expect(lanes).toEqual([0, 1]);
  closed.abort();
  await worker.ended;
});

test("a worker that fails for good rejects; a silent server is called anew", async () => {
  const failing = openWorker(() => undefined);
  (await failing.work()).fail(new RpcError(Code.NOT_FOUND, 'There is no queue "tax"'));
  await expect(failing.worker.ended).rejects.toThrow('There is no queue "tax"');

  const silent = openWorker(() => undefined, { serverHeartbeatMs: 1000 });
  await silent.subscribed();
  await silent.clock.advanceInTurns(2499);
  expect(silent.calls).toHaveLength(1);
  await silent.clock.advanceInTurns(101);
  expect(silent.calls).toHaveLength(2);
  silent.closed.abort();
  await silent.worker.ended;
});

test("a server that answers nothing of what ended is sent no more than a thousand ends", async () => {
  const { subscribed, closed, worker } = openWorker(() => undefined, { slots: 1 });
  const work = await subscribed();
  for (let id = 1; work.credit > 0 && id <= 2000; id++) {
    work.deliver(String(id));
    await settle();
  }
  expect([work.acks.length, work.credit]).toEqual([1000, 0]);
  work.results("ack", ResultCode.OK, "1");
  await settle();
  expect(work.credit).toBe(1);
  closed.abort();
  await worker.ended;
});

test("no job is taken before its lease can be kept", async () => {
  const { subscribed, heartbeat, ready, closed, worker } = openWorker(() => undefined, { slots: 2 });
  heartbeat.isReady = false;
  const work = await subscribed();
  expect(work.credit).toBe(0);
  heartbeat.isReady = true;
  ready();
  await settle();
  expect(work.credit).toBe(2);
  closed.abort();
  await worker.ended;
});

test("options that cannot work are refused", () => {
  expect(() => openWorker(() => undefined, { slots: 0 })).toThrow(RangeError);
  expect(() => openWorker(() => undefined, { slots: 4, window: 3 })).toThrow("too small for 4 slots");
  expect(() => openWorker(() => undefined, { slots: 1, window: 2, explicitStart: false })).toThrow("explicit starts");
});

test("whatever happens in whatever order, it never holds more than its window, and its credit comes back", async () => {
  const step = fc.constantFrom("deliver", "finish", "fail", "start", "stale", "recall", "lose");
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 1, max: 3 }),
      fc.nat({ max: 3 }),
      async (steps, slots, more) => {
        const window = slots + more;
        const jobs = openHandler();
        const { clock, calls, subscribed, closed, worker } = openWorker(jobs.handler, { slots, window });
        let work = await subscribed();
        let next = 1;
        let asked = 0;
        for (const each of steps) {
          if (each === "deliver" && work.credit > 0) work.deliver(String(next++), { offer: more > 0 });
          const [running] = jobs.running();
          if (each === "finish" && running !== undefined) await jobs.finish(running);
          if (each === "fail" && running !== undefined) await jobs.fail(running, new Error("bad"));
          const start = work.starts[asked];
          if ((each === "start" || each === "stale") && start !== undefined) {
            work.results("start", each === "start" ? ResultCode.OK : ResultCode.STALE, start);
            asked++;
          }
          if (each === "recall" && start !== undefined) {
            const leases = [{ jobId: start, attempt: BigInt(start) }];
            work.answer({ case: "recall", value: { leases } });
            work.results("start", ResultCode.STALE, start);
            asked++;
          }
          if (each === "lose") {
            work.lose();
            await clock.advanceInTurns(60_000);
            work = calls.at(-1)!;
            work.session({ lost: work.subscribe.held.filter(({ jobId }) => !jobs.running().includes(jobId)) });
            asked = 0;
          }
          await settle();
          const held = worker.running + worker.waiting + (work.starts.length - asked);
          expect(worker.running).toBeLessThanOrEqual(slots);
          expect(held).toBeLessThanOrEqual(window);
          expect(work.credit).toBe(window - held);
        }
        closed.abort();
        await worker.ended;
      },
    ),
    { numRuns: 100 },
  );
});
