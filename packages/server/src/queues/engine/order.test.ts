// Which job comes next: priorities and their ageing, fairness keys, ordering keys, throttles, retries.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { NackHow } from "../contract.ts";
import { Jobs } from "./jobs.ts";
import type { FakeWorker } from "./testing/fake-worker.ts";
import { QueueFixture } from "./testing/queue-fixture.ts";

/** Numbers in the order in which a worker of one slot gets them. */
function order(queue: QueueFixture, count: number): number[] {
  const worker = queue.worker("one", { window: 1 });
  const numbers: number[] = [];
  while (numbers.length < count && worker.load > 0) {
    const { number } = worker.offered()[0]!;
    numbers.push(number);
    queue.ack(worker, number);
  }
  queue.engine.detach(worker);
  return numbers;
}

function many<T extends object>(count: number, fields: T): T[] {
  return Array.from({ length: count }, () => fields);
}

test("the more urgent job goes first, and of one priority the older one", () => {
  const queue = new QueueFixture();
  queue.enqueue({ priority: 0 }, { priority: 7 }, { priority: 3 }, { priority: 7 });
  expect(order(queue, 9)).toEqual([2, 4, 3, 1]);
});

test("a job rises one level per age_ms", () => {
  const queue = new QueueFixture({ ageMs: 1000 });
  queue.clock.advance(1000 - (queue.nowMs % 1000));
  queue.enqueue({ priority: 3 });
  queue.clock.advance(1999);
  queue.enqueue({ priority: 5 });
  queue.clock.advance(1);
  queue.enqueue({ priority: 5 }, { priority: 6 });
  expect(order(queue, 9)).toEqual([2, 4, 1, 3]);
});

test("only jobs eligible less than 8 × age_ms later overtake a job of their fairness key", () => {
  const arrival = fc.record({ afterMs: fc.nat(400), priority: fc.nat(7), take: fc.nat(2) });
  fc.assert(
    fc.property(fc.array(arrival, { minLength: 2, maxLength: 60, size: "max" }), (arrivals) => {
      const ageMs = 100;
      const queue = new QueueFixture({ ageMs });
      const worker = queue.worker("w", { window: 0 });
      const eligibleAt = new Map<number, number>();
      const waiting = new Map<number, number>();
      const take = (count: number): void => {
        for (let taken = 0; taken < count; taken++) {
          queue.setWindow(worker, 1);
          const lease = worker.offered()[0];
          worker.window = 0;
          if (lease === undefined) return;
          const { number } = lease;
          waiting.delete(number);
          for (const [other, priority] of waiting) {
            const laterMs = eligibleAt.get(number)! - eligibleAt.get(other)!;
            expect(laterMs, `E6: ${number} before ${other}`).toBeLessThan(8 * ageMs);
            // And what is no less urgent and was there earlier is never overtaken.
            const isOvertaken = laterMs > 0 && priority >= worker.offers.get(number)!.priority;
            expect(isOvertaken).toBe(false);
          }
          queue.ack(worker, number);
        }
      };
      for (const each of arrivals) {
        queue.clock.advance(each.afterMs);
        const [number] = queue.enqueue({ priority: each.priority });
        eligibleAt.set(number!, queue.nowMs);
        waiting.set(number!, each.priority);
        take(each.take);
      }
      take(arrivals.length);
      expect(waiting.size).toBe(0);
    }),
    { numRuns: 100 },
  );
});

test("a tenant's backlog delays another's single job of the same priority by no more than a slot", () => {
  const queue = new QueueFixture({ jobsMax: 100_000 });
  for (let batch = 0; batch < 5; batch++) queue.enqueue(...many(1000, { fairnessKey: "big" }));
  const worker = queue.worker("w", { window: 2 });
  for (let round = 0; round < 100; round++) queue.ack(worker, worker.offered()[0]!.number);
  queue.clock.advance(7 * 86_400_000);
  for (let round = 0; round < 100; round++) queue.ack(worker, worker.offered()[0]!.number);
  const [single] = queue.enqueue({ fairnessKey: "small" });
  queue.ack(worker, worker.offered()[0]!.number);
  expect(worker.offers.has(single!), "the very next slot").toBe(true);
});

