// What queues say to requests that are wrong, over the wire: code, sentence and typed detail.
import { ResultCode } from "@sluice/api";
import {
  BadRequestSchema,
  Code,
  ErrorInfoSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  RpcError,
} from "@sluice/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openQueueClient, type QueueClient } from "../support/queue-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let server: ServerProcess;
let client: QueueClient;

beforeAll(async () => {
  folder = await openTemporaryFolder("queues-bad-input");
  server = await startServer(["--limits-job-bytes-max", "1KiB", "--limits-queues-max", "2"], { folder: folder.path });
  client = openQueueClient(server.address);
  await client.queues.createQueue({ name: "q", settings: { windowMax: 10, jobsMax: 2n } });
  await client.enqueue("q", { jobId: "mine" });
}, 60_000);

afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function errorOf(answer: Promise<unknown>): Promise<RpcError> {
  const error: unknown = await answer.then(
    () => new Error("The call succeeded"),
    (each: unknown) => each,
  );
  if (!(error instanceof RpcError)) throw error;
  expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ domain: "sluice" }]);
  return error;
}

test("an unknown queue", async () => {
  const worker = client.work({ queue: "gone" });
  for (const error of [
    await errorOf(client.enqueue("gone", {})),
    await errorOf(worker.ending().then((each) => Promise.reject(each as Error))),
  ]) {
    expect(error).toMatchObject({ code: Code.NOT_FOUND, message: expect.stringContaining('"gone"') as string });
    expect(error.findDetails(ResourceInfoSchema)).toMatchObject([{ resourceType: "queue", resourceName: "gone" }]);
  }
});

test("a window over the limit", async () => {
  const worker = client.work({ queue: "q", flow: { window: 11 } });
  const error = await errorOf(worker.ending().then((each) => Promise.reject(each as Error)));
  expect(error).toMatchObject({
    code: Code.RESOURCE_EXHAUSTED,
    message: 'Cannot set a window of 11 at queue "q": the limit is 10',
  });
  expect(error.findDetails(QuotaFailureSchema)).toMatchObject([{ violations: [{ subject: "window of a worker" }] }]);
});

test("an ack for a foreign lease is STALE, and changes nothing", async () => {
  const owner = client.work({ queue: "q", flow: { window: 1 } });
  const [delivery] = await owner.deliveries(1);
  const stranger = client.work({ queue: "q" });
  expect(await stranger.ack([delivery!.lease!])).toMatchObject([{ lease: delivery!.lease, code: ResultCode.STALE }]);
  const { job } = await client.queues.explainJob({ queue: "q", jobId: "mine" });
  expect(job).toMatchObject({ attempt: delivery!.lease!.attempt });
});

test("a body over the limit", async () => {
  const error = await errorOf(client.enqueue("q", { body: new Uint8Array(1025) }));
  expect(error).toMatchObject({
    code: Code.RESOURCE_EXHAUSTED,
    message: "Cannot enqueue jobs[0]: its body has 1025 bytes, the limit is 1024",
  });
  expect(error.findDetails(QuotaFailureSchema)).toMatchObject([{ violations: [{ subject: "bytes of a job's body" }] }]);
});

test("a job id that is used", async () => {
  const error = await errorOf(client.enqueue("q", { jobId: "mine" }));
  expect(error.code).toBe(Code.ALREADY_EXISTS);
  expect(error.findDetails(ResourceInfoSchema)).toMatchObject([{ resourceType: "job", resourceName: "mine" }]);
});

test("a malformed cron expression", async () => {
  const schedule = { name: "s", cron: "61 * * * *", job: {} };
  const error = await errorOf(client.queues.putSchedule({ queue: "q", schedule }));
  expect(error.code).toBe(Code.INVALID_ARGUMENT);
  const [detail] = error.findDetails(BadRequestSchema);
  expect(detail?.fieldViolations.map(({ field }) => field)).toEqual(["schedule.cron"]);
});

test("a bound that is reached: jobs of a queue, queues of the server", async () => {
  const jobs = await errorOf(client.enqueue("q", {}, {}));
  expect(jobs.code).toBe(Code.RESOURCE_EXHAUSTED);
  expect(jobs.findDetails(QuotaFailureSchema)).toHaveLength(1);
  await client.queues.createQueue({ name: "second" });
  const queues = await errorOf(client.queues.createQueue({ name: "third" }));
  expect(queues.code).toBe(Code.RESOURCE_EXHAUSTED);
  expect(queues.findDetails(QuotaFailureSchema)).toHaveLength(1);
  expect((await client.queues.getQueue({ name: "q" })).queue?.counts).toMatchObject({ enqueued: 1n });
});

test("a worker that is told to come again is told when", async () => {
  const other = await openTemporaryFolder("queues-drain");
  await using own = await startServer([], { folder: other.path });
  await using near = openQueueClient(own.address);
  await near.queues.createQueue({ name: "q" });
  const worker = near.work({ queue: "q" });
  await worker.until(() => worker.all("session").length === 1);
  own.kill("SIGTERM");
  const error = await errorOf(worker.ending().then((each) => Promise.reject(each as Error)));
  expect(error.code).toBe(Code.UNAVAILABLE);
  expect(error.findDetails(RetryInfoSchema)).toMatchObject([{ retryDelay: { seconds: 1n } }]);
  await own.ended();
  await other[Symbol.asyncDispose]();
});
