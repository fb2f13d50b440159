// Who gets a job: credit, offers and their recall, lanes, workers that come and go.
import { expect, test } from "vitest";
import { FakeWorker } from "./testing/fake-worker.ts";
import { QueueFixture } from "./testing/queue-fixture.ts";

/** Every job enqueued in one batch. */
function jobs<T extends object>(count: number, fields: T): T[] {
  return Array.from({ length: count }, () => fields);
}

test("jobs go to the least busy worker, in turn", () => {
  const queue = new QueueFixture();
  const workers = ["a", "b", "c"].map((id) => queue.worker(id, { window: 3 }));
  queue.enqueue(...jobs(6, {}));
  expect(workers.map((worker) => [...worker.offers.keys()])).toEqual([
    [1, 4],
    [2, 5],
    [3, 6],
  ]);
});

test("a window can shrink: nothing is delivered until it has room", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 3 });
  queue.enqueue(...jobs(3, {}));
  queue.setWindow(worker, 1);
  queue.enqueue({});
  queue.ack(worker, 1);
  queue.ack(worker, 2);
  expect([...worker.offers.keys()]).toEqual([3]);
  queue.ack(worker, 3);
  expect([...worker.offers.keys()]).toEqual([4]);
});

test("a second worker gets jobs at once out of the 60 that a slow one has in its window", () => {
  const queue = new QueueFixture();
  const slow = queue.worker("slow", { window: 60 });
  queue.enqueue(...jobs(60, {}));
  queue.start(slow, 1);
  expect(slow.load).toBe(60);
  const second = queue.worker("second", { window: 60 });
  expect(second.load, "half of them, and the slow one has not done anything").toBe(30);
  expect([...second.offers.keys()], "those furthest from being started, in their order").toEqual(
    Array.from({ length: 30 }, (_, i) => 31 + i),
  );
  expect(queue.start(second, 31)).toBe("ok");
  const third = queue.worker("third", { window: 1 });
  expect(third.load).toBe(1);
});

test("a Start of a recalled offer is stale", () => {
  const queue = new QueueFixture();
  const slow = queue.worker("slow", { window: 2 });
  queue.enqueue({}, {});
  const [, lease] = slow.offered();
  const second = queue.worker("second", { window: 1 });
  expect(slow.recalls).toEqual([{ leases: [lease], reason: "rebalance" }]);
  expect(queue.engine.start(slow, [lease!]).value).toEqual([{ code: "stale" }]);
  expect(queue.engine.ack(slow, [lease!]).value).toEqual([{ code: "stale" }]);
  expect(queue.ack(second, lease!.number)).toBe("ok");
});

test("an idle worker waits a second for an offer on which nothing else waits, and then gets it", () => {
  const queue = new QueueFixture();
  const first = queue.worker("first", { window: 1 });
  queue.enqueue({});
  const idle = queue.worker("idle", { window: 1 });
  queue.clock.advance(999);
  expect([first.load, idle.load]).toEqual([1, 0]);
  queue.clock.advance(1);
  expect([first.load, idle.load]).toEqual([0, 1]);
});

test("two busy workers do not pass an offer to and fro", () => {
  const queue = new QueueFixture();
  const a = queue.worker("a", { window: 3 });
  const b = queue.worker("b", { window: 3 });
  queue.enqueue({}, {}, {});
  queue.start(a, 1);
  queue.start(b, 2);
  for (let round = 0; round < 10; round++) {
    queue.engine.creditChanged(a);
    queue.engine.creditChanged(b);
  }
  expect(a.recalls.length + b.recalls.length).toBe(0);
});

test("an urgent job passes full windows: it takes the place of the least urgent, newest offer", () => {
  const queue = new QueueFixture();
  const workers = ["a", "b"].map((id) => queue.worker(id, { window: 3 }));
  queue.enqueue(...jobs(6, { priority: 3 }));
  const [urgent] = queue.enqueue({ priority: 7 });
  const holder = workers.find((worker) => worker.offers.has(urgent!))!;
  expect(holder.recalls).toMatchObject([{ leases: [{ number: 6 }], reason: "higher-priority" }]);
  expect(queue.engine.view(6).state).toBe("waiting");
  queue.enqueue(...jobs(9, { priority: 7 }));
  expect(queue.engine.counts().waitingByPriority).toEqual([0, 0, 0, 6, 0, 0, 0, 4]);
});

