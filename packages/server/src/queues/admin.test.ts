// What people ask of queues, and that every entrance asks whether they may.
import { create, toBinary } from "@bufbuild/protobuf";
import { EnqueueStreamRequestSchema, JobState, NackKind, QueueService } from "@sluice/api";
import type { Call } from "@sluice/rpc";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PermissionDenied } from "../errors.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";
import { OpenedQueues } from "./testing/opened-queues.ts";

let opened: OpenedQueues;
let denied: ((action: string, name: string) => boolean) | undefined;
const asked: string[] = [];

beforeEach(async () => {
  denied = undefined;
  asked.length = 0;
  opened = await OpenedQueues.open({
    authorize(_subject, action, { type, name }) {
      asked.push(`${action} ${type} ${name}`);
      if (denied?.(action, name) === true) throw new PermissionDenied();
    },
  });
  await opened.createQueue("q", { windowMax: 10 });
});
afterEach(() => opened[Symbol.asyncDispose]());

const text = (body: string) => ({ body: Buffer.from(body) });
const flow = (window: number) => ({ seen: 0n, window, windowBytes: 0n });
const fieldsOf = (error: unknown) =>
  (error as { facts?: { violations?: { field: string }[] } }).facts?.violations?.map(({ field }) => field);

describe("administration", () => {
  test("settings: absent ones are the defaults, those that are said are set, bad ones are named", async () => {
    const { queue } = await opened.call("getQueue", { name: "q" });
    expect(queue?.settings).toMatchObject({ windowMax: 10, leaseMs: 30_000, ageMs: 60_000, maxAttempts: 5 });
    const { queue: updated } = await opened.call("updateQueue", {
      name: "q",
      settings: { leaseMs: 1000, weights: { gold: 3 } },
    });
    expect(updated?.settings).toMatchObject({ windowMax: 10, leaseMs: 1000, weights: { gold: 3 } });
    const error: unknown = await opened
      .call("updateQueue", {
        name: "q",
        settings: { leaseMs: 1, windowMax: 0, weights: { a: 0 }, backoffMs: 1_000_000 },
      })
      .catch((each: unknown) => each);
    expect(fieldsOf(error)).toEqual([
      "settings.lease_ms",
      "settings.window_max",
      "settings.weights[a]",
      "settings.backoff_max_ms",
    ]);
  });

  test("queues are listed by name, in pages", async () => {
    await opened.createQueue("a");
    await opened.createQueue("z");
    const first = await opened.call("listQueues", { pageSize: 2 });
    expect(first.queues?.map(({ name }) => name)).toEqual(["a", "q"]);
    const second = await opened.call("listQueues", { pageSize: 2, pageToken: first.nextPageToken ?? "" });
    expect(second.queues?.map(({ name }) => name)).toEqual(["z"]);
    expect(second.nextPageToken).toBe("");
    denied = (_action, name) => name === "a";
    expect((await opened.call("listQueues", {})).queues?.map(({ name }) => name)).toEqual(["q", "z"]);
  });

  test("a queue with jobs is deleted by force only", async () => {
    await opened.enqueue("q", [text("a")]);
    await expect(opened.call("deleteQueue", { name: "q" })).rejects.toMatchObject({
      kind: "failed-precondition",
      facts: { reason: "QUEUE_NOT_EMPTY", metadata: { jobs: "1" } },
    });
    await opened.call("deleteQueue", { name: "q", force: true });
    expect((await opened.call("listQueues", {})).queues).toEqual([]);
  });

  test("pause keeps jobs back, across a restart, until resume", async () => {
    await opened.enqueue("q", [text("a")]);
    await opened.call("pause", { queue: "q" });
    await opened.restart();
    const worker = await opened.worker({ queue: "q", explicitStart: true, flow: flow(1) });
    await worker.until(() => worker.all("session").length === 1);
    expect((await opened.call("getQueue", { name: "q" })).queue).toMatchObject({
      paused: true,
      counts: { waiting: 1n },
    });
    await opened.call("resume", { queue: "q" });
    await worker.deliveries(1);
  });

  test("peek, explain, cancel, purge", async () => {
    const late = opened.clock.nowNs() + 60_000_000_000n;
    await opened.enqueue("q", [text("low"), { ...text("high"), priority: 6 }, { ...text("late"), notBefore: late }]);
    const { jobs = [] } = await opened.call("peekJobs", { queue: "q", bodyBytes: 2 });
    expect(jobs.map(({ job, bodySize, state }) => [Buffer.from(job!.body!).toString(), bodySize, state])).toEqual([
      ["hi", 4n, JobState.WAITING],
      ["lo", 3n, JobState.WAITING],
    ]);
    expect((await opened.call("peekJobs", { queue: "q", state: JobState.DELAYED })).jobs).toMatchObject([
      { until: late },
    ]);
    expect(await opened.call("explainJob", { queue: "q", jobId: "1" })).toMatchObject({ ahead: 1n });
    await opened.call("cancelJob", { queue: "q", jobId: "1" });
    for (const name of ["explainJob", "cancelJob"] as const) {
      await expect(opened.call(name, { queue: "q", jobId: "1" })).rejects.toMatchObject({
        kind: "not-found",
        facts: { resource: { type: "job", name: "1" } },
      });
    }
    expect(await opened.call("purge", { queue: "q", state: JobState.DELAYED })).toEqual({ removed: 1n });
    await expect(opened.call("purge", { queue: "q", state: JobState.RUNNING })).rejects.toMatchObject({
      kind: "invalid-argument",
    });
    expect(await opened.call("purge", { queue: "q" })).toEqual({ removed: 1n });
  });

  test("dead jobs are listed in pages and wait again when they are redriven", async () => {
    await opened.enqueue("q", [text("a"), text("b"), text("c")]);
    const worker = await opened.worker({ queue: "q", flow: flow(3) });
    for (const { lease } of await worker.deliveries(3)) {
      worker.say({ case: "nack", value: { request: 9n, lease: lease!, kind: NackKind.REJECT } });
    }
    await expect.poll(async () => (await opened.call("getQueue", { name: "q" })).queue?.counts?.dead).toBe(3n);
    const first = await opened.call("listDeadJobs", { queue: "q", pageSize: 2 });
    const second = await opened.call("listDeadJobs", { queue: "q", pageSize: 2, pageToken: first.nextPageToken ?? "" });
    const ids = [...(first.jobs ?? []), ...(second.jobs ?? [])].map(({ job }) => job?.jobId);
    expect([ids, second.nextPageToken]).toEqual([["1", "2", "3"], ""]);
    expect(await opened.call("redrive", { queue: "q", jobIds: ["2"] })).toEqual({ redriven: 1n });
    expect(await opened.call("redrive", { queue: "q" })).toEqual({ redriven: 2n });
    await expect(opened.call("redrive", { queue: "q", jobIds: ["99"] })).rejects.toMatchObject({ kind: "not-found" });
  });

  test("schedules enqueue by the clock; a malformed one is refused", async () => {
    const job = text("tick");
    const schedule = { name: "each-minute", cron: "* * * * *", job };
    const put = await opened.call("putSchedule", { queue: "q", schedule });
    expect(put.schedule?.nextAt).toBeGreaterThan(opened.clock.nowNs());
    expect((await opened.call("listSchedules", { queue: "q" })).schedules).toMatchObject([{ name: "each-minute" }]);
    opened.clock.advance(60_000);
    expect((await opened.call("getQueue", { name: "q" })).queue?.counts).toMatchObject({ waiting: 1n });
    await opened.call("deleteSchedule", { queue: "q", name: "each-minute" });
    opened.clock.advance(120_000);
    expect((await opened.call("getQueue", { name: "q" })).queue?.counts).toMatchObject({ waiting: 1n });
    for (const bad of [
      { ...schedule, cron: "99 * * * *" },
      { ...schedule, cron: "every day" },
      { ...schedule, timeZone: "Mars/Olympus" },
      { ...schedule, name: "No" },
      { ...schedule, job: { ...job, jobId: "own" } },
      { name: "x", cron: "* * * * *" },
    ]) {
      const error: unknown = await opened
        .call("putSchedule", { queue: "q", schedule: bad })
        .catch((each: unknown) => each);
      expect(error, JSON.stringify(bad)).toMatchObject({ kind: "invalid-argument" });
      expect(fieldsOf(error)).toHaveLength(1);
    }
    await expect(opened.call("deleteSchedule", { queue: "q", name: "gone" })).rejects.toMatchObject({
      kind: "not-found",
    });
  });
});

