import { expect, test } from "vitest";
import { QueueFixture } from "./testing/queue-fixture.ts";

test("who has a job, and until when: as an offer, and when it runs", () => {
  const queue = new QueueFixture({ leaseMs: 5000, offerMs: 60_000 });
  const [job] = queue.enqueue({});
  const worker = queue.worker("ada", { window: 1 });
  expect(queue.engine.explain(job!)).toMatchObject({
    job: { state: "offered", workerId: "ada" },
    reasons: [{ code: "offered", subject: "ada", untilMs: queue.nowMs + 60_000 }],
    ahead: 0,
  });
  queue.clock.advance(100);
  queue.start(worker, job!);
  expect(queue.engine.explain(job!)).toMatchObject({
    job: { state: "running", workerId: "ada" },
    reasons: [{ code: "leased", text: "Worker ada runs it", subject: "ada", untilMs: queue.nowMs + 5000 }],
  });
});

test("that nobody has credit, and how many jobs come first", () => {
  const queue = new QueueFixture();
  queue.worker("ada", { window: 0 });
  const [first, second] = queue.enqueue({}, {});
  queue.enqueue({ priority: 7 });
  expect(queue.engine.explain(first!)).toMatchObject({
    reasons: [{ code: "no-credit" }, { code: "behind-others" }],
    ahead: 1,
  });
  expect(queue.engine.explain(second!)).toMatchObject({ ahead: 2 });
  expect(queue.engine.explain(first!).reasons[0]!.text).toMatch(/^None of the 1 workers has credit .* priority 3/u);
});

test("all that keeps a job is said: who throttled its fairness key until when, and that the queue is paused", () => {
  const queue = new QueueFixture();
  const worker = queue.worker("ada", { window: 1 });
  const untilMs = queue.nowMs + 900;
  queue.engine.throttle(worker, { fairnessKey: "gold", untilMs });
  queue.engine.pause();
  const [job] = queue.enqueue({ fairnessKey: "gold" });
  expect(queue.engine.explain(job!).reasons).toMatchObject([
    { code: "paused" },
    { code: "throttled", text: "Worker ada throttled its fairness key", subject: "gold", untilMs },
  ]);
});

test("behind which ordering key, and what the first of it does", () => {
  const queue = new QueueFixture();
  const untilMs = queue.nowMs + 10_000;
  const [first, second, third] = queue.enqueue(
    { orderingKey: "order-7" },
    { orderingKey: "order-7" },
    { orderingKey: "order-7", notBeforeMs: untilMs },
  );
  const behind = { code: "behind-ordering-key", subject: "order-7" };
  expect(queue.engine.explain(second!)).toMatchObject({
    reasons: [{ ...behind, text: `Job ${first} of its ordering key waits before it` }],
    ahead: 1,
  });
  expect(queue.engine.explain(third!)).toMatchObject({
    reasons: [behind, { code: "delayed", text: "Its time has not come", untilMs }],
    ahead: 2,
  });
  queue.worker("ada", { window: 1 });
  expect(queue.engine.explain(second!).reasons).toMatchObject([
    { ...behind, text: `Job ${first} of its ordering key is at a worker` },
  ]);
});

test("a job that failed waits for its back-off, and a dead one says of what it died", () => {
  const queue = new QueueFixture({ maxAttempts: 2, backoffMs: 1000 });
  const worker = queue.worker("ada", { window: 1, explicitStart: false });
  const [job] = queue.enqueue({});
  const fail = (reason: string) =>
    queue.engine.nack(worker, worker.leases().at(-1)!, { kind: "retry", notBeforeMs: 0, reason });
  fail("no ink");
  worker.running.clear();
  expect(queue.engine.explain(job!).reasons).toMatchObject([
    { code: "delayed", text: "It is tried again after its back-off", untilMs: queue.nowMs + 750 },
  ]);
  queue.engine.creditChanged(worker);
  queue.clock.advance(750);
  fail("no paper");
  expect(queue.engine.explain(job!)).toMatchObject({
    job: { state: "dead" },
    reasons: [{ code: "dead", text: "It is dead after 2 failures; the last one: no paper" }],
  });
});
