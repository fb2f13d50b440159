import { expect, test } from "vitest";
import { measure } from "./measures.ts";
import { drawPicture } from "./picture.ts";
import { DEFAULT_SCENARIO, type JobEvent, type RunRecord } from "./scenario.ts";

const event = (event: JobEvent["event"], job: string, worker: string, atMs: number): JobEvent => ({
  event,
  job,
  worker,
  atMs: 1_000_000 + atMs,
});

/** Three jobs are sent at once to the first worker; the second comes at 150 ms, the urgent job at 200. */
const streamed: RunRecord = {
  way: "stream",
  startedMs: 1_000_000,
  moreWorkersMs: 1_000_150,
  newWorkers: 1,
  urgentMs: 1_000_200,
  samples: [],
  events: [
    event("sent", "1", "worker-1", 1),
    event("sent", "2", "worker-1", 1),
    event("sent", "3", "worker-1", 2),
    event("begun", "1", "worker-1", 5),
    event("done", "1", "worker-1", 105),
    event("begun", "2", "worker-1", 106),
    event("sent", "urgent", "worker-1", 201),
    event("done", "2", "worker-1", 206),
    event("begun", "3", "worker-1", 207),
    event("done", "3", "worker-1", 307),
    event("begun", "urgent", "worker-1", 308),
    event("done", "urgent", "worker-1", 408),
  ],
};

test("what was sent and not begun is beyond control; a worker that never had a job never began", () => {
  const { beyond, ...figures } = measure(streamed);
  expect(figures).toEqual({
    way: "stream",
    beyondMax: 3,
    offered: [],
    newWorkersBeganAfterMs: undefined,
    newWorkersJobs: 0,
    urgentWaitMs: 108,
    urgentPassedBy: 1,
    completedMs: 408,
  });
  expect(beyond.map(({ atMs, count }) => [atMs, count])).toEqual([
    [0, 0],
    [1, 1],
    [1, 2],
    [2, 3],
    [5, 2],
    [106, 1],
    [201, 2],
    [207, 1],
    [308, 0],
  ]);
});

test("new workers have begun when all of them have; an offer is not beyond control, a start on its way is", () => {
  const { beyond, offered, newWorkersBeganAfterMs, newWorkersJobs, urgentPassedBy } = measure({
    ...streamed,
    way: "credit",
    newWorkers: 2,
    events: [
      event("begun", "1", "worker-1", 5),
      event("begun", "2", "worker-2", 160),
      event("done", "1", "worker-1", 105),
      event("begun", "3", "worker-3", 170),
      event("begun", "urgent", "worker-1", 201),
    ],
    samples: [
      { atMs: 1_000_050, offered: 2, running: 2 },
      { atMs: 1_000_180, offered: 1, running: 2 },
    ],
  });
  expect([newWorkersBeganAfterMs, newWorkersJobs, urgentPassedBy]).toEqual([20, 2, 0]);
  expect(beyond).toEqual([
    { atMs: 50, count: 1 },
    { atMs: 180, count: 0 },
  ]);
  expect(offered.map(({ count }) => count)).toEqual([2, 1]);
  const some = measure({ ...streamed, newWorkers: 2, events: [event("begun", "2", "worker-2", 160)] });
  expect([some.newWorkersBeganAfterMs, some.newWorkersJobs]).toEqual([undefined, 1]);
});

test("the picture has a line for each way, and its figures", () => {
  const picture = drawPicture([measure(streamed), { ...measure(streamed), way: "credit" }], DEFAULT_SCENARIO);
  expect(picture.match(/<path /gu)).toHaveLength(2);
  expect(picture).toContain(">never</text>");
  expect(picture).toContain(">108 ms</text>");
  expect(picture).not.toMatch(/NaN|undefined/u);
});
