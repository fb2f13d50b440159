import { NackKind, ResultCode } from "@sluice/api";
import { expect, test } from "vitest";
import { WorkerDrained } from "./queue-job.ts";
import { settle } from "./testing/chance.ts";
import { openHandler, openWorker } from "./testing/model-work.ts";

test("a drain takes nothing more, gives back what crosses it, and ends when the last handler has ended", async () => {
  const jobs = openHandler();
  const { subscribed, worker, clock } = openWorker(jobs.handler, { slots: 3 });
  const work = await subscribed();
  for (const id of ["1", "2"]) work.deliver(id);
  await settle();
  const drained = worker.drain();
  work.deliver("3");
  await settle();
  expect(work.requests.map((each) => each.case)).toEqual(["subscribe", "drain", "flow", "nack", "flow"]);
  expect(work.nacks).toMatchObject([{ job: "3", kind: NackKind.RETURN }]);
  expect([work.flows.at(-1)?.[1], jobs.running()]).toEqual([0, ["1", "2"]]);
  await jobs.finish("1");
  await jobs.finish("2");
  work.results("nack", ResultCode.OK, "3");
  for (const id of ["1", "2"]) work.results("ack", ResultCode.OK, id);
  await settle();
  expect(work.isEnded).toBe(false); // the server has the last word
  work.drained();
  await drained;
  await settle();
  expect([work.isEnded, clock.timers]).toEqual([true, 0]);
});

test("a job that crosses the drain of an idle worker goes back at once, on the same stream", async () => {
  const jobs = openHandler();
  const ended: string[] = [];
  const { subscribed, worker, calls } = openWorker(jobs.handler, {
    onEnded: ({ id }, outcome) => ended.push(`${id} ${outcome}`),
  });
  const work = await subscribed();
  const drained = worker.drain();
  await settle();
  work.deliver("1");
  await settle();
  expect(work.nacks).toMatchObject([{ job: "1", kind: NackKind.RETURN }]);
  work.results("nack", ResultCode.OK, "1");
  work.drained();
  await drained;
  expect([calls.length, jobs.begun, ended]).toEqual([1, [], ["1 return"]]);
});

test("a job whose Start is answered during a drain goes back", async () => {
  const jobs = openHandler();
  const { subscribed, worker } = openWorker(jobs.handler, { slots: 1, window: 2 });
  const work = await subscribed();
  for (const id of ["1", "2"]) work.deliver(id, { offer: true });
  await settle();
  const drained = worker.drain();
  work.results("start", ResultCode.OK, "1");
  await settle();
  expect([jobs.begun, work.nacks]).toMatchObject([[], [{ job: "1", kind: NackKind.RETURN }]]);
  work.results("nack", ResultCode.OK, "1");
  work.drained();
  await drained;
});

test("a Start that the server did not read before it ended the stream is not waited for", async () => {
  const jobs = openHandler();
  const { subscribed, worker, calls } = openWorker(jobs.handler, { slots: 1, window: 2 });
  const work = await subscribed();
  for (const id of ["1", "2"]) work.deliver(id, { offer: true });
  await settle();
  const drained = worker.drain();
  await settle();
  expect(work.starts).toEqual(["1"]);
  work.drained();
  await drained;
  expect([jobs.begun, calls.length]).toEqual([[], 1]);
});

test("what the server has not heard is said before the drain, on the next stream; a handler whose lease is lost is waited for without one", async () => {
  const jobs = openHandler();
  const { subscribed, worker, calls, clock } = openWorker(jobs.handler, { slots: 3 });
  const first = await subscribed();
  for (const id of ["1", "2", "3"]) first.deliver(id);
  await settle();
  await jobs.finish("1");
  let isDrained = false;
  const drained = worker.drain().then(() => (isDrained = true));
  first.drained(); // it was given up there, and its Ack was not read
  await clock.advanceInTurns(100);
  const second = calls[1]!;
  expect(second.requests.map((each) => each.case)).toEqual(["subscribe", "ack", "drain"]);
  const lost = ["2", "3"].map((jobId) => ({ jobId, attempt: BigInt(jobId) }));
  second.session({ lost });
  second.results("ack", ResultCode.STALE, "1");
  second.drained();
  await clock.advanceInTurns(60_000);
  await jobs.finish("2");
  expect([calls.length, isDrained]).toEqual([2, false]);
  await jobs.finish("3");
  await drained;
});

test("a drain with a deadline ends without a server, too, and says what that one was not told", async () => {
  const jobs = openHandler();
  const warnings: string[] = [];
  const { subscribed, worker, clock } = openWorker(jobs.handler, { onWarning: (text) => warnings.push(text) });
  const work = await subscribed();
  for (const id of ["1", "2"]) work.deliver(id);
  await settle();
  await jobs.finish("1");
  work.lose();
  await settle();
  let isDrained = false;
  const drained = worker.drain({ deadlineMs: 3000 }).then(() => (isDrained = true));
  await clock.advanceInTurns(7999);
  expect([isDrained, worker.unconfirmed, warnings]).toEqual([false, 2, []]);
  await clock.advanceInTurns(1);
  await drained;
  expect(warnings).toEqual(["The server was not told what became of 2 jobs: they are done again"]);
  await jobs.finish("2");
});

test("a drain's deadline aborts the signals and returns the jobs", async () => {
  const jobs = openHandler();
  const { subscribed, worker, clock, heartbeat } = openWorker(jobs.handler, { slots: 1 });
  const work = await subscribed();
  work.deliver("1");
  await settle();
  const drained = worker.drain({ deadlineMs: 5000 });
  await clock.advanceInTurns(4999);
  const signal = jobs.signal("1");
  expect(signal.aborted).toBe(false);
  await clock.advanceInTurns(1);
  expect(signal.reason).toBeInstanceOf(WorkerDrained);
  expect(work.nacks).toMatchObject([{ job: "1", kind: NackKind.RETURN }]);
  work.results("nack", ResultCode.OK, "1");
  work.drained();
  await drained;
  await jobs.finish("1");
  expect([work.acks, heartbeat.isEnded]).toEqual([[], true]);
});
