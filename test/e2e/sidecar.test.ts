// `sluice sidecar` in a process of its own, between a server and workers: what it holds, and what becomes of jobs when one of the
// three is lost.
import { readFile } from "node:fs/promises";
import { connect, openSidecar as openSidecarHere, type SluiceClient } from "@sluice/client";
import { JobState, ResultCode } from "@sluice/api";
import { Code } from "@sluice/rpc";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { holdJobs } from "../support/held-jobs.ts";
import { openQueueClient } from "../support/queue-client.ts";
import { startServer, startSidecar } from "../support/server-process.ts";
import { type StartedSluice, startSluice } from "../support/started-sluice.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { mutualTlsSettings, tlsFixture } from "../support/tls-fixtures.ts";

let sluice: StartedSluice;

beforeAll(async () => {
  sluice = await startSluice("sidecar");
}, 60_000);

afterAll(() => sluice[Symbol.asyncDispose]());

const texts = (count: number) => Array.from({ length: count }, (_, i) => ({ body: String(i + 1) }));

async function openSidecar(queue: string, upstream = sluice.server.address, words: string[] = []) {
  const sidecar = await startSidecar(["--upstream", upstream, "--queue", queue, ...words], { folder: sluice.folder });
  onTestFinished(() => sidecar[Symbol.asyncDispose]());
  return sidecar;
}

/** A client of the sidecar: its worker is one as of a server. */
function openWorkerClient(address: string): SluiceClient {
  const local = connect(address, { closeTimeoutMs: 0 });
  onTestFinished(() => local.close());
  return local;
}

test("what the server may send is what the workers have free: nothing waits in the sidecar, and others get the jobs", async () => {
  await sluice.client.queues.create("free");
  const sidecar = await openSidecar("free");
  const local = openWorkerClient(sidecar.address);
  const [one, two] = [holdJobs(), holdJobs()];
  local.queues.worker("free", one.handler, { slots: 3, heartbeat: "loop" });
  const second = local.queues.worker("free", two.handler, { slots: 5, heartbeat: "loop" });
  await expect.poll(() => sluice.countsOf("free")).toMatchObject({ credit: 8n, workers: 2 });
  await sluice.client.queues.enqueue("free", texts(20));
  await expect.poll(() => one.begun.length + two.begun.length).toBe(8);
  expect(await sluice.countsOf("free")).toMatchObject({ running: 8n, offered: 0n, waiting: 12n, credit: 0n });
  // A worker elsewhere gets what waits, and the urgent job before it.
  await sluice.client.queues.enqueue("free", { body: "urgent", priority: 7 });
  const other = holdJobs();
  const elsewhere = sluice.client.queues.worker("free", other.handler, { slots: 1, heartbeat: "loop" });
  await expect.poll(() => other.begun).toEqual(["urgent"]);
  // A slot that becomes free is worth one job.
  one.finish(one.begun[0]!);
  await expect.poll(() => one.begun.length).toBe(4);
  expect(await sluice.countsOf("free")).toMatchObject({ running: 9n, waiting: 11n, done: 1n, credit: 0n });
  const drained = second.drain();
  two.finishAll();
  await drained;
  await expect.poll(() => sluice.countsOf("free")).toMatchObject({ done: 6n, running: 4n, workers: 2, credit: 0n });
  const ended = elsewhere.drain();
  other.finishAll();
  await ended;
});

