// What a queue does with single jobs and workers. Random histories are in queue-histories.test.ts, the order of jobs in
// order.test.ts, who gets them in dispatch.test.ts.
import { expect, test } from "vitest";
import { newJob, QueueFixture } from "./testing/queue-fixture.ts";

test("a job goes to a worker with credit, is started, and ends with its Ack", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 1 });
  const [first, second] = queue.enqueue({}, {});
  expect([...worker.offers.keys()]).toEqual([first]);
  expect(queue.start(worker, first!)).toBe("ok");
  expect(queue.engine.view(first!)).toMatchObject({ state: "running", workerId: "w" });
  expect(queue.ack(worker, first!)).toBe("ok");
  expect([...worker.offers.keys()]).toEqual([second]);
  expect(queue.engine.counts()).toMatchObject({ waiting: 0, offered: 1, running: 0, enqueued: 2, done: 1 });
});

test("without explicit starts a delivery is started, and its record comes first", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 1, explicitStart: false, leaseMs: 5000 });
  const [job] = queue.enqueue({});
  const [handout] = worker.handouts;
  expect(handout).toMatchObject({ leaseUntilMs: queue.nowMs + 5000, recordPlace: queue.journal.length });
  expect(queue.engine.view(job!).state).toBe("running");
});

test("leases are answered one by one: stale, duplicate, not found", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 2 });
  const other = queue.worker("x", { window: 0 });
  const [a, b] = queue.enqueue({}, {});
  const [leaseA, leaseB] = worker.offered();
  const codes = (...[by, ...leases]: [typeof worker, ...(typeof leaseA)[]]): string[] =>
    queue.engine
      .ack(
        by,
        leases.map((each) => each!),
      )
      .value.map((each) => each.code);
  expect(codes(other, leaseA)).toEqual(["stale"]);
  expect(codes(worker, { number: a!, attempt: leaseA!.attempt - 1 })).toEqual(["stale"]);
  queue.start(worker, b!);
  expect(queue.engine.start(worker, [leaseB!]).value[0]).toMatchObject({ code: "duplicate" });
  const none = { number: 99, attempt: 1 };
  const empty = { number: 0, attempt: 0 };
  expect(codes(worker, leaseA, leaseB, leaseA, none, empty)).toEqual([
    "ok",
    "ok",
    "duplicate",
    "not-found",
    "not-found",
  ]);
  expect(codes(worker, leaseB)).toEqual(["duplicate"]);
  expect(queue.engine.counts().done).toBe(2);
});

test("a returned job keeps its place, and no failure is counted", () => {
  const queue = new QueueFixture();
  const [first] = queue.enqueue({}, {});
  const worker = queue.worker("w", { window: 1 });
  queue.start(worker, first!);
  const [lease] = worker.leases();
  worker.window = 0;
  worker.running.clear();
  queue.engine.nack(worker, lease!, { kind: "return" });
  expect(queue.engine.peek("waiting", 9).map((each) => each.number)).toEqual([1, 2]);
  expect(queue.engine.view(first!)).toMatchObject({ failures: 0, history: [] });
});

test("a failed job comes back after its back-off, doubled and with jitter, and is dead after max_attempts", () => {
  const queue = new QueueFixture({ maxAttempts: 3, backoffMs: 100, backoffMaxMs: 150 });
  const worker = queue.worker("w", { window: 1, explicitStart: false });
  const [job] = queue.enqueue({});
  const waits: number[] = [];
  for (const chance of [0, 0.5, 1]) {
    queue.chance.push(chance);
    const [lease] = worker.leases();
    worker.running.clear();
    queue.engine.nack(worker, lease!, { kind: "retry", notBeforeMs: 0, reason: `no ${chance}` });
    const { state, untilMs } = queue.engine.view(job!);
    if (state !== "delayed") break;
    waits.push(untilMs - queue.nowMs);
    queue.clock.advance(untilMs - queue.nowMs - 1);
    expect(worker.running.size).toBe(0);
    queue.setWindow(worker, 1);
    queue.clock.advance(1);
    expect(worker.running.size).toBe(1);
  }
  expect(waits).toEqual([50, 113]);
  expect(queue.engine.view(job!)).toMatchObject({ state: "dead", failures: 3 });
  expect(queue.engine.view(job!).history.map((each) => each.reason)).toEqual(["no 0", "no 0.5", "no 1"]);
});

