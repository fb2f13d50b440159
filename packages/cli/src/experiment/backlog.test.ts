import { expect, test } from "vitest";
import { Backlog, type BacklogJob } from "./backlog.ts";

const job = (jobId: string, priority = 3): BacklogJob => ({ jobId, priority, body: new Uint8Array(0) });
const always = (): boolean => true;
const never = new AbortController().signal;

test("who has waited longest gets the next job, and the most urgent one is the next", async () => {
  const backlog = new Backlog();
  const first = backlog.take(always, never);
  const second = backlog.take(always, never);
  backlog.add(job("a"));
  backlog.add(job("b"));
  expect([(await first)?.jobId, (await second)?.jobId]).toEqual(["a", "b"]);
  for (const each of [job("c"), job("d"), job("e", 7), job("f", 7)]) backlog.add(each);
  const order: (string | undefined)[] = [];
  for (let i = 0; i < 4; i++) order.push((await backlog.take(always, never))?.jobId);
  expect(order).toEqual(["e", "f", "c", "d"]);
});

test("who may take no more is passed over until it may, and who leaves gets nothing", async () => {
  const backlog = new Backlog();
  let mayTake = false;
  const full = backlog.take(() => mayTake, never);
  const leaving = new AbortController();
  const left = backlog.take(always, leaving.signal);
  leaving.abort();
  expect(await left).toBeUndefined();
  const idle = backlog.take(always, never);
  backlog.add(job("a"));
  expect((await idle)?.jobId).toBe("a");
  backlog.add(job("b"));
  mayTake = true;
  backlog.handOut();
  expect((await full)?.jobId).toBe("b");
});
