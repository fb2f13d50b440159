// What a queue does with single jobs and workers. Random histories are in queue-histories.test.ts.
import { expect, test } from "vitest";
import { QueueFixture } from "./testing/queue-fixture.ts";

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
