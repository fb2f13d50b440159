// `sluice sidecar --push`: a service that speaks plain HTTP does the jobs of a queue.
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo } from "node:net";
import { once } from "node:events";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type CliProcess, startCli } from "../support/cli-process.ts";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { type StartedSluice, startSluice } from "../support/started-sluice.ts";

let sluice: StartedSluice;

beforeAll(async () => {
  sluice = await startSluice("sidecar-push");
}, 60_000);

afterAll(() => sluice[Symbol.asyncDispose]());

interface Posted {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  answer(status: number, headers?: Record<string, string>, text?: string): void;
}

/** A service whose requests the test answers. */
async function openService(port = 0) {
  const posted: Posted[] = [];
  let atOnce = 0;
  let most = 0;
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    most = Math.max(most, ++atOnce);
    response.on("close", () => atOnce--);
    let body = "";
    for await (const piece of request.setEncoding("utf8") as AsyncIterable<string>) body += piece;
    const answer: Posted["answer"] = (status, headers = {}, text = "") => response.writeHead(status, headers).end(text);
    posted.push({ headers: request.headers, body, answer });
  };
  const http = createServer((request, response) => void take(request, response));
  http.listen(port, "127.0.0.1");
  await once(http, "listening");
  const bound = (http.address() as AddressInfo).port;
  const close = async (): Promise<void> => {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  };
  onTestFinished(close);
  return {
    posted,
    port: bound,
    url: `http://127.0.0.1:${bound}/jobs`,
    close,
    get most() {
      return most;
    },
    /** The request of this body, when it has come. */
    async of(body: string): Promise<Posted> {
      await expect.poll(() => posted.some((each) => each.body === body)).toBe(true);
      return posted.findLast((each) => each.body === body)!;
    },
  };
}

function startPush(queue: string, url: string, words: string[] = []): CliProcess {
  const where = words.includes("--upstream") ? [] : ["--upstream", sluice.server.address];
  const sidecar = startCli(["sidecar", ...where, "--queue", queue, "--push", url, ...words], { folder: sluice.folder });
  onTestFinished(() => sidecar[Symbol.asyncDispose]());
  return sidecar;
}

const bodies = (...texts: string[]) => texts.map((body) => ({ body }));

test("one request for each free slot; each answer means what it says", async () => {
  await sluice.client.queues.create("answers", { settings: { maxAttempts: 2, backoffMs: 1 } });
  const service = await openService();
  startPush("answers", service.url, ["--slots", "3"]);
  await sluice.client.queues.enqueue("answers", bodies("good", "conflict", "bad", "broken", "later"));
  await expect.poll(() => service.posted.length).toBe(3);
  expect(await sluice.countsOf("answers")).toMatchObject({ running: 3n, offered: 0n, waiting: 2n, credit: 0n });
  (await service.of("good")).answer(204);
  (await service.of("conflict")).answer(409, {}, "it is there already\nand more");
  (await service.of("bad")).answer(422);
  (await service.of("broken")).answer(500, {}, "out of order");
  await expect.poll(() => service.posted.filter(({ body }) => body === "broken").length).toBe(2);
  service.posted.findLast(({ body }) => body === "broken")!.answer(302, { location: service.url });
  (await service.of("later")).answer(201);
  await expect.poll(() => sluice.countsOf("answers")).toMatchObject({ done: 2n, dead: 3n, waiting: 0n, running: 0n });
  const reasons: string[] = [];
  for await (const { history } of sluice.client.queues.listDead("answers")) reasons.push(history.at(-1)?.reason ?? "");
  expect(reasons.toSorted()).toEqual(["HTTP 302", "HTTP 409: it is there already", "HTTP 422"]);
  expect(service.most).toBe(3);
});

test("429 and 503 with Retry-After give the job back and let its fairness key wait; without, they are failures", async () => {
  await sluice.client.queues.create("throttled", { settings: { maxAttempts: 2, backoffMs: 1 } });
  const service = await openService();
  startPush("throttled", service.url, ["--slots", "2"]);
  const [busy] = await sluice.client.queues.enqueue("throttled", { body: "busy", fairnessKey: "tenant" });
  (await service.of("busy")).answer(429, { "retry-after": "3600" });
  await expect.poll(async () => (await sluice.countsOf("throttled")).waiting).toBe(1n);
  const { reasons } = await sluice.client.queues.explain("throttled", busy!.jobId);
  expect(reasons).toContainEqual(expect.objectContaining({ subject: "tenant" }));
  await sluice.client.queues.enqueue("throttled", { body: "plain" });
  (await service.of("plain")).answer(503);
  await expect.poll(() => service.posted.filter(({ body }) => body === "plain").length).toBe(2);
  service.posted.at(-1)!.answer(503, { "retry-after": new Date(Date.now() + 3_600_000).toUTCString() });
  await expect
    .poll(() => sluice.countsOf("throttled"))
    .toMatchObject({ waiting: 2n, running: 0n, failures: 1n, dead: 0n });
});

