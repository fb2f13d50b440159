import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLogger } from "../telemetry/logger.ts";
import { OwnQueue, type OwnOutcome } from "./own-queue.ts";
import { OpenedQueues } from "./testing/opened-queues.ts";

let opened: OpenedQueues;
let own: OwnQueue | undefined;
let handled: string[];
/** What becomes of the next ones; then they are done. */
let outcomes: (OwnOutcome | Error | Promise<OwnOutcome>)[];

beforeEach(async () => {
  opened = await OpenedQueues.open();
  handled = [];
  outcomes = [];
});
afterEach(async () => {
  await own?.[Symbol.asyncDispose]();
  own = undefined;
  await opened[Symbol.asyncDispose]();
});

const DONE: OwnOutcome = { kind: "done" };
const job = (id: string, notBeforeMs = 0) => ({ id, body: Buffer.from(id), notBeforeMs });

function open(slots = 2): OwnQueue {
  const { clock } = opened;
  own = new OwnQueue({
    catalog: opened.queues,
    clock,
    logger: createLogger({ format: "text", level: "fatal", clock, write: () => {} }),
    name: "errands",
    settings: { maxAttempts: 3, backoffMs: 1000, backoffMaxMs: 1000 },
    slots,
    handle: async (body, signal) => {
      handled.push(Buffer.from(body).toString());
      const outcome = outcomes.shift() ?? DONE;
      if (outcome instanceof Error) throw outcome;
      const aborted = new Promise<OwnOutcome>((_, reject) => {
        signal.addEventListener("abort", () => reject(new Error("stopped")));
      });
      return outcome instanceof Promise ? await Promise.race([outcome, aborted]) : outcome;
    },
  });
  return own;
}

const counts = () => opened.queues.find("errands")!.engine.counts();
async function untilDone(done: number): Promise<void> {
  await expect.poll(() => counts().done).toBe(done);
}

test("what was added is done, each once; the same id again is not taken", async () => {
  const queue = open();
  await queue.add([job("a"), job("b"), job("c")]);
  await untilDone(3);
  await queue.add([job("b")]);
  await turn();
  expect(handled).toEqual(["a", "b", "c"]);
  expect(counts()).toMatchObject({ done: 3, waiting: 0 });
});

test("no more at a time than it has slots", async () => {
  const held = Promise.withResolvers<OwnOutcome>();
  outcomes = [held.promise, held.promise];
  const queue = open(2);
  await queue.add([job("a"), job("b"), job("c")]);
  await expect.poll(() => queue.running).toBe(2);
  expect(counts().waiting).toBe(1);
  held.resolve(DONE);
  await untilDone(3);
});

test("a job whose lease is lost gives its slot back, and is done again", async () => {
  outcomes = [new Promise<OwnOutcome>(() => {})];
  const queue = open(1);
  await queue.add([job("a")]);
  await expect.poll(() => handled).toEqual(["a"]);
  opened.clock.advance(30_100);
  await expect.poll(() => counts().delayed).toBe(1);
  opened.clock.advance(1500);
  await untilDone(1);
  expect(handled).toEqual(["a", "a"]);
});

test("not before its time", async () => {
  const queue = open();
  await queue.add([job("later", Number(opened.clock.nowNs() / 1_000_000n) + 60_000)]);
  await turn();
  expect(handled).toEqual([]);
  opened.clock.advance(60_000);
  await untilDone(1);
});

test("what fails is tried again after a while, and lies with the dead in the end", async () => {
  outcomes = [new Error("no"), { kind: "failed", reason: "not yet", atMs: 0 }];
  const queue = open();
  await queue.add([job("a")]);
  await expect.poll(() => counts().delayed).toBe(1);
  opened.clock.advance(1500);
  await expect.poll(() => handled.length).toBe(2);
  await expect.poll(() => counts().delayed).toBe(1);
  outcomes = [new Error("never")];
  opened.clock.advance(1500);
  await expect.poll(() => counts().dead).toBe(1);
  const [dead] = opened.queues.find("errands")!.engine.listDead("", 1).jobs;
  expect(dead?.history.map(({ reason }) => reason)).toEqual(["no", "not yet", "never"]);
});

test("what is rejected is dead at once", async () => {
  outcomes = [{ kind: "rejected", reason: "gone" }];
  const queue = open();
  await queue.add([job("a")]);
  await expect.poll(() => counts().dead).toBe(1);
  expect(handled).toEqual(["a"]);
});

test("a job that runs when the server stops is done after the next start, and the stop was no failure of it", async () => {
  outcomes = [new Promise<OwnOutcome>(() => {})];
  const queue = open();
  await queue.add([job("a")]);
  await expect.poll(() => handled.length).toBe(1);
  await queue[Symbol.asyncDispose]();
  await expect(queue.add([job("b")])).rejects.toThrow("the server stops");
  await opened.restart();
  expect(counts()).toMatchObject({ failures: 0 });
  open();
  await untilDone(1);
  expect(handled).toEqual(["a", "a"]);
});

test("a queue that somebody deleted is made again", async () => {
  const queue = open();
  await queue.add([job("a")]);
  await untilDone(1);
  await opened.call("deleteQueue", { name: "errands" });
  const adding = queue.add([job("b")]);
  opened.clock.advance(1000);
  await adding;
  await expect.poll(() => handled).toEqual(["a", "b"]);
});
