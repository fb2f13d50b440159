// The SDK's workers against a real server: where jobs wait, and what becomes of them when a connection, the event loop or
// the server fails.
import { connect } from "@sluice/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { holdJobs } from "../support/held-jobs.ts";
import { type StartedSluice, startSluice } from "../support/started-sluice.ts";

let sluice: StartedSluice;

beforeAll(async () => {
  sluice = await startSluice("queue-worker");
}, 60_000);

afterAll(() => sluice[Symbol.asyncDispose]());

const texts = (count: number) => Array.from({ length: count }, (_, i) => ({ body: String(i + 1) }));

test("offers at a slow worker go to one that comes, before the slow one ends its job; an urgent job passes them all", async () => {
  await sluice.client.queues.create("offers");
  await sluice.client.queues.enqueue("offers", texts(60));
  const slow = holdJobs();
  const slowWorker = sluice.client.queues.worker("offers", slow.handler, { slots: 1, window: 60, workerId: "slow" });
  await expect.poll(() => [slow.begun, slowWorker.waiting]).toEqual([["1"], 59]);
  const fast = holdJobs();
  const fastWorker = sluice.client.queues.worker("offers", fast.handler, { slots: 1, window: 30, workerId: "fast" });
  await expect.poll(() => fast.begun.length).toBe(1);
  expect(slow.begun).toEqual(["1"]);
  await sluice.client.queues.enqueue("offers", { body: "urgent", priority: 7 });
  await expect.poll(async () => (await sluice.countsOf("offers")).offered).toBeGreaterThan(0n);
  fast.finish(fast.begun[0]!);
  slow.finish("1");
  await expect.poll(() => slow.begun.length + fast.begun.length).toBe(4);
  expect([slow.begun[1], fast.begun[1]]).toContain("urgent");
  for (const { finish, begun } of [slow, fast]) finish(begun[1]!);
  await sluice.client.queues.purge("offers");
  const ended = Promise.all([slowWorker.drain(), fastWorker.drain()]);
  await expect
    .poll(() => {
      for (const { running } of [slow, fast]) for (const end of running.values()) end();
      return slowWorker.running + fastWorker.running;
    })
    .toBe(0);
  await ended;
  expect(await sluice.countsOf("offers")).toMatchObject({ offered: 0n, running: 0n, workers: 0 });
});

test("a worker whose event loop blocks for longer than its lease keeps it: the job is done once", async () => {
  await sluice.client.queues.create("blocked", { settings: { leaseMs: 1500, graceMs: 300 } });
  await sluice.client.queues.enqueue("blocked", { body: "a" });
  const attempts: bigint[] = [];
  const warnings: string[] = [];
  const lost: string[] = [];
  const worker = sluice.client.queues.worker(
    "blocked",
    (job) => {
      attempts.push(job.attempt);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4000); // nothing else runs in this thread
    },
    {
      slots: 1,
      onWarning: (text) => warnings.push(text),
      onLeaseLost: ({ message }) => lost.push(message),
    },
  );
  await expect.poll(async () => await sluice.countsOf("blocked")).toMatchObject({ done: 1n, failures: 0n });
  await worker.drain();
  expect([attempts.length, lost]).toEqual([1, []]);
  expect(warnings).toContainEqual(expect.stringMatching(/The event loop was blocked for \d{4} ms/u));
});

test("jobs outlive a lost connection: their worker goes on with them, and each counts once", async () => {
  await sluice.client.queues.create("cut");
  await sluice.client.queues.enqueue("cut", texts(3));
  await using proxy = await openFaultProxy({ target: () => sluice.server.address });
  await using far = connect(proxy.address);
  const jobs = holdJobs();
  const kept: number[] = [];
  let losses = 0;
  const worker = far.queues.worker("cut", jobs.handler, {
    slots: 2,
    window: 3,
    onConnected: (session) => kept.push(session.kept),
    onDisconnected: () => losses++,
    retry: { initialMs: 1, maxMs: 10 },
  });
  await expect.poll(() => jobs.begun.length).toBe(2);
  proxy.breakAll("reset");
  await expect.poll(() => kept).toEqual([0, 2]);
  for (const text of jobs.begun.slice(0, 2)) jobs.finish(text);
  await expect.poll(() => jobs.begun.length).toBe(3);
  jobs.finish(jobs.begun[2]!);
  await expect.poll(async () => await sluice.countsOf("cut")).toMatchObject({ done: 3n, failures: 0n });
  expect([losses, jobs.begun.toSorted()]).toEqual([1, ["1", "2", "3"]]);
  await worker.drain();
});

test("workers that come and go leave nothing behind", async () => {
  await sluice.client.queues.create("phantoms");
  for (let turn = 0; turn < 50; turn++) {
    const worker = sluice.client.queues.worker("phantoms", () => undefined, { slots: 3, heartbeat: "loop" });
    await expect.poll(() => worker.isConnected, { interval: 1 }).toBe(true);
    await worker.drain();
  }
  await expect.poll(async () => await sluice.countsOf("phantoms")).toMatchObject({ workers: 0, credit: 0n });
  await sluice.client.queues.enqueue("phantoms", { body: "a" });
  expect(await sluice.countsOf("phantoms")).toMatchObject({ waiting: 1n, offered: 0n, running: 0n });
});

test("a thousand jobs in batches, by four workers, each done once", async () => {
  await sluice.client.queues.create("many");
  const enqueued = await sluice.client.queues.enqueue("many", texts(1500));
  expect(new Set(enqueued.map(({ jobId }) => jobId)).size).toBe(1500);
  const done: string[] = [];
  const workers = Array.from({ length: 4 }, () =>
    sluice.client.queues.worker("many", (job) => void done.push(job.text()), { slots: 10, window: 40 }),
  );
  await expect.poll(async () => (await sluice.countsOf("many")).done, { timeout: 60_000 }).toBe(1500n);
  expect(new Set(done).size).toBe(1500);
  expect(done).toHaveLength(1500);
  await Promise.all(workers.map((worker) => worker.drain()));
});
