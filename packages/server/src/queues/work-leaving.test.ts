// What becomes of jobs when their worker leaves, and what many workers cost.
import { afterEach, beforeEach, expect, test } from "vitest";
import { OpenedQueues } from "./testing/opened-queues.ts";

let opened: OpenedQueues;

beforeEach(async () => {
  opened = await OpenedQueues.open();
  await opened.createQueue("q");
});
afterEach(() => opened[Symbol.asyncDispose]());

const text = (body: string) => ({ body: Buffer.from(body) });
const flow = (window: number) => ({ seen: 0n, window, windowBytes: 0n });
const countsOf = async () => (await opened.call("getQueue", { name: "q" })).queue!.counts!;

test.for(["half-closes", "is cut"] as const)(
  "what was started for a worker that %s, and not sent to it, waits again at once",
  async (how) => {
    const worker = await opened.worker({ queue: "q", heartbeatMs: 0, flow: flow(3) });
    await opened.enqueue("q", [text("a")]);
    const [sent] = await worker.deliveries(1);
    worker.isStalled = true;
    await opened.enqueue("q", [text("b"), text("c")]);
    expect(await countsOf()).toMatchObject({ running: 3n, waiting: 0n });
    if (how === "is cut") worker.cut();
    else worker.halfClose();
    await expect.poll(countsOf).toMatchObject({ running: 1n, waiting: 2n, failures: 0n });
    // What it was sent is held for the grace time.
    const other = await opened.worker({ queue: "q", heartbeatMs: 0, flow: flow(3) });
    expect((await other.deliveries(2)).map(({ job }) => Buffer.from(job!.body).toString())).toEqual(["b", "c"]);
    opened.clock.advance(30_000);
    const [, , again] = await other.deliveries(3);
    expect(again!.lease!.jobId).toBe(sent!.lease!.jobId);
  },
);

test("a heartbeat asks no other worker: its cost does not grow with them", async () => {
  const { engine } = opened.queues.find("q")!;
  let asked = 0;
  const idle = { id: "idle", explicitStart: true, leaseMs: 0, deliver() {}, recall() {}, leaseLost() {} };
  const credit = () => {
    asked++;
    return 0;
  };
  for (let i = 0; i < 100; i++) engine.attach({ ...idle, credit }, []);
  const worker = await opened.worker({ queue: "q", explicitStart: true, heartbeatMs: 1000, flow: flow(1) });
  await opened.enqueue("q", [text("a"), text("b")]);
  await worker.deliveries(1);
  asked = 0;
  opened.clock.advance(5000);
  expect(worker.all("flowState").at(-1)).toMatchObject({ waitingByPriority: [0n, 0n, 0n, 1n, 0n, 0n, 0n, 0n] });
  expect([worker.all("flowState").length, asked]).toEqual([5, 0]);
});