test("offers in front of a worker are taken back through it, for an urgent job and for an idle worker", async () => {
  await sluice.client.queues.create("offers");
  await sluice.client.queues.enqueue("offers", texts(20));
  const sidecar = await openSidecar("offers");
  const slow = holdJobs();
  const slowWorker = openWorkerClient(sidecar.address).queues.worker("offers", slow.handler, {
    slots: 1,
    window: 10,
    heartbeat: "loop",
  });
  await expect.poll(() => [slow.begun, slowWorker.waiting]).toEqual([["1"], 9]);
  const fast = holdJobs();
  const fastWorker = sluice.client.queues.worker("offers", fast.handler, { slots: 2, heartbeat: "loop" });
  await expect.poll(() => fast.begun.length).toBe(2);
  const [urgent] = await sluice.client.queues.enqueue("offers", { body: "urgent", priority: 7 });
  await expect
    .poll(async () => (await sluice.client.queues.explain("offers", urgent!.jobId)).job?.state)
    .toBe(JobState.OFFERED);
  slow.finish("1");
  await expect.poll(() => slow.begun.length).toBe(2);
  // The offer may have been on its way when the job before ended. It is here before the answer to what was started then.
  if (slow.begun[1] !== "urgent") slow.finish(slow.begun[1]!);
  await expect.poll(() => slow.begun.slice(1, 3)).toContain("urgent");
  await sluice.client.queues.purge("offers");
  const ended = Promise.all([slowWorker.drain(), fastWorker.drain()]);
  slow.finishAll();
  fast.finishAll();
  await ended;
  expect(await sluice.countsOf("offers")).toMatchObject({ offered: 0n, running: 0n, workers: 0 });
});

test("the server is lost: workers go on, and what they ended meanwhile counts when it is back", async () => {
  await sluice.client.queues.create("lost");
  await sluice.client.queues.enqueue("lost", texts(5));
  await using proxy = await openFaultProxy({ target: () => sluice.server.address });
  const sidecar = await openSidecar("lost", proxy.address);
  const jobs = holdJobs();
  const lost: string[] = [];
  let losses = 0;
  const worker = openWorkerClient(sidecar.address).queues.worker("lost", jobs.handler, {
    slots: 2,
    window: 4,
    heartbeat: "loop",
    onDisconnected: () => losses++,
    onLeaseLost: ({ message }) => lost.push(message),
  });
  await expect.poll(() => [jobs.begun.length, worker.waiting]).toEqual([2, 2]);
  proxy.refuse(true);
  proxy.breakAll("reset");
  await sidecar.waitFor("stderr", /trying again in .* what runs goes on/u);
  // The offers are the server's again, and the worker knows.
  await expect.poll(() => worker.waiting).toBe(0);
  jobs.finish("1");
  await expect.poll(() => worker.running).toBe(1);
  proxy.refuse(false);
  await sidecar.waitFor("stderr", /is back$/mu);
  await expect.poll(() => jobs.begun.length).toBe(3);
  for (let count = 4; count <= 5; count++) {
    jobs.finishAll();
    await expect.poll(() => jobs.begun.length).toBeGreaterThanOrEqual(count);
  }
  jobs.finishAll();
  await expect.poll(() => sluice.countsOf("lost")).toMatchObject({ done: 5n, failures: 0n, waiting: 0n });
  expect([losses, lost, jobs.begun.toSorted()]).toEqual([0, [], ["1", "2", "3", "4", "5"]]);
  await worker.drain();
});

test("a network that swallows everything: the worker hears of the sidecar, and keeps its job", async () => {
  await sluice.client.queues.create("silence");
  await sluice.client.queues.enqueue("silence", texts(1));
  await using proxy = await openFaultProxy({ target: () => sluice.server.address });
  const events: string[] = [];
  await using sidecar = await openSidecarHere({
    upstream: proxy.address,
    queue: "silence",
    listen: { port: 0 },
    keepalive: { intervalMs: 300, timeoutMs: 300 },
    onEvent: ({ kind }) => events.push(kind),
  });
  const jobs = holdJobs();
  let losses = 0;
  const worker = openWorkerClient(sidecar.address!).queues.worker("silence", jobs.handler, {
    slots: 1,
    heartbeat: "loop",
    serverHeartbeatMs: 200,
    onDisconnected: () => losses++,
  });
  await expect.poll(() => jobs.begun.length).toBe(1);
  proxy.breakAll("stall");
  await expect.poll(() => events).toEqual(["upstream-lost", "upstream-back"]);
  jobs.finishAll();
  await expect.poll(() => sluice.countsOf("silence")).toMatchObject({ done: 1n, failures: 0n, running: 0n });
  expect([losses, jobs.begun.length]).toEqual([0, 1]);
  await worker.drain();
});

