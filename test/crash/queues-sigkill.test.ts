// Servers, workers and a sidecar between them, killed again and again under load: every job whose enqueueing was acknowledged ends acknowledged once, or
// dead.
//
// More lives: SLUICE_CRASH_ROUNDS=100 npm run crash.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { ResultCode } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { expect, test } from "vitest";
import { openQueueClient, type QueueClient } from "../support/queue-client.ts";
import { startServer, startSidecar } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const LIVES = Number(process.env["SLUICE_CRASH_ROUNDS"] ?? 5);
const WORKERS = 3;
const BATCH = 20;
/** Answers to acks between two kills, at least. */
const LIFE_ANSWERS = 300;
/** Jobs that wait, at most: the producer does not run away from the workers. */
const WAITING_MAX = 1000;
const SCRIPT = fileURLToPath(new URL("../support/crash-queue-worker.ts", import.meta.url));

/** What the workers have said, of all their lives. */
class Record {
  readonly runs = new Map<string, number>();
  /** Attempts whose ack was sent, and those that were told OK, or that they had been. */
  readonly acking = new Map<string, Set<string>>();
  readonly acked = new Map<string, Set<string>>();
  readonly rejected = new Set<string>();
  answers = 0;
  onAnswer: () => void = () => {};

  read(line: string): void {
    const [what = "", body = "", attempt = "", code = ""] = line.split(" ");
    if (what === "run") this.runs.set(body, (this.runs.get(body) ?? 0) + 1);
    if (what === "reject") this.rejected.add(body);
    if (what === "acking") add(this.acking, body, attempt);
    if (what !== "answer") return;
    const isOk = Number(code) === ResultCode.OK || Number(code) === ResultCode.DUPLICATE;
    if (isOk) add(this.acked, body, attempt);
    this.answers++;
    this.onAnswer();
  }

  async reach(answers: number): Promise<void> {
    while (this.answers < answers) {
      await new Promise<void>((resolve) => {
        this.onAnswer = resolve;
      });
    }
  }
}

function add(to: Map<string, Set<string>>, key: string, value: string): void {
  const known = to.get(key);
  if (known === undefined) to.set(key, new Set([value]));
  else known.add(value);
}

function startWorker(address: string, record: Record, { index, life }: { index: number; life: number }): ChildProcess {
  const how = index % 2 === 0 ? "offers" : "starts";
  const words = [address, `worker-${index}`, how, String(life * WORKERS + index)];
  const child = spawn(process.execPath, ["--conditions=sluice-source", SCRIPT, ...words], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) record.read(line);
  });
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
}

const isUnavailable = (error: unknown) => error instanceof RpcError && error.code === Code.UNAVAILABLE;

/** Enqueues batches until it is over; a batch without an answer is sent again. Answers the bodies that were acknowledged. */
async function produce(client: QueueClient, state: { isOver: boolean; answers(): number }): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let first = 0; !state.isOver; first += BATCH) {
    const bodies = Array.from({ length: BATCH }, (_, i) => `job-${first + i}`);
    const jobs = bodies.map((body) => ({ body: Buffer.from(body), dedupId: body, priority: body.length % 8 }));
    for (let isDone = false; !isDone;) {
      try {
        await client.queues.enqueue({ queue: "crash", jobs }, { waitForReady: true });
        isDone = true;
      } catch (error) {
        if (!isUnavailable(error)) throw error;
      }
    }
    acknowledged.push(...bodies);
    await expect.poll(() => state.isOver || acknowledged.length - state.answers() < WAITING_MAX).toBe(true);
  }
  return acknowledged;
}

test.for(["beside the server", "behind a sidecar"])(
  "SIGKILL in a loop, workers %s: every acknowledged job ends acknowledged once, or dead",
  async (where) => {
    await using place = await openTemporaryFolder("queues-sigkill");
    await using stack = new AsyncDisposableStack();
    let server = await startServer([], { folder: place.path });
    stack.defer(async () => server[Symbol.asyncDispose]());
    const { address } = server;
    await using client = openQueueClient(address);
    const settings = { leaseMs: 2000, graceMs: 1000, backoffMs: 10, backoffMaxMs: 50, maxAttempts: 50 };
    await client.queues.createQueue({ name: "crash", settings });

    const words = ["--upstream", address, "--queue", "crash"];
    let sidecar = where === "behind a sidecar" ? await startSidecar(words, { folder: place.path }) : undefined;
    stack.defer(async () => sidecar?.[Symbol.asyncDispose]());
    const workAt = sidecar?.address ?? address;
    const record = new Record();
    let workers = Array.from({ length: WORKERS }, (_, index) => startWorker(workAt, record, { index, life: 0 }));
    stack.defer(async () => void (await Promise.all(workers.map(kill))));
    const state = { isOver: false, answers: () => record.answers };
    const producing = produce(client, state);
    const kills = { servers: 0, sidecars: 0, workers: 0 };
    for (let life = 1; life < LIVES; life++) {
      await record.reach(record.answers + LIFE_ANSWERS);
      const index = life % WORKERS;
      if (life % 3 !== 1) {
        await kill(workers[index]!);
        workers = workers.with(index, startWorker(workAt, record, { index, life }));
        kills.workers++;
      }
      if (sidecar !== undefined && life % 2 === 0) {
        sidecar.kill("SIGKILL");
        await sidecar.ended();
        sidecar = await startSidecar([...words, "--listen", workAt], { folder: place.path });
        kills.sidecars++;
      }
      server.kill("SIGKILL");
      await server.ended();
      server = await startServer(["--listen", address], { folder: place.path });
      kills.servers++;
    }
    await record.reach(record.answers + LIFE_ANSWERS);
    state.isOver = true;
    const acknowledged = await producing;
    const countsOf = async () => (await client.queues.getQueue({ name: "crash" })).queue!.counts!;
    const rest = async () => {
      const { waiting, offered, running, delayed } = await countsOf();
      return waiting + offered + running + delayed;
    };
    await expect.poll(rest, { timeout: 120_000 }).toBe(0n);

    const { done, dead, enqueued } = await countsOf();
    const deadBodies = new Set<string>();
    for (let pageToken = ""; ;) {
      const page = await client.queues.listDeadJobs({ queue: "crash", bodyBytes: 100, pageToken });
      for (const { job } of page.jobs) deadBodies.add(Buffer.from(job!.body).toString());
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    // Each job once, whatever was sent again; and each of them at its end.
    expect(Number(enqueued)).toBe(acknowledged.length);
    expect(Number(done + dead)).toBe(acknowledged.length);
    expect(deadBodies.size).toBe(Number(dead));
    const faults: string[] = [];
    let unheard = 0;
    for (const body of acknowledged) {
      const acked = record.acked.get(body)?.size ?? 0;
      const acking = record.acking.get(body)?.size ?? 0;
      if (acked > 1) faults.push(`${body} was acknowledged as ${acked} attempts`);
      if (deadBodies.has(body) && (acked > 0 || !record.rejected.has(body)))
        faults.push(`${body} is dead, and should not be`);
      if (!deadBodies.has(body) && acked === 0) {
        // Somebody was killed before hearing of it: then an ack was on its way.
        unheard++;
        if (acking === 0) faults.push(`${body} is done, and nobody acknowledged it`);
      }
    }
    expect(faults).toEqual([]);
    const again = [...record.runs.values()].filter((runs) => runs > 1).length;
    console.log(
      `${acknowledged.length} jobs, ${done} done, ${dead} dead, ${again} run more than once, ${unheard} acks unheard; ` +
        `${kills.servers} servers, ${kills.sidecars} sidecars and ${kills.workers} workers killed`,
    );
  },
);
