// No job is stuck in somebody's backlog: over real sockets and real files, counted.
import { type Delivery, type Lease, RecallReason, ResultCode } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { openQueueClient, type QueueClient } from "../support/queue-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let server: ServerProcess;
let client: QueueClient;

beforeAll(async () => {
  folder = await openTemporaryFolder("queues");
  server = await startServer([], { folder: folder.path });
  client = openQueueClient(server.address);
}, 60_000);

afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const flow = (window: number) => ({ seen: 0n, window, windowBytes: 0n });
const jobs = (count: number) => Array.from({ length: count }, (_, i) => ({ body: Buffer.from(`job ${i}`) }));
const leaseOf = ({ lease }: Delivery): Lease => lease!;
const bodies = (deliveries: readonly Delivery[]) => deliveries.map(({ job }) => Buffer.from(job!.body).toString());
const countsOf = async (name: string) => (await client.queues.getQueue({ name })).queue!.counts!;
const offersOf = (queue: string, window: number) => ({ queue, explicitStart: true, flow: flow(window) });

test("a second worker joins a backlog of 60 that one slow worker holds, and starts before that one finishes its next", async () => {
  await client.queues.createQueue({ name: "backlog" });
  await client.enqueue("backlog", ...jobs(60));
  await using slowClient = openQueueClient(server.address);
  const slow = slowClient.work(offersOf("backlog", 60));
  const held = (await slow.deliveries(60)).map(leaseOf);
  expect(await slow.startJobs(held.slice(0, 1))).toMatchObject([{ code: ResultCode.OK }]);
  expect(await countsOf("backlog")).toMatchObject({ waiting: 0n, offered: 59n, running: 1n });

  // The slow worker says nothing from here on: its job is not finished.
  const done: string[] = [];
  const joiner = client.work(offersOf("backlog", 1));
  for (let count = 1; count <= 59; count++) {
    const delivery = (await joiner.deliveries(count)).at(-1)!;
    expect(await joiner.startJobs([leaseOf(delivery)])).toMatchObject([{ code: ResultCode.OK }]);
    expect(await joiner.ack([leaseOf(delivery)])).toMatchObject([{ code: ResultCode.OK }]);
    done.push(...bodies([delivery]));
    joiner.flow(count, 1);
  }
  expect(new Set(done).size).toBe(59);
  expect(done).not.toContain("job 0");
  await slow.until(() => slow.all("recall").flatMap(({ leases }) => leases).length === 59);
  expect(await slow.startJobs(held.slice(1))).toMatchObject(held.slice(1).map(() => ({ code: ResultCode.NOT_FOUND })));
  expect(await slow.ack(held.slice(0, 1))).toMatchObject([{ code: ResultCode.OK }]);
  expect(await countsOf("backlog")).toMatchObject({ waiting: 0n, offered: 0n, running: 0n, done: 60n });
});

test("an urgent job passes full windows of two workers", async () => {
  await client.queues.createQueue({ name: "urgent" });
  await client.enqueue("urgent", ...jobs(100));
  const workers = [client.work(offersOf("urgent", 20)), client.work(offersOf("urgent", 20))];
  for (const worker of workers) await worker.deliveries(20);
  const [jobId] = await client.enqueue("urgent", { body: Buffer.from("now"), priority: 7 });
  const isThere = (worker: (typeof workers)[number]) => worker.all("delivery").some(({ job }) => job?.jobId === jobId);
  await Promise.race(workers.map((worker) => worker.until(() => isThere(worker))));
  const holder = workers.find(isThere)!;
  expect(holder.all("delivery")).toHaveLength(21);
  expect(holder.all("recall")).toMatchObject([{ reason: RecallReason.HIGHER_PRIORITY }]);
  expect(await countsOf("urgent")).toMatchObject({ offered: 40n, waiting: 61n });
  for (const worker of workers) worker.cut();
});