test("where a recall gives no credit, one offer is recalled until the worker says how its credit is", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 3 });
  worker.givesPlacesBack = false;
  queue.enqueue({}, {}, {});
  queue.enqueue({ priority: 7 }, { priority: 7 });
  queue.enqueue({ priority: 7 });
  expect(worker.recalls).toHaveLength(1);
  queue.setWindow(worker, 3);
  expect(worker.handouts.at(-1)!.jobId).toBe("4");
});

test("what was started is not taken back for an urgent job", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 1 });
  const [running] = queue.enqueue({ priority: 0 });
  queue.start(worker, running!);
  const [urgent] = queue.enqueue({ priority: 7 });
  expect(worker.recalls).toEqual([]);
  expect(queue.engine.explain(urgent!).reasons).toMatchObject([{ code: "no-credit" }]);
});

test("a lane is kept for urgent jobs, and they use it whatever waits before them", () => {
  const queue = new QueueFixture({ ageMs: 1000 });
  const worker = queue.worker("w", { window: 0, explicitStart: false });
  worker.reserved = { minPriority: 5, window: 1 };
  queue.setWindow(worker, 2);
  queue.enqueue({}, {});
  queue.clock.advance(7000);
  queue.enqueue({ priority: 4 });
  expect([...worker.running.keys()]).toEqual([1]);
  const [urgent] = queue.enqueue({ priority: 5 });
  expect(queue.engine.peek("waiting", 1)[0]!.number, "the old one comes first").toBe(2);
  expect([...worker.running.keys()]).toEqual([1, urgent]);
});

test("a job too large for the windows of all waits, and goes when one of them has room", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 5 });
  worker.windowBytes = 300;
  queue.enqueue({ body: new Uint8Array(200) }, { body: new Uint8Array(200) }, {});
  expect([...worker.offers.keys()], "nor does the next one overtake it").toEqual([1]);
  queue.ack(worker, 1);
  expect([...worker.offers.keys()]).toEqual([2, 3]);
});

test("a worker that was refused a large job gets the next one when that is gone", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 5 });
  worker.windowBytes = 300;
  queue.enqueue({ body: new Uint8Array(200) }, { body: new Uint8Array(200) }, {});
  queue.engine.cancel(2);
  expect([...worker.offers.keys()]).toEqual([1, 3]);
});

test("a lease that was extended is still there after a restart", () => {
  const queue = new QueueFixture({ leaseMs: 1000, graceMs: 500 });
  const worker = queue.worker("w", { window: 1, explicitStart: false });
  queue.enqueue({});
  const [lease] = worker.leases();
  queue.clock.advance(900);
  queue.engine.extend([lease!], 0);
  queue.clock.advance(900);
  queue.restart();
  queue.clock.advance(499);
  const again = queue.worker("w", { window: 0, held: [lease!] });
  expect(queue.engine.view(1).state).toBe("running");
  const { untilMs } = queue.engine.view(1);
  expect(untilMs - queue.nowMs, "granted anew by the opening").toBe(501);
  again.running.set(1, worker.handouts[0]!);
  queue.clock.advance(501);
  expect(again.lost).toEqual([lease]);
});

test("offers of a cut connection return at once; what runs is held for the grace time, and then returns uncounted", () => {
  const queue = new QueueFixture({ graceMs: 500, leaseMs: 10_000 });
  const worker = queue.worker("w", { window: 2 });
  const [running, offered] = queue.enqueue({}, {});
  queue.start(worker, running!);
  queue.engine.detach(worker);
  const other = queue.worker("x", { window: 5 });
  expect([...other.offers.keys()]).toEqual([offered]);
  queue.clock.advance(499);
  expect(queue.engine.view(running!)).toMatchObject({ state: "running", workerId: "w" });
  expect(queue.engine.explain(running!).reasons[0]!.text).toContain("away");
  queue.clock.advance(1);
  expect([...other.offers.keys()]).toEqual([offered, running]);
  expect(queue.engine.view(running!)).toMatchObject({ failures: 0, history: [{ workerId: "w" }] });
});