test("a key that was never served rises above a more urgent one that always is", () => {
  const queue = new QueueFixture({ ageMs: 1000 });
  queue.enqueue(...many(50, { fairnessKey: "urgent", priority: 5 }));
  const [low] = queue.enqueue({ fairnessKey: "low", priority: 3 });
  const worker = queue.worker("w", { window: 1 });
  let rounds = 0;
  while (!worker.offers.has(low!)) {
    queue.clock.advance(100);
    queue.ack(worker, worker.offered()[0]!.number);
    rounds++;
  }
  expect(rounds).toBe(20);
});

test("keys get their share of the workers by their weights", () => {
  const queue = new QueueFixture({ weights: new Map([["a", 3]]) });
  queue.enqueue(...many(100, { fairnessKey: "a" }), ...many(100, { fairnessKey: "b" }));
  const worker = queue.worker("w", { window: 8 });
  const share = (): string =>
    [...worker.offers.keys()]
      .map((number) => (number <= 100 ? "a" : "b"))
      .toSorted()
      .join("");
  expect(share()).toBe("aaaaaabb");
  for (let round = 0; round < 40; round++) queue.ack(worker, worker.offered()[0]!.number);
  expect(share(), "also in the long run").toBe("aaaaaabb");
});

test("a key with jobs at workers leaves a free one to a key without", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 4 });
  queue.enqueue(...many(14, { fairnessKey: "long" }));
  queue.enqueue(...many(10, { fairnessKey: "short" }));
  queue.ack(worker, 1);
  for (let round = 0; round < 5; round++) {
    const short = [...worker.offers.keys()].filter((number) => number > 14);
    expect(short).toHaveLength(1);
    queue.ack(worker, short[0]!);
  }
});

test("where jobs are short, what keys have had decides", () => {
  const queue = new QueueFixture({ weights: new Map([["a", 2]]) });
  queue.enqueue(...many(100, { fairnessKey: "a" }), ...many(100, { fairnessKey: "b" }));
  const got = order(queue, 60);
  expect(got.filter((number) => number <= 100)).toHaveLength(40);
});

test("a key that was away has saved nothing up", () => {
  const queue = new QueueFixture();
  queue.enqueue(...many(100, { fairnessKey: "a" }));
  order(queue, 50);
  queue.enqueue(...many(50, { fairnessKey: "b" }));
  expect(order(queue, 20).filter((number) => number > 100)).toHaveLength(10);
});

test("keys are forgotten with their last job", () => {
  const jobs = new Jobs({ ageMs: 1000, weights: new Map() });
  const facts = { place: 1, bytes: 1, priority: 3, enqueuedAtMs: 0, eligibleAtMs: 0, expiresAtMs: 0, jobId: "" };
  for (const number of [1, 2]) jobs.add({ ...facts, number, fairnessKey: `f${number}`, orderingKey: `o${number}` }, 0);
  expect([jobs.order.keyCount, jobs.chains.count]).toEqual([2, 2]);
  for (const number of [1, 2]) jobs.end(jobs.table.find(number), 0);
  expect([jobs.order.keyCount, jobs.chains.count]).toEqual([0, 0]);
});

test("a redriven job goes before a later one of its ordering key that comes back from its worker", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 1 });
  queue.enqueue({ orderingKey: "k" }, { orderingKey: "k" });
  const nack = (how: NackHow): void => {
    const [lease] = worker.offered();
    worker.offers.clear();
    queue.engine.nack(worker, lease!, how);
  };
  nack({ kind: "reject", reason: "no" });
  queue.engine.creditChanged(worker);
  queue.engine.redrive([1]);
  expect([...worker.offers.keys()]).toEqual([2]);
  nack({ kind: "return" });
  queue.engine.creditChanged(worker);
  expect([...worker.offers.keys()]).toEqual([1]);
});

test("of an ordering key one job is in play, in order, and a dead one leaves its place", () => {
  const queue = new QueueFixture({ maxAttempts: 1 });
  queue.enqueue(...many(4, { orderingKey: "k" }), { priority: 0 });
  const worker = queue.worker("w", { window: 9 });
  expect(new Set(worker.offers.keys())).toEqual(new Set([1, 5]));
  expect(queue.engine.explain(3)).toMatchObject({ reasons: [{ code: "behind-ordering-key", subject: "k" }], ahead: 2 });
  queue.ack(worker, 1);
  const { lease } = worker.offers.get(2)!;
  worker.offers.delete(2);
  queue.engine.nack(worker, lease, { kind: "retry", notBeforeMs: 0, reason: "no" });
  expect(queue.engine.view(2).state).toBe("dead");
  expect(worker.offers.has(3)).toBe(true);
  queue.engine.redrive(undefined);
  queue.ack(worker, 3);
  expect(worker.offers.has(2), "by its number, before those that wait").toBe(true);
});