test("a retry storm does not starve fresh work", async () => {
  await client.queues.createQueue({ name: "storm", settings: { backoffMs: 1, backoffMaxMs: 1, maxAttempts: 1000 } });
  await client.enqueue("storm", ...jobs(50));
  const worker = client.work({ queue: "storm", flow: flow(5) });
  let seen = 0;
  let fresh: Delivery | undefined;
  while (fresh === undefined) {
    const next = (await worker.deliveries(seen + 1)).slice(seen);
    seen += next.length;
    fresh = next.find(({ job }) => Buffer.from(job!.body).toString() === "fresh");
    for (const { lease } of next) worker.say({ case: "nack", value: { lease: lease!, kind: 2 } });
    worker.flow(seen, 5);
    if (seen === 200 || (seen > 200 && seen - next.length < 200))
      await client.enqueue("storm", { body: Buffer.from("fresh") });
    // All that waited before it may come first, once; what failed since may not.
    expect(seen).toBeLessThan(400);
  }
  worker.cut();
});

describe("a partition", () => {
  test("in which the connection is lost: offers go to others at once, the worker comes back to what it runs", async () => {
    await client.queues.createQueue({ name: "partition", settings: { graceMs: 60_000 } });
    await client.enqueue("partition", ...jobs(4));
    await using proxy = await openFaultProxy({ target: () => server.address });
    await using far = openQueueClient(proxy.address);
    const worker = far.work({ ...offersOf("partition", 4), workerId: "far" });
    const held = (await worker.deliveries(4)).map(leaseOf);
    await worker.startJobs(held.slice(0, 1));
    const { sessionToken } = worker.all("session")[0]!;
    const near = client.work(offersOf("partition", 0));
    proxy.breakAll("reset");
    expect(await worker.ending()).toMatchObject({ code: Code.UNAVAILABLE });
    near.flow(0, 4);
    expect(bodies(await near.deliveries(3)).sort()).toEqual(["job 1", "job 2", "job 3"]);
    await using again = openQueueClient(server.address);
    const back = again.work({ ...offersOf("partition", 0), workerId: "far", sessionToken, held: held.slice(0, 2) });
    await back.until(() => back.all("session").length === 1);
    expect(back.all("session")).toMatchObject([{ kept: [held[0]], lost: [held[1]] }]);
    expect(await back.ack(held.slice(0, 1))).toMatchObject([{ code: ResultCode.OK }]);
  });
});

test("a restart: workers hear how to go on, keep what they run, and nothing is lost", async () => {
  await using own = await openTemporaryFolder("queues-restart");
  let other = await startServer([], { folder: own.path });
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => other[Symbol.asyncDispose]());
  const first = stack.use(openQueueClient(other.address));
  await first.queues.createQueue({ name: "q" });
  await first.enqueue("q", ...jobs(10));
  const worker = first.work({ ...offersOf("q", 4), workerId: "w" });
  const held = (await worker.deliveries(4)).map(leaseOf);
  await worker.startJobs(held.slice(0, 2));
  other.kill("SIGTERM");
  const error = (await worker.ending()) as RpcError;
  expect(error).toMatchObject({ code: Code.UNAVAILABLE });
  expect(error.message).toContain("subscribe again with session_token, worker_id and the leases that are held");
  expect((await other.ended()).exitCode).toBe(0);

  other = await startServer([], { folder: own.path });
  const second = stack.use(openQueueClient(other.address));
  const back = second.work({ ...offersOf("q", 20), workerId: "w", held: held.slice(0, 2) });
  expect(bodies(await back.deliveries(8)).length).toBe(8);
  expect(back.all("session")).toMatchObject([{ kept: held.slice(0, 2), lost: [] }]);
  const all = [...held.slice(0, 2), ...back.all("delivery").map(leaseOf)];
  expect((await back.ack(all)).map(({ code }) => code)).toEqual(all.map(() => ResultCode.OK));
  const { queue } = await second.queues.getQueue({ name: "q" });
  expect(queue?.counts).toMatchObject({ done: 10n, waiting: 0n, offered: 0n, running: 0n });
});