test("a worker that comes back within the grace time is told, lease by lease, what it still has", () => {
  const queue = new QueueFixture({ graceMs: 500, leaseMs: 10_000 });
  const worker = queue.worker("w", { window: 3 });
  queue.enqueue({}, {}, {});
  queue.start(worker, 1);
  queue.start(worker, 2);
  const [one, two] = worker.leases();
  const [offer] = worker.offered();
  queue.engine.detach(worker);
  queue.engine.cancel(2);
  const stranger = queue.engine.attach(new FakeWorker("y"), [one!]);
  expect(stranger.value, "another worker cannot have it").toEqual({ kept: [], lost: [one] });
  const again = queue.worker("w", { window: 0 });
  queue.engine.detach(again);
  const { value } = queue.engine.attach(again, [one!, two!, offer!, { number: 1, attempt: 7 }]);
  expect(value).toEqual({ kept: [one], lost: [two, offer, { number: 1, attempt: 7 }] });
  queue.clock.advance(600);
  expect(queue.engine.ack(again, [one!]).value).toEqual([{ code: "ok" }]);
});

test("what a worker does not name when it comes back never arrived, and returns at once", () => {
  const queue = new QueueFixture({ graceMs: 5000 });
  const worker = queue.worker("w", { window: 3, explicitStart: false });
  queue.enqueue({}, {}, {});
  const [one] = worker.leases();
  queue.engine.detach(worker);
  const again = new FakeWorker("w");
  expect(queue.engine.attach(again, [one!], worker).value).toEqual({ kept: [one], lost: [] });
  expect(queue.engine.counts()).toMatchObject({ running: 1, waiting: 2, failures: 0 });
});

test("after a restart running jobs are held for their workers, and attempts go on above all earlier ones", () => {
  const queue = new QueueFixture({ graceMs: 500 });
  const worker = queue.worker("w", { window: 1 });
  queue.enqueue({}, {});
  queue.start(worker, 1);
  const [lease] = worker.leases();
  queue.restart();
  const again = queue.worker("w", { window: 2, held: [lease!] });
  expect(queue.engine.view(1)).toMatchObject({ state: "running", attempt: lease!.attempt });
  expect(again.offered()[0]!.attempt).toBeGreaterThan(lease!.attempt);
  expect(queue.engine.ack(again, [lease!]).value).toEqual([{ code: "ok" }]);
});

test("a drained worker gives its offers back, keeps what it runs, and gets nothing more", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 2 });
  queue.enqueue({}, {}, {});
  queue.start(worker, 1);
  queue.engine.drain(worker);
  expect(queue.engine.held(worker)).toEqual({ offered: 0, running: 1 });
  expect(queue.ack(worker, 1)).toBe("ok");
  expect(queue.engine.held(worker)).toEqual({ offered: 0, running: 0 });
  expect(queue.engine.explain(2).reasons).toMatchObject([{ code: "no-worker" }]);
});

test("an offer that is not started for too long goes to others", () => {
  const queue = new QueueFixture({ offerMs: 1000 });
  const worker = queue.worker("w", { window: 1 });
  queue.enqueue({});
  worker.window = 0;
  queue.clock.advance(1000);
  expect(worker.recalls).toMatchObject([{ leases: [{ number: 1 }], reason: "not-started" }]);
  expect(queue.engine.view(1).state).toBe("waiting");
});

test("a closed queue hands out nothing more, and has no timer", () => {
  const queue = new QueueFixture();
  const [a, b] = ["a", "b"].map((id) => queue.worker(id, { window: 1 }));
  queue.enqueue({}, {}, {});
  queue.engine.close();
  queue.engine.detach(a!);
  queue.engine.creditChanged(b!);
  expect([b!.handouts.length, queue.clock.timers]).toEqual([1, 0]);
});

test("workers that come and go a thousand times leave nothing behind", () => {
  const queue = new QueueFixture({ graceMs: 0 });
  queue.enqueue(...jobs(20, {}));
  for (let round = 0; round < 1000; round++) {
    const worker = queue.worker(`w${round % 3}`, { window: 5 });
    queue.start(worker, [...worker.offers.keys()][round % 5]!);
    queue.engine.detach(worker);
    queue.clock.advance(0);
  }
  const { waiting, offered, running, workers, credit } = queue.engine.counts();
  expect({ waiting, offered, running, workers, credit }).toEqual({
    waiting: 20,
    offered: 0,
    running: 0,
    workers: 0,
    credit: 0,
  });
  const worker = queue.worker("last", { window: 100 });
  for (let done = 0; done < 20; done++) expect(queue.ack(worker, worker.offered()[0]!.number)).toBe("ok");
  expect(queue.engine.counts()).toMatchObject({ done: 20, failures: 0 });
});
