// Space of finished jobs returns: with many jobs done, a queue takes on disk at most twice what its live jobs take, and a floor,
// although each segment still held one job of long ago. SLUICE_QUEUE_JOBS=10000000 makes it the ten million of the slow suite.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type {
  Handout,
  JobLease,
  Journal,
  QueueEngine,
  QueueWorker,
} from "../../packages/server/src/queues/contract.ts";
import { createEngine } from "../../packages/server/src/queues/engine/queue.ts";
import { newJob } from "../../packages/server/src/queues/engine/testing/queue-fixture.ts";
import { openQueues, type OpenQueues } from "../../packages/server/src/queues/open-queues.ts";
import { DEFAULT_SETTINGS } from "../../packages/server/src/queues/settings.ts";
import { createLogger, nodeFileSystem, systemClock } from "@sluice/server";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const JOBS = Number(process.env["SLUICE_QUEUE_JOBS"] ?? 100_000);
const SEGMENT_BYTES = JOBS > 1_000_000 ? 8 * 1024 * 1024 : 512 * 1024;
/** Two segments that may be garbage, the one that grows, one that is being cleaned, and their indexes. */
const FLOOR_BYTES = 6 * SEGMENT_BYTES;
const BATCH = 500;
/** One of so many stays: some in each segment. */
const STAYS = 5000;

function open(folder: string): Promise<OpenQueues> {
  return openQueues({
    folder: { path: folder, queuesFolder: join(folder, "queues") },
    fileSystem: nodeFileSystem,
    clock: systemClock,
    random: () => 0.5,
    logger: createLogger({
      format: "text",
      level: "warn",
      clock: systemClock,
      write: (line) => process.stderr.write(line),
    }),
    queuesMax: 1,
    createEngine,
    journal: { segmentBytes: SEGMENT_BYTES },
  });
}

/** Takes whatever it gets, started already. */
class TestWorker implements QueueWorker {
  readonly id = "worker";
  readonly explicitStart = false;
  readonly leaseMs = 0;
  leases: JobLease[] = [];

  credit(): number {
    return BATCH - this.leases.length;
  }

  deliver({ lease }: Handout): void {
    this.leases.push(lease);
  }

  recall(): void {
    throw new Error("What was started is not recalled");
  }

  leaseLost(): void {
    throw new Error("A lease was lost");
  }
}

/** Enqueues the jobs, and has a worker do all of them that are due. */
async function doJobs(engine: QueueEngine, journal: Journal): Promise<void> {
  const worker = new TestWorker();
  engine.attach(worker, []);
  engine.creditChanged(worker);
  const later = Date.now() + 24 * 60 * 60_000;
  const body = new Uint8Array(200);
  for (let made = 0; made < JOBS; made += BATCH) {
    const staysMs = made % STAYS === 0 ? later : 0;
    engine.enqueue(Array.from({ length: BATCH }, (_, i) => newJob({ body, notBeforeMs: i === 0 ? staysMs : 0 })));
    while (worker.leases.length > 0) {
      const { leases } = worker;
      worker.leases = [];
      await journal.durable(engine.ack(worker, leases).place);
      engine.creditChanged(worker);
    }
  }
  engine.detach(worker);
}

/** Of all files of the queue. */
async function bytesIn(folder: string): Promise<number> {
  const names = await readdir(folder);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

test(
  `a queue in which ${JOBS} jobs are done takes at most twice what is alive, and a floor`,
  async () => {
    await using folder = await openTemporaryFolder("queue-space");
    const counts = { done: JOBS - JOBS / STAYS, delayed: JOBS / STAYS };
    {
      await using queues = await open(folder.path);
      const { engine, journal } = await queues.create("space", DEFAULT_SETTINGS);
      await doJobs(engine, journal);
      expect(engine.counts()).toMatchObject(counts);
      await expect.poll(() => journal.diskBytes).toBeLessThan(2 * engine.liveBytes + FLOOR_BYTES);
    }
    const bytes = await bytesIn(join(folder.path, "queues/space"));
    await using queues = await open(folder.path);
    const { engine, journal } = queues.find("space")!;
    expect(engine.counts()).toMatchObject(counts);
    expect(bytes).toBeLessThan(2 * engine.liveBytes + FLOOR_BYTES);
    for (const { place } of engine.peek("delayed", 1000))
      expect((await journal.body(place)).length).toBeGreaterThan(200);
  },
  Math.max(60_000, JOBS),
);