const OTHERS = [
  "extendLeases",
  "pause",
  "resume",
  "peekJobs",
  "explainJob",
  "cancelJob",
  "purge",
  "listDeadJobs",
  "redrive",
  "listSchedules",
  "deleteSchedule",
] as const;
const callOf = (name: (typeof OTHERS)[number]) => () => opened.call(name, { queue: "hidden" });

describe("every entrance asks whether it may, before it looks", () => {
  const calls: Record<string, () => Promise<unknown>> = {
    work: () => opened.worker({ queue: "hidden" }),
    enqueue: () => opened.enqueue("hidden", [text("a")]),
    createQueue: () => opened.createQueue("hidden"),
    deleteQueue: () => opened.call("deleteQueue", { name: "hidden", force: true }),
    getQueue: () => opened.call("getQueue", { name: "hidden" }),
    updateQueue: () => opened.call("updateQueue", { name: "hidden" }),
    putSchedule: () => opened.call("putSchedule", { queue: "hidden" }),
  };
  for (const name of OTHERS) calls[name] = callOf(name);
  calls["enqueueStream"] = async () => {
    const handler = opened.service.handlers.enqueueStream as unknown as {
      bidi: (requests: AsyncIterable<Uint8Array>, call: Call) => AsyncIterable<unknown>;
    };
    const requests = (async function* one() {
      yield toBinary(EnqueueStreamRequestSchema, create(EnqueueStreamRequestSchema, { queue: "hidden" }));
    })();
    for await (const _ of handler.bidi(requests, new FakeCall()));
  };

  test("those are all methods, but the list, which leaves out what one may not see", () => {
    const methods = QueueService.methods.map(({ localName }) => localName).filter((name) => name !== "listQueues");
    expect(Object.keys(calls).sort()).toEqual(methods.sort());
  });

  test.each(Object.keys(calls))("%s", async (name) => {
    denied = (_action, queue) => queue === "hidden";
    await expect(calls[name]!()).rejects.toBeInstanceOf(PermissionDenied);
    expect(asked.at(-1)).toMatch(/^(describe|read|write|consume|administer) queue hidden$/);
  });
});