test("of a long history the newest failures are kept", () => {
  const queue = new QueueFixture({ maxAttempts: 100, backoffMs: 0, backoffMaxMs: 0 });
  const worker = queue.worker("w", { window: 1, explicitStart: false });
  const [job] = queue.enqueue({});
  for (let round = 0; round < 20; round++) {
    const [lease] = worker.leases();
    worker.running.clear();
    queue.engine.nack(worker, lease!, { kind: "retry", notBeforeMs: 0, reason: `${round}${"x".repeat(1000)}` });
    queue.setWindow(worker, 1);
    queue.clock.advance(0);
  }
  const { history, failures } = queue.engine.view(job!);
  expect(failures).toBe(20);
  expect(history.map((each) => parseInt(each.reason, 10))).toEqual([12, 13, 14, 15, 16, 17, 18, 19]);
  expect(history[0]!.reason).toHaveLength(512);
});

test("a rejected job is dead at once, and waits again when it is redriven", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 1, explicitStart: false });
  const [job] = queue.enqueue({});
  const [lease] = worker.leases();
  worker.running.clear();
  queue.engine.nack(worker, lease!, { kind: "reject", reason: "never" });
  expect(queue.engine.view(job!)).toMatchObject({ state: "dead", failures: 1 });
  expect(queue.engine.redrive([job!, 77]).value).toEqual({ redriven: 1, more: false });
  expect(queue.engine.view(job!)).toMatchObject({ state: "waiting", failures: 0 });
});

test("dead jobs are listed page by page, also when the last one of a page has gone", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 5, explicitStart: false });
  queue.enqueue({}, {}, {}, {}, {});
  for (const lease of worker.leases()) {
    queue.engine.nack(worker, lease, { kind: "reject", reason: "no" });
    queue.clock.advance(1);
  }
  const first = queue.engine.listDead("", 2);
  expect(first.jobs.map((each) => each.number)).toEqual([1, 2]);
  queue.engine.redrive([2]);
  const second = queue.engine.listDead(first.nextToken, 2);
  expect(second.jobs.map((each) => each.number)).toEqual([3, 4]);
  expect(queue.engine.listDead(second.nextToken, 2)).toMatchObject({ jobs: [{ number: 5 }], nextToken: "" });
});

test("the dead are in the order of their deaths, also after their records were carried forward", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 2, explicitStart: false });
  queue.enqueue({}, {});
  for (const lease of worker.leases().toReversed()) {
    queue.engine.nack(worker, lease, { kind: "reject", reason: "no" });
    queue.clock.advance(1);
  }
  queue.journal.clean(queue.engine, queue.journal.length);
  queue.restart();
  expect(queue.engine.listDead("", 9).jobs.map((each) => each.number)).toEqual([2, 1]);
});

test("dead jobs are kept for the retention", () => {
  const queue = new QueueFixture({ deadRetentionMs: 1000 });
  const worker = queue.worker("w", { window: 1, explicitStart: false });
  queue.enqueue({});
  queue.engine.nack(worker, worker.leases()[0]!, { kind: "reject", reason: "no" });
  queue.clock.advance(999);
  expect(queue.engine.counts().dead).toBe(1);
  queue.clock.advance(1);
  expect(queue.engine.counts()).toMatchObject({ dead: 0, removed: 1 });
});

test("a lease that is not extended ends, counts as a failure, and its worker hears of it", () => {
  const queue = new QueueFixture({ leaseMs: 1000, maxRunMs: 2500 });
  const worker = queue.worker("w", { window: 1 });
  const [job] = queue.enqueue({});
  queue.start(worker, job!);
  const [lease] = worker.leases();
  queue.clock.advance(900);
  expect(queue.engine.extend([lease!], 0)[0]).toEqual({ code: "ok", leaseUntilMs: queue.nowMs + 1000 });
  queue.clock.advance(900);
  expect(queue.engine.extend([lease!], 5000)[0], "max_run_ms is from the start").toEqual({
    code: "ok",
    leaseUntilMs: queue.nowMs + 700,
  });
  queue.clock.advance(699);
  expect(worker.lost).toEqual([]);
  queue.clock.advance(1);
  expect(worker.lost).toEqual([lease]);
  expect(queue.engine.extend([lease!], 0)[0]!.code).toBe("stale");
  expect(queue.engine.view(job!)).toMatchObject({
    state: "delayed",
    failures: 1,
    history: [{ reason: "lease expired" }],
  });
});

