// What takes minutes by its nature: a blocked event loop, a partition. `npm run slow`.
import { connect, type JobHandler, LeaseLostError } from "@sluice/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { type StartedSluice, startSluice } from "../support/started-sluice.ts";

const BLOCK_MS = 30_000;
const PARTITION_MS = 120_000;

let sluice: StartedSluice;

beforeAll(async () => {
  sluice = await startSluice("queue-slow");
}, 60_000);

afterAll(() => sluice[Symbol.asyncDispose]());

test("a worker whose event loop blocks for 30 s keeps its leases: no other one gets its job", async () => {
  await sluice.client.queues.create("blocked", { settings: { leaseMs: 5000, graceMs: 2000 } });
  const begun: string[] = [];
  const warnings: string[] = [];
  const lost: LeaseLostError[] = [];
  const worker = sluice.client.queues.worker(
    "blocked",
    (job) => {
      begun.push(job.id);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCK_MS); // nothing else runs in this thread
    },
    { slots: 1, onWarning: (text) => warnings.push(text), onLeaseLost: (error) => lost.push(error) },
  );
  await sluice.client.queues.enqueue("blocked", { body: "a" });
  await expect
    .poll(() => sluice.countsOf("blocked"), { timeout: 3 * BLOCK_MS })
    .toMatchObject({ done: 1n, failures: 0n, running: 0n });
  await worker.drain();
  expect([begun, lost]).toEqual([["1"], []]);
  expect(warnings.join("\n")).toMatch(/The event loop was blocked for \d{5} ms/u);
});

test("through a partition of two minutes no job is lost, and none is acknowledged twice", async () => {
  await sluice.client.queues.create("partition", { settings: { leaseMs: 5000, graceMs: 5000 } });
  await using proxy = await openFaultProxy({ target: () => sluice.server.address });
  const far = connect(proxy.address, { keepalive: { intervalMs: 2000, timeoutMs: 2000 } });
  const ended: string[] = [];
  const lost: string[] = [];
  const held = Promise.withResolvers<void>();
  const hold: JobHandler = async (_job, { signal }) => {
    signal.addEventListener("abort", () => held.resolve(), { once: true });
    await held.promise;
  };
  const onEnded = (job: { readonly id: string }): void => void ended.push(job.id);
  const cut = far.queues.worker("partition", hold, {
    slots: 2,
    window: 10,
    serverHeartbeatMs: 2000,
    onEnded,
    onLeaseLost: ({ jobId }) => lost.push(jobId),
  });
  await sluice.client.queues.enqueue(
    "partition",
    Array.from({ length: 20 }, (_, i) => ({ body: String(i) })),
  );
  await expect.poll(() => cut.running).toBe(2);
  const startMs = performance.now();
  proxy.refuse(true);
  proxy.breakAll("stall");
  const near = sluice.client.queues.worker("partition", () => undefined, { slots: 1, onEnded });
  await expect.poll(() => sluice.countsOf("partition"), { timeout: 60_000 }).toMatchObject({ done: 20n });
  expect(lost.toSorted()).toEqual(["1", "2"]);
  await expect
    .poll(() => performance.now() - startMs, { timeout: 2 * PARTITION_MS, interval: 1000 })
    .toBeGreaterThan(PARTITION_MS);
  proxy.refuse(false);
  await expect.poll(() => cut.isConnected, { timeout: 60_000 }).toBe(true);
  await near.drain();
  await sluice.client.queues.enqueue("partition", { body: "after" });
  await expect.poll(() => sluice.countsOf("partition")).toMatchObject({ done: 21n, waiting: 0n, running: 0n });
  expect(new Set(ended).size).toBe(21);
  expect(ended).toHaveLength(21);
  await cut.drain();
  await far.close();
});