test("the server is killed and started anew: jobs that ran meanwhile are acknowledged once", async () => {
  await using place = await openTemporaryFolder("sidecar-killed");
  let own = await startServer([], { folder: place.path });
  onTestFinished(() => own[Symbol.asyncDispose]());
  const { address } = own;
  {
    await using first = connect(address);
    await first.queues.create("killed");
    await first.queues.enqueue("killed", texts(3));
  }
  const sidecar = await openSidecar("killed", address);
  const jobs = holdJobs();
  const lost: string[] = [];
  const worker = openWorkerClient(sidecar.address).queues.worker("killed", jobs.handler, {
    slots: 3,
    heartbeat: "loop",
    onLeaseLost: ({ message }) => lost.push(message),
  });
  await expect.poll(() => jobs.begun.length).toBe(3);
  own.kill("SIGKILL");
  await own.ended();
  await sidecar.waitFor("stderr", /what runs goes on/u);
  jobs.finish("1");
  jobs.finish("2");
  await expect.poll(() => worker.running).toBe(1);
  own = await startServer(["--listen", address], { folder: place.path });
  await using second = connect(address);
  const counts = async () => (await second.queues.get("killed")).counts!;
  await expect.poll(counts).toMatchObject({ done: 2n, running: 1n, waiting: 0n });
  jobs.finish("3");
  await expect.poll(counts).toMatchObject({ done: 3n, failures: 0n, running: 0n });
  expect([jobs.begun, lost]).toEqual([["1", "2", "3"], []]);
  await worker.drain();
});

test("a worker is lost: what it had is at others at once, and counts as no failure", async () => {
  await sluice.client.queues.create("gone", { settings: { graceMs: 600_000, leaseMs: 600_000 } });
  const sidecar = await openSidecar("gone");
  const queues = openQueueClient(sidecar.address);
  const worker = queues.work({ queue: "gone", explicitStart: true, flow: { seen: 0n, window: 3 } });
  await sluice.client.queues.enqueue("gone", texts(3));
  const offers = await worker.deliveries(3);
  await worker.startJobs([offers[0]!.lease!, offers[1]!.lease!]);
  expect(await worker.ack([offers[1]!.lease!])).toMatchObject([{ code: ResultCode.OK }]);
  expect(await sluice.countsOf("gone")).toMatchObject({ offered: 1n, running: 1n, done: 1n });
  // As when its process is killed: the connection is gone without a word.
  await queues.channel.close();
  await expect
    .poll(() => sluice.countsOf("gone"))
    .toMatchObject({ waiting: 2n, running: 0n, workers: 0, failures: 0n });
});

test("the sidecar is killed: its workers' jobs go to others after the grace time", async () => {
  await sluice.client.queues.create("orphans", { settings: { graceMs: 300 } });
  await sluice.client.queues.enqueue("orphans", texts(2));
  const sidecar = await openSidecar("orphans");
  const jobs = holdJobs();
  openWorkerClient(sidecar.address).queues.worker("orphans", jobs.handler, {
    slots: 2,
    heartbeat: "loop",
  });
  await expect.poll(() => jobs.begun.length).toBe(2);
  sidecar.kill("SIGKILL");
  await expect
    .poll(() => sluice.countsOf("orphans"))
    .toMatchObject({ waiting: 2n, running: 0n, workers: 0, failures: 0n });
});

test("the sidecar is killed, and there is a new one in time: its worker goes on with what it runs", async () => {
  await sluice.client.queues.create("heirs");
  await sluice.client.queues.enqueue("heirs", texts(2));
  const sidecar = await openSidecar("heirs");
  const jobs = holdJobs();
  const kept: number[] = [];
  const worker = openWorkerClient(sidecar.address).queues.worker("heirs", jobs.handler, {
    slots: 2,
    heartbeat: "loop",
    onConnected: (session) => kept.push(session.kept),
  });
  await expect.poll(() => jobs.begun.length).toBe(2);
  sidecar.kill("SIGKILL");
  await sidecar.ended();
  jobs.finish("1");
  await openSidecar("heirs", sluice.server.address, ["--listen", sidecar.address]);
  await expect.poll(() => kept).toEqual([0, 2]);
  jobs.finishAll();
  await expect.poll(() => sluice.countsOf("heirs")).toMatchObject({ done: 2n, failures: 0n, running: 0n });
  expect(jobs.begun.toSorted()).toEqual(["1", "2"]);
  await worker.drain();
});