test("a failed job holds its ordering key during its back-off", () => {
  const queue = new QueueFixture({ backoffMs: 1000 });
  const worker = queue.worker("w", { window: 2 });
  queue.enqueue({ orderingKey: "k" }, { orderingKey: "k" });
  const [lease] = worker.offered();
  worker.offers.clear();
  queue.engine.nack(worker, lease!, { kind: "retry", notBeforeMs: 0, reason: "no" });
  queue.engine.creditChanged(worker);
  expect(worker.load).toBe(0);
  queue.clock.advance(1000);
  expect([...worker.offers.keys()]).toEqual([1]);
});

test("a throttled key waits, its offers come back, and others go on", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("w", { window: 1 });
  queue.enqueue({ fairnessKey: "slow" }, { fairnessKey: "slow" }, { fairnessKey: "other" });
  queue.engine.throttle(worker, { fairnessKey: "slow", untilMs: queue.nowMs + 1000 });
  expect([...worker.offers.keys()]).toEqual([3]);
  queue.ack(worker, 3);
  expect(worker.load).toBe(0);
  const { reasons } = queue.engine.explain(1);
  expect(reasons).toEqual([
    expect.objectContaining({ code: "throttled", subject: "slow", untilMs: queue.nowMs + 1000 }),
  ]);
  queue.clock.advance(1000);
  expect([...worker.offers.keys()]).toEqual([1]);
  queue.engine.throttle(worker, { fairnessKey: "slow", untilMs: queue.nowMs + 1000 });
  queue.engine.throttle(worker, { fairnessKey: "slow", untilMs: 0 });
  expect(worker.load, "set, so a past time ends it").toBe(1);
});

test("a storm of retries does not starve fresh work", () => {
  const queue = new QueueFixture({ backoffMs: 10, backoffMaxMs: 10, maxAttempts: 1000, ageMs: 60_000 });
  queue.enqueue(...many(200, {}));
  const worker = queue.worker("w", { window: 10 });
  const fail = (worker: FakeWorker): void => {
    for (const lease of worker.offered()) {
      worker.offers.delete(lease.number);
      queue.engine.nack(worker, lease, { kind: "retry", notBeforeMs: 0, reason: "no" });
    }
    queue.engine.creditChanged(worker);
  };
  // All have failed once, and come back for ever.
  for (let round = 0; round < 20; round++) fail(worker);
  queue.clock.advance(50);
  const [fresh] = queue.enqueue({});
  let rounds = 0;
  for (; !worker.offers.has(fresh!); rounds++) {
    queue.clock.advance(5);
    fail(worker);
  }
  expect(rounds, "not behind more than what was eligible before it").toBeLessThanOrEqual(20);
});

test("peek shows the order in which jobs are handed out", () => {
  const arrival = fc.record({ priority: fc.nat(7), key: fc.nat(3), afterMs: fc.nat(50) });
  fc.assert(
    fc.property(fc.array(arrival, { minLength: 1, maxLength: 30, size: "max" }), (arrivals) => {
      const queue = new QueueFixture({ ageMs: 100, weights: new Map([["1", 2]]) });
      for (const { priority, key, afterMs } of arrivals) {
        queue.enqueue({ priority, fairnessKey: String(key) });
        queue.clock.advance(afterMs);
      }
      const peeked = queue.engine.peek("waiting", 20).map((each) => each.number);
      const ahead = queue.engine.explain(peeked.at(-1)!).ahead;
      expect(ahead).toBe(peeked.length - 1);
      const worker = queue.worker("w", { window: 20, explicitStart: false });
      expect(worker.handouts.map((each) => each.lease.number)).toEqual(peeked);
    }),
    { numRuns: 100 },
  );
});

test("the age of the oldest waiting job is known whatever came back", () => {
  const queue = new QueueFixture();
  const atMs = queue.nowMs;
  const worker = queue.worker("w", { window: 2 });
  queue.enqueue({}, {});
  queue.clock.advance(10);
  queue.enqueue({ priority: 7, notBeforeMs: queue.nowMs + 5 }, {});
  expect(queue.engine.counts().oldestEnqueuedAtMs).toBe(atMs + 10);
  queue.engine.drain(worker);
  expect(queue.engine.counts().oldestEnqueuedAtMs).toBe(atMs);
});