test("a request says which job it is, with what its producer wrote on it", async () => {
  await sluice.client.queues.create("headers");
  const service = await openService();
  startPush("headers", service.url);
  await sluice.client.queues.enqueue("headers", {
    body: '{"é":1}',
    jobId: "order-7",
    priority: 6,
    fairnessKey: "tenant é",
    headers: {
      "Content-Type": "application/json",
      traceparent: "00-aa-bb-01",
      "who (it is)": "Zoë 100%",
      host: "evil",
    },
  });
  const posted = await service.of('{"é":1}');
  posted.answer(200);
  const { headers } = posted;
  expect(headers).toMatchObject({
    host: `127.0.0.1:${service.port}`,
    "content-type": "application/json",
    "content-length": "8",
    traceparent: "00-aa-bb-01",
    "sluice-queue": "headers",
    "sluice-job-id": "order-7",
    "sluice-attempt": expect.stringMatching(/^\d+$/u) as unknown,
    "sluice-priority": "6",
    "sluice-failures": "0",
    "sluice-fairness-key": "tenant %C3%A9",
    "sluice-meta-who%20%28it%20is%29": "Zo%C3%AB 100%25",
    "sluice-meta-host": "evil",
  });
  await expect.poll(() => sluice.countsOf("headers")).toMatchObject({ done: 1n });
});

test("a request that takes longer than a lease keeps it", async () => {
  await sluice.client.queues.create("long", { settings: { leaseMs: 300, graceMs: 300 } });
  const service = await openService();
  startPush("long", service.url);
  await sluice.client.queues.enqueue("long", bodies("slow"));
  const slow = await service.of("slow");
  const until = async () => {
    const { job, reasons } = await sluice.client.queues.explain("long", "1");
    return job === undefined ? 0n : (reasons[0]?.until ?? 0n);
  };
  // Its lease was extended: it ends later and later, and nobody else gets the job.
  const first = await until();
  await expect.poll(until).toBeGreaterThan(first + 600_000_000n);
  slow.answer(200);
  await expect.poll(() => sluice.countsOf("long")).toMatchObject({ done: 1n, failures: 0n });
  expect(service.posted).toHaveLength(1);
});

test("while the service does not listen no job is taken, and none fails for it", async () => {
  await sluice.client.queues.create("absent");
  await sluice.client.queues.enqueue("absent", bodies("a", "b"));
  const before = await openService();
  await before.close();
  const sidecar = startPush("absent", before.url, ["--slots", "2"]);
  await sidecar.waitFor("stderr", /does not answer: no jobs are taken until it does/u);
  expect(await sluice.countsOf("absent")).toMatchObject({ waiting: 2n, running: 0n, credit: 0n });
  const service = await openService(before.port);
  (await service.of("a")).answer(200);
  const lost = await service.of("b");
  // The service dies in the middle of a job: that one has failed. The next one it does not get.
  await sluice.client.queues.enqueue("absent", bodies("c"));
  await service.of("c");
  await service.close();
  await expect.poll(() => sluice.countsOf("absent")).toMatchObject({ done: 1n, running: 0n, credit: 0n, dead: 0n });
  expect((await sluice.countsOf("absent")).failures).toBe(2n);
  const again = await openService(before.port);
  for (const body of ["b", "c"]) (await again.of(body)).answer(200);
  await expect.poll(() => sluice.countsOf("absent")).toMatchObject({ done: 3n, waiting: 0n, delayed: 0n });
  expect(lost.body).toBe("b");
});

test("the server is lost while a request runs: its answer counts when the server is back", async () => {
  await sluice.client.queues.create("cut");
  await using proxy = await openFaultProxy({ target: () => sluice.server.address });
  const service = await openService();
  const sidecar = startPush("cut", service.url, ["--upstream", proxy.address]);
  await sluice.client.queues.enqueue("cut", bodies("a", "b"));
  const first = await service.of("a");
  proxy.refuse(true);
  proxy.breakAll("reset");
  await sidecar.waitFor("stderr", /what runs goes on/u);
  first.answer(200);
  proxy.refuse(false);
  (await service.of("b")).answer(200);
  await expect.poll(() => sluice.countsOf("cut")).toMatchObject({ done: 2n, failures: 0n });
  expect(service.posted).toHaveLength(2);
});

