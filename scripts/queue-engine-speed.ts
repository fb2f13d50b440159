// How fast the engine of a queue is by itself, and what a waiting job costs in memory: no disk, no network, one thread.
//
//   node --expose-gc --conditions=sluice-source scripts/queue-engine-speed.ts [--waiting N] [--keys N] [--window N]
//
// `cycle` is enqueue, offer, start, ack, with so many jobs waiting. Times are those of the
// processor, garbage collection included, so that a busy machine does not spoil them much.
import { parseArgs } from "node:util";
import type { Handout, JobLease, Journal, QueueEngine, QueueWorker } from "../packages/server/src/queues/contract.ts";
import { createEngine } from "../packages/server/src/queues/engine/queue.ts";
import { newJob } from "../packages/server/src/queues/engine/testing/queue-fixture.ts";
import { DEFAULT_SETTINGS } from "../packages/server/src/queues/settings.ts";
import { systemClock } from "../packages/server/src/store/clock.ts";

const { values } = parseArgs({
  options: {
    waiting: { type: "string", default: "1000000" },
    keys: { type: "string", default: "1" },
    window: { type: "string", default: "100" },
    cycles: { type: "string", default: "1000000" },
  },
});
const BATCH = 100;
const JOB_BYTES = 250;

/** Takes everything, keeps nothing. */
function discard(): Journal {
  let place = 0;
  return {
    appendedBytes: JOB_BYTES,
    diskBytes: 0,
    append: () => ++place,
    durable: () => undefined,
    admit: () => undefined,
    room: () => undefined,
    body: () => new Uint8Array(JOB_BYTES),
    onFailure: () => undefined,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

class Worker implements QueueWorker {
  readonly id: string;
  readonly explicitStart = true;
  readonly leaseMs = 0;
  window = 0;
  offers: JobLease[] = [];

  constructor(id: string) {
    this.id = id;
  }
  credit(): number {
    return this.window - this.offers.length;
  }
  deliver({ lease }: Handout): void {
    this.offers.push(lease);
  }
  recall(leases: readonly JobLease[]): void {
    const taken = new Set(leases.map((each) => each.number));
    this.offers = this.offers.filter((each) => !taken.has(each.number));
  }
  leaseLost(): void {
    // No lease ends here.
  }
}

function enqueue(engine: QueueEngine, count: number, keys: number): void {
  for (let done = 0; done < count; done += BATCH) {
    const length = Math.min(BATCH, count - done);
    engine.enqueue(Array.from({ length }, (_, i) => jobs[(done + i) % keys]!));
  }
}

/** Each worker starts what it has, acknowledges it, and has room again. Answers how many jobs that were. */
function work(engine: QueueEngine, workers: readonly Worker[]): number {
  let count = 0;
  for (const worker of workers) {
    const leases = worker.offers;
    engine.start(worker, leases);
    worker.offers = [];
    engine.ack(worker, leases);
    engine.creditChanged(worker);
    count += leases.length;
  }
  return count;
}

function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function report(what: string, count: number, since: number): void {
  const seconds = processorSeconds() - since;
  console.log(`${what}: ${(count / seconds / 1000).toFixed(0)} k/s (${((seconds * 1e9) / count).toFixed(0)} ns each)`);
}

const waiting = Number(values.waiting);
const keys = Number(values.keys);
const cycles = Number(values.cycles);
const jobs = Array.from({ length: keys }, (_, key) => newJob({ fairnessKey: keys === 1 ? "" : `k${key}` }));
const engine = createEngine({ name: "speed", clock: systemClock, random: Math.random }).open(discard(), {
  ...DEFAULT_SETTINGS,
  jobsMax: 100_000_000,
  bytesMax: 2 ** 50,
}).value;
globalThis.gc?.();
const before = process.memoryUsage();
let since = processorSeconds();
enqueue(engine, waiting, keys);
report("enqueue", waiting, since);
globalThis.gc?.();
const after = process.memoryUsage();
const bytes = after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers;
console.log(
  `memory: ${(bytes / Math.max(1, waiting)).toFixed(0)} bytes a waiting job, ${(after.rss / 2 ** 20).toFixed(0)} MiB resident`,
);

const workers = Array.from({ length: 4 }, (_, index) => new Worker(`w${index}`));
for (const worker of workers) {
  engine.attach(worker, []);
  worker.window = Number(values.window);
  engine.creditChanged(worker);
}
since = processorSeconds();
let done = 0;
while (done < cycles) {
  enqueue(engine, 4 * BATCH, keys);
  for (let pending = 4 * BATCH; pending > 0;) pending -= work(engine, workers);
  done += 4 * BATCH;
}
report("cycle", done, since);
engine.close();