test("a job with a time to live is gone when it was not started in time, and stays when it was", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 2 });
  const [started, offered, waiting] = queue.enqueue({ ttlMs: 100 }, { ttlMs: 100 }, { ttlMs: 100 });
  queue.start(worker, started!);
  queue.clock.advance(99);
  expect(queue.engine.find(String(waiting))).toBe(waiting);
  queue.clock.advance(1);
  expect(queue.engine.counts()).toMatchObject({ expired: 2, running: 1, waiting: 0, offered: 0 });
  expect(worker.recalls).toEqual([{ leases: [expect.objectContaining({ number: offered })], reason: "cancelled" }]);
});

test("a job that failed once has been started in time", () => {
  const queue = new QueueFixture({ backoffMs: 1000 });
  const worker = queue.worker("w", { window: 1, explicitStart: false });
  const [job] = queue.enqueue({ ttlMs: 100 });
  queue.engine.nack(worker, worker.leases()[0]!, { kind: "retry", notBeforeMs: 0, reason: "no" });
  queue.clock.advance(200);
  expect(queue.engine.view(job!).state).toBe("delayed");
});

test("a second job with a dedup id is not taken within the window, also after the first one is done", () => {
  const queue = new QueueFixture({ dedupWindowMs: 1000 });
  const worker = queue.worker("w", { window: 1 });
  const enqueue = (): readonly unknown[] =>
    queue.engine.enqueue([newJob({ dedupId: "d" }), newJob({ dedupId: "d" })]).value;
  expect(enqueue()).toEqual([
    { jobId: "1", duplicate: false },
    { jobId: "1", duplicate: true },
  ]);
  queue.ack(worker, 1);
  queue.journal.clean(queue.engine, queue.journal.length);
  queue.restart();
  queue.clock.advance(999);
  expect(enqueue()).toMatchObject([{ duplicate: true }, { duplicate: true }]);
  queue.clock.advance(1);
  expect(enqueue()).toMatchObject([{ duplicate: false }, { duplicate: true }]);
});

test("a producer's own id is taken while its job is there", () => {
  const queue = new QueueFixture();
  const [job] = queue.enqueue({ jobId: "mine" });
  expect(queue.engine.find("mine")).toBe(job);
  expect(queue.engine.find("1"), "its number is no id of it").toBeUndefined();
  expect(() => queue.enqueue({}, { jobId: "mine" })).toThrow(/Cannot make the job "mine"/);
  expect(() => queue.enqueue({ jobId: "two" }, { jobId: "two" })).toThrow(/Cannot make the job "two"/);
  expect(queue.engine.counts().enqueued, "all of a batch, or none").toBe(1);
  queue.engine.cancel(job!);
  expect(queue.enqueue({ jobId: "mine" })).toEqual([2]);
});

test("bounds refuse a batch as a whole", () => {
  const queue = new QueueFixture({ jobsMax: 2, bytesMax: 1000, workersMax: 1 });
  expect(() => queue.enqueue({}, {}, {})).toThrow(/jobs_max is 2/);
  expect(() => queue.enqueue({ body: new Uint8Array(1000) })).toThrow(/bytes_max is 1000/);
  expect(queue.enqueue({ body: new Uint8Array(700) })).toEqual([1]);
  expect(() => queue.enqueue({ body: new Uint8Array(200) })).toThrow(/bytes_max is 1000/);
  expect(queue.enqueue({})).toEqual([2]);
  expect(() => queue.enqueue({})).toThrow(/it has 2, and its jobs_max/);
  queue.worker("a", { window: 0 });
  expect(() => queue.worker("b", { window: 0 })).toThrow(/workers_max is 1/);
});

test("a cancelled job is taken from its worker", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 2 });
  const [offered, running] = queue.enqueue({}, {});
  queue.start(worker, running!);
  queue.engine.cancel(running!);
  queue.engine.cancel(offered!);
  expect(worker.lost).toMatchObject([{ number: running }]);
  expect(worker.recalls).toMatchObject([{ leases: [{ number: offered }], reason: "cancelled" }]);
  expect(() => queue.engine.cancel(running!)).toThrow(/Cannot find the job/);
});

test("purge removes a state, and leaves what runs", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 1, explicitStart: false });
  queue.enqueue({ orderingKey: "o" }, { orderingKey: "o" }, {}, { notBeforeMs: queue.nowMs + 1000 });
  expect(queue.engine.purge("waiting").value).toEqual({ removed: 2, more: false });
  expect(queue.engine.counts()).toMatchObject({ running: 1, delayed: 1, waiting: 0, removed: 2 });
  expect(queue.engine.purge(undefined).value.removed).toBe(1);
  expect(queue.ack(worker, 1)).toBe("ok");
});