test("SIGTERM lets requests end; a second one ends it at once", async () => {
  await sluice.client.queues.create("term");
  const service = await openService();
  const sidecar = startPush("term", service.url, ["--output", "json"]);
  await sluice.client.queues.enqueue("term", bodies("a", "b"));
  const first = await service.of("a");
  sidecar.kill("SIGTERM");
  await sidecar.waitFor("stderr", /"event":"draining".*"running":1/u);
  first.answer(200);
  const { exitCode, stderr } = await sidecar.ended();
  expect(exitCode).toBe(0);
  const events = stderr
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { event: string }).event);
  expect([events[0], events.at(-1)]).toEqual(["pushing", "stopped"]);
  expect(await sluice.countsOf("term")).toMatchObject({ done: 1n, waiting: 1n, workers: 0 });
  const hasty = startPush("term", service.url, ["--grace", "1h"]);
  await service.of("b");
  hasty.kill("SIGTERM");
  await hasty.waitFor("stderr", /Waiting up to 3600 s for 1 job/u);
  hasty.kill("SIGTERM");
  expect((await hasty.ended()).exitCode).toBe(130);
});

test("POST /drain, before the service is ended: no more jobs, answered when none runs; SIGTERM then ends it at once", async () => {
  await sluice.client.queues.create("prestop");
  const service = await openService();
  const sidecar = startPush("prestop", service.url, ["--listen", "127.0.0.1:0"]);
  const [, address] = await sidecar.waitFor("stderr", /^listening on (\S+)$/mu);
  await sluice.client.queues.enqueue("prestop", bodies("a", "b"));
  const first = await service.of("a");
  expect((await fetch(`http://${address}/drain`)).status).toBe(405);
  const drained = fetch(`http://${address}/drain`, { method: "POST" });
  await expect.poll(() => sluice.countsOf("prestop")).toMatchObject({ running: 1n, credit: 0n });
  await expect.poll(async () => (await fetch(`http://${address}/readyz`)).status).toBe(503);
  first.answer(200);
  expect(await (await drained).json()).toEqual({ returned: 0, unsaid: 0 });
  expect(await sluice.countsOf("prestop")).toMatchObject({ done: 1n, waiting: 1n, running: 0n });
  expect((await fetch(`http://${address}/healthz`)).status).toBe(200);
  sidecar.kill("SIGTERM");
  expect(await sidecar.ended()).toMatchObject({ exitCode: 0 });
  expect(service.posted).toHaveLength(1);
});

const USAGE: readonly (readonly [string, string[], RegExp])[] = [
  ["neither workers nor a service", ["--queue", "q"], /a sidecar is for somebody\n {2}Give --listen/u],
  [
    "slots without a service",
    ["--queue", "q", "--listen", "127.0.0.1:0", "--slots", "2"],
    /--slots are those of --push/u,
  ],
  [
    "a certificate without a key",
    ["--queue", "q", "--listen", "127.0.0.1:0", "--cert", "x"],
    /--cert and --key go together/u,
  ],
  ["an address of others", ["--queue", "q", "--listen", "0.0.0.0:0"], /Others can reach 0\.0\.0\.0:0/u],
  ["no address", ["--queue", "q", "--listen", "7000"], /"7000" is no HOST:PORT/u],
  ["no URL", ["--queue", "q", "--push", "127.0.0.1/jobs"], /is no URL of a service beside/u],
  ["no queue", ["--listen", "127.0.0.1:0"], /required option '--queue <name>'/u],
];
test.for(USAGE)("%s is a mistake, and it says what to do", async ([, words, text]) => {
  const sidecar = startCli(["sidecar", ...words], { folder: sluice.folder });
  expect(await sidecar.ended()).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(text) as unknown });
});

test("a queue that is not there, and an address that is taken", async () => {
  const service = await openService();
  expect(await startPush("missing", service.url).ended()).toMatchObject({
    exitCode: 4,
    stderr: expect.stringContaining(
      `Make it: sluice queue create missing --server ${sluice.server.address}`,
    ) as unknown,
  });
  const taken = startPush("missing", service.url, ["--listen", `127.0.0.1:${service.port}`]);
  expect(await taken.ended()).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("Choose another address, or stop the program that has it.") as unknown,
  });
});