test("SIGTERM: no new jobs, those that run may end, and it says how many are left", async () => {
  await sluice.client.queues.create("ending");
  await sluice.client.queues.enqueue("ending", texts(4));
  const sidecar = await openSidecar("ending", sluice.server.address, [
    "--grace",
    "1m",
    "--health-listen",
    "127.0.0.1:0",
  ]);
  const [, health] = await sidecar.waitFor("stderr", /^listening for health on (\S+)$/mu);
  const jobs = holdJobs();
  let losses = 0;
  openWorkerClient(sidecar.address).queues.worker("ending", jobs.handler, {
    slots: 2,
    window: 4,
    heartbeat: "loop",
    onDisconnected: () => losses++,
  });
  await expect.poll(() => jobs.begun.length).toBe(2);
  expect((await fetch(`http://${health}/readyz`)).status).toBe(200);
  sidecar.kill("SIGTERM");
  await sidecar.waitFor("stderr", /^Waiting up to 60 s for 2 jobs/mu);
  await sidecar.waitFor("stderr", /^draining: 2 jobs running/mu);
  expect((await fetch(`http://${health}/readyz`)).status).toBe(503);
  await expect
    .poll(() => sluice.countsOf("ending"))
    .toMatchObject({ offered: 0n, running: 2n, waiting: 2n, credit: 0n });
  jobs.finishAll();
  expect(await sidecar.ended()).toMatchObject({ exitCode: 0, stderr: expect.stringMatching(/^stopped$/mu) as unknown });
  expect(await sluice.countsOf("ending")).toMatchObject({ done: 2n, waiting: 2n, running: 0n, workers: 0 });
  expect(losses).toBe(1);
});

test("SIGTERM: when the grace is over, what still runs goes back to the queue, and its worker hears of it", async () => {
  await sluice.client.queues.create("grace", { settings: { graceMs: 600_000, leaseMs: 600_000 } });
  await sluice.client.queues.enqueue("grace", texts(2));
  const sidecar = await openSidecar("grace", sluice.server.address, ["--grace", "100ms"]);
  const jobs = holdJobs();
  const lost: string[] = [];
  openWorkerClient(sidecar.address).queues.worker("grace", jobs.handler, {
    slots: 2,
    heartbeat: "loop",
    onLeaseLost: ({ jobId }) => lost.push(jobId),
  });
  await expect.poll(() => jobs.begun.length).toBe(2);
  sidecar.kill("SIGTERM");
  expect(await sidecar.ended()).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining("The grace was over: 2 jobs went back to the queue") as unknown,
  });
  expect(await sluice.countsOf("grace")).toMatchObject({ waiting: 2n, running: 0n, failures: 0n });
  await expect.poll(() => lost.toSorted()).toEqual(["1", "2"]);
});

test("SIGTERM while the server is away: it says what could not be told, and what to do", async () => {
  await sluice.client.queues.create("away");
  await sluice.client.queues.enqueue("away", texts(1));
  await using proxy = await openFaultProxy({ target: () => sluice.server.address });
  const sidecar = await openSidecar("away", proxy.address, ["--grace", "100ms"]);
  const jobs = holdJobs();
  const worker = openWorkerClient(sidecar.address).queues.worker("away", jobs.handler, { slots: 1, heartbeat: "loop" });
  await expect.poll(() => jobs.begun.length).toBe(1);
  proxy.refuse(true);
  proxy.breakAll("reset");
  await sidecar.waitFor("stderr", /what runs goes on/u);
  jobs.finishAll();
  await expect.poll(() => worker.running).toBe(0);
  sidecar.kill("SIGTERM");
  const { exitCode, stderr } = await sidecar.ended();
  expect(exitCode).toBe(3);
  expect(stderr).toMatch(/could not be told of 1 job that ended\n {2}They go to others when their leases end/u);
});