test("a paused queue hands out nothing, takes offers back, and stays paused over a restart", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 2 });
  const [running, offered] = queue.enqueue({}, {});
  queue.start(worker, running!);
  queue.engine.pause();
  expect(worker.recalls).toMatchObject([{ leases: [{ number: offered }], reason: "paused" }]);
  expect(queue.ack(worker, running!)).toBe("ok");
  queue.restart();
  const again = queue.worker("w", { window: 2 });
  expect(again.load).toBe(0);
  expect(queue.engine.explain(offered!).reasons).toMatchObject([{ code: "paused" }]);
  queue.engine.resume();
  expect([...again.offers.keys()]).toEqual([offered]);
});

test("a schedule enqueues its job, at its times and in its zone, and once for what was missed", () => {
  const queue = new QueueFixture();
  // The clock begins at 2023-11-14T22:13:20Z.
  const job = newJob({ fairnessKey: "nightly" });
  const { value } = queue.engine.putSchedule({ name: "s", cron: "30 23 * * *", timeZone: "Europe/Vienna", job });
  expect(new Date(value.nextAtMs).toISOString()).toBe("2023-11-14T22:30:00.000Z");
  queue.clock.advance(1000 * 1000 - 1);
  expect(queue.engine.counts().waiting).toBe(0);
  queue.clock.advance(1);
  expect(queue.engine.counts().waiting).toBe(1);
  expect(queue.engine.schedules()).toMatchObject([{ lastAtMs: value.nextAtMs, nextAtMs: value.nextAtMs + 86_400_000 }]);
  queue.engine.close();
  queue.clock.skip(5 * 86_400_000);
  queue.restart();
  expect(queue.engine.counts().waiting).toBe(2);
  queue.restart();
  expect(queue.engine.counts().waiting).toBe(2);
  queue.engine.deleteSchedule("s");
  expect(() => queue.engine.deleteSchedule("s")).toThrow(/Cannot find the schedule/);
});

test.each([
  ["* * *", "", "schedule.cron"],
  ["61 * * * *", "", "schedule.cron"],
  ["* * * * *", "Mars/Base", "schedule.time_zone"],
])("cron %s in zone %s is refused", (cron, timeZone, field) => {
  const queue = new QueueFixture();
  expect(() => queue.engine.putSchedule({ name: "s", cron, timeZone, job: newJob() })).toThrow(field);
  expect(queue.engine.schedules()).toEqual([]);
});

test("producers cannot use the dedup ids of schedules", () => {
  expect(() => new QueueFixture().enqueue({ dedupId: "sluice.schedule/1/x" })).toThrow(/the server's own/);
});

test("a full disk refuses, and handing out goes on when there is room again", () => {
  const queue = new QueueFixture();
  const [job] = queue.enqueue({});
  queue.journal.isFull = true;
  expect(() => queue.enqueue({})).toThrow(/disk is full/);
  const worker = queue.worker("w", { window: 1, explicitStart: false });
  expect(worker.load).toBe(0);
  expect(queue.engine.explain(job!).reasons[0]!.text).toContain("disk is full");
  queue.journal.isFull = false;
  queue.clock.advance(1000);
  expect(worker.load).toBe(1);
});

test("on a full disk delays end in time, and what cannot be written is tried again after a second", () => {
  const queue = new QueueFixture();
  queue.enqueue({ ttlMs: 100 }, { notBeforeMs: queue.nowMs + 200 });
  queue.journal.isFull = true;
  queue.clock.advance(200);
  expect(queue.engine.counts()).toMatchObject({ waiting: 2, delayed: 0, expired: 0 });
  queue.journal.isFull = false;
  queue.clock.advance(899);
  expect(queue.engine.counts().expired).toBe(0);
  queue.clock.advance(1);
  expect(queue.engine.counts().expired).toBe(1);
});

test("a record that was carried forward already is not carried again", () => {
  const queue = new QueueFixture();
  queue.enqueue({ dedupId: "d" });
  const { length } = queue.journal;
  queue.journal.clean(queue.engine, length, { keepOld: true });
  queue.journal.clean(queue.engine, length);
  expect(queue.journal.length).toBe(length);
});

test("progress is shown, and ends with the lease", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 1, explicitStart: false });
  const [job] = queue.enqueue({});
  queue.engine.progress(worker, worker.leases()[0]!, { fraction: 0.5, message: "half" });
  expect(queue.engine.view(job!)).toMatchObject({ progress: 0.5, progressMessage: "half" });
});
