import { create } from "@bufbuild/protobuf";
import { EnqueueRequestSchema, EnqueueResponseSchema, type EnqueueRequest } from "@sluice/api";
import { expect, test } from "vitest";
import { enqueueJobs } from "./queue-enqueue.ts";
import type { NewQueueJob } from "./queue-job.ts";
import { constantRandom } from "./testing/chance.ts";

async function enqueue(jobs: Iterable<NewQueueJob>, dedupIds?: "made" | "given") {
  const requests: EnqueueRequest[] = [];
  const enqueued = await enqueueJobs("tax", jobs, {
    ...(dedupIds === undefined ? {} : { dedupIds }),
    random: constantRandom(0),
    call: async (request) => {
      requests.push(create(EnqueueRequestSchema, request));
      return create(EnqueueResponseSchema, {
        jobs: (request.jobs ?? []).map((_, i) => ({ jobId: `${requests.length}.${i}` })),
      });
    },
  });
  return { requests, enqueued };
}

test("a job gets an id by which a second try is known, unless its producer gave one", async () => {
  const { requests } = await enqueue([{ body: "a" }, { body: "b", dedupId: "mine" }, { body: "c" }]);
  expect(requests.map(({ queue, jobs }) => [queue, jobs.map(({ dedupId }) => dedupId)])).toEqual([
    ["tax", ["AAAAAAAAAAAAAAAA.0", "mine", "AAAAAAAAAAAAAAAA.2"]],
  ]);
  const given = await enqueue([{ body: "a" }, { body: "b", dedupId: "mine" }], "given");
  expect(given.requests[0]?.jobs.map(({ dedupId }) => dedupId)).toEqual(["", "mine"]);
});

test("what a job says of itself arrives, and what it does not say is left to the server", async () => {
  const { requests } = await enqueue(
    [
      { body: "é" },
      {
        body: new Uint8Array([0, 255]),
        priority: 0,
        fairnessKey: "t",
        orderingKey: "o",
        notBefore: 5n,
        ttlMs: 6,
        headers: { a: "b" },
        jobId: "j.1",
      },
    ],
    "given",
  );
  const [plain, full] = requests[0]!.jobs;
  expect(plain).toMatchObject({ body: new TextEncoder().encode("é"), jobId: "", headers: {} });
  expect(plain?.priority).toBeUndefined();
  expect(full).toMatchObject({
    body: new Uint8Array([0, 255]),
    priority: 0,
    fairnessKey: "t",
    orderingKey: "o",
    notBefore: 5n,
    ttlMs: 6n,
    headers: { a: "b" },
    jobId: "j.1",
  });
});

test("batches are bounded by jobs and by bytes; the answers are in the order of the jobs", async () => {
  const many = await enqueue(Array.from({ length: 2001 }, () => ({ body: "x" })));
  expect(many.requests.map(({ jobs }) => jobs.length)).toEqual([1000, 1000, 1]);
  expect([many.enqueued.length, many.enqueued[1000]?.jobId, many.enqueued[2000]?.jobId]).toEqual([2001, "2.0", "3.0"]);
  const large = new Uint8Array(600 * 1024);
  const heavy = await enqueue([{ body: large }, { body: large }, { body: new Uint8Array(2 ** 21) }, { body: "x" }]);
  expect(heavy.requests.map(({ jobs }) => jobs.length)).toEqual([1, 1, 1, 1]);
  expect((await enqueue([])).requests).toEqual([]);
});