test("its health, its metrics, and what it refuses, each with what to do", async () => {
  await sluice.client.queues.create("probe");
  const sidecar = await openSidecar("probe");
  await using queues = openQueueClient(sidecar.address);
  const worker = queues.work({ queue: "", flow: { seen: 0n, window: 2 } });
  await sluice.client.queues.enqueue("probe", texts(1));
  const [delivery] = await worker.deliveries(1);
  const metrics = await (await fetch(`http://${sidecar.address}/metrics`)).text();
  expect(metrics).toContain('sluice_sidecar_free_slots{queue="probe"} 1\n');
  expect(metrics).toContain('sluice_sidecar_jobs{queue="probe",state="running"} 1\n');
  expect(metrics).toContain("# TYPE sluice_sidecar_ended_total counter\n");
  expect((await fetch(`http://${sidecar.address}/healthz`)).status).toBe(200);
  const extended = await queues.queues.extendLeases({ queue: "", leases: [delivery!.lease!], leaseMs: 60_000 });
  expect(extended.results).toMatchObject([{ code: ResultCode.OK }]);
  await worker.ack([delivery!.lease!]);
  worker.halfClose();
  expect(await worker.ending()).toBeUndefined();
  // Its own words, and the server's.
  await expect(queues.queues.extendLeases({ queue: "other" })).rejects.toMatchObject({
    code: Code.INVALID_ARGUMENT,
    message: 'queue: this sidecar is one of the queue "probe": name that one or none, not "other"',
  });
  const other = queues.work({ queue: "other" });
  expect(await other.ending()).toMatchObject({ code: Code.INVALID_ARGUMENT });
  const greedy = queues.work({ queue: "probe", flow: { seen: 0n, window: 10_001 } });
  expect(await greedy.ending()).toMatchObject({
    code: Code.RESOURCE_EXHAUSTED,
    message: 'Cannot set a window of 10001 at queue "probe": the limit is 10000',
  });
  await expect(queues.queues.enqueue({ queue: "probe" })).rejects.toMatchObject({ code: Code.UNIMPLEMENTED });
  const gone = await openSidecar("no-such-queue");
  await using strangers = openQueueClient(gone.address);
  expect(await strangers.work({ queue: "" }).ending()).toMatchObject({ code: Code.NOT_FOUND });
  await gone.waitFor("stderr", /^The server turned a worker away: Cannot find the queue "no-such-queue"/mu);
});

test("over a Unix socket", async () => {
  await sluice.client.queues.create("unix");
  await sluice.client.queues.enqueue("unix", texts(1));
  const address = `unix:${sluice.folder}/sidecar.sock`;
  const sidecar = await openSidecar("unix", sluice.server.address, ["--listen", address]);
  expect(sidecar.address).toBe(address);
  const done: string[] = [];
  const worker = openWorkerClient(address).queues.worker("unix", (job) => void done.push(job.text()), { slots: 1 });
  await expect.poll(() => sluice.countsOf("unix")).toMatchObject({ done: 1n });
  await worker.drain();
  expect(done).toEqual(["1"]);
});

test("to a server that wants to see a certificate", async () => {
  await using place = await openTemporaryFolder("sidecar-tls");
  await using own = await startServer(mutualTlsSettings, { folder: place.path });
  const upstream = own.address.replace("127.0.0.1", "localhost");
  const [cert, key, ca] = await Promise.all(
    ["client.crt", "client.key", "localhost.crt"].map((name) => readFile(tlsFixture(name))),
  );
  await using near = connect(upstream, { tls: { cert: cert!, key: key!, ca: ca! } });
  await near.queues.create("secret");
  await near.queues.enqueue("secret", texts(1));
  const shown = [
    "--ca",
    tlsFixture("localhost.crt"),
    "--cert",
    tlsFixture("client.crt"),
    "--key",
    tlsFixture("client.key"),
  ];
  const sidecar = await openSidecar("secret", upstream, shown);
  const done: string[] = [];
  const worker = openWorkerClient(sidecar.address).queues.worker("secret", (job) => void done.push(job.text()), {
    slots: 1,
  });
  await expect.poll(() => done).toEqual(["1"]);
  await worker.drain();
});
