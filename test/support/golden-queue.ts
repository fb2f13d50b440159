// The queue that stands in test/fixtures/queue-format-1: made again from nothing, always with the same bytes.
//
// `node --conditions=sluice-source test/support/golden-queue.ts FOLDER` writes it. That is for a new version of the format, into
// a new folder: the old one stays, every later version must read it.
import { fromBinary } from "@bufbuild/protobuf";
import { EndKind, JobSchema, JobState } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import type { Journal, JournalOwner, NewRecord, Place } from "../../packages/server/src/queues/contract.ts";
import { createEngine } from "../../packages/server/src/queues/engine/queue.ts";
import { openQueueJournal } from "../../packages/server/src/queues/journal/queue-journal.ts";
import { nodeFileSystem } from "../../packages/server/src/store/file-system-node.ts";

/** 2026-01-01T00:00:00Z. */
const START_NS = 1_767_225_600_000_000_000n;
const SECOND_NS = 1_000_000_000n;
const JOBS = 60;
const BODIES = ["only two teapots left", "Grüße aus Łódź", "🫖 sold", "", "line one\nline two"];

/** Nothing of it is kept: the records are given, not decided. */
const nobody: JournalOwner = { replay: () => undefined, carry: () => [], carried: () => undefined, liveBytes: 0 };

function jobAt(number: number) {
  return {
    jobId: number % 7 === 0 ? `order-${number}` : String(number),
    priority: number % 8,
    fairnessKey: ["shop", "warehouse", "", "żółw"][number % 4]!,
    orderingKey: number % 5 === 0 ? `customer-${number % 3}` : "",
    enqueuedAt: START_NS + BigInt(number) * SECOND_NS,
    notBefore: number % 9 === 0 ? START_NS + 3600n * SECOND_NS : 0n,
    expiresAt: number % 11 === 0 ? START_NS + 86_400n * SECOND_NS : 0n,
    dedupId: number % 13 === 0 ? `dedup-${number}` : "",
    headers: number % 6 === 0 ? { "content-type": "text/plain", trace: String(number * 7919) } : {},
    body: Buffer.from(number === 50 ? "long ".repeat(200) : `${BODIES[number % BODIES.length]!} ${number}`),
  };
}

/** One record of each kind at least, in an order that could have been. */
function* records(): Generator<NewRecord> {
  const state = { settings: {}, createdAt: START_NS, incarnation: 1, nextNumber: 1n };
  yield { kind: { case: "queue", value: state } };
  for (let i = 1; i <= JOBS; i++) {
    const number = BigInt(i);
    yield { kind: { case: "added", value: { number, job: jobAt(i) } } };
    const attempt = 2n ** 32n + number;
    const failure = { at: START_NS + number * SECOND_NS, attempt, workerId: "worker-1", reason: "no teapots" };
    if (i % 2 === 0) {
      const started = { numbers: [number], attempts: [attempt], workerId: "worker-1", at: START_NS, leaseMs: 30_000 };
      yield { kind: { case: "started", value: started } };
    }
    if (i % 4 === 0) yield { kind: { case: "ended", value: { numbers: [number, number - 1n], kind: EndKind.DONE } } };
    if (i % 10 === 6) yield { kind: { case: "failed", value: { number, failure, eligibleAt: START_NS } } };
    if (i % 10 === 2) yield { kind: { case: "failed", value: { number, failure, dead: true } } };
    if (i === 14) yield { kind: { case: "returned", value: { number } } };
    if (i === 22) yield { kind: { case: "redriven", value: { numbers: [2n, 22n, 999n], at: START_NS } } };
  }
  yield { kind: { case: "dedup", value: { dedupId: "dedup-26", jobId: "26", until: START_NS + 600n * SECOND_NS } } };
  // Carried forward, and failed since.
  const carried = { state: JobState.WAITING, failures: 3, eligibleAt: START_NS, history: [] };
  yield { kind: { case: "added", value: { number: 61n, job: jobAt(61), state: carried } } };
  const lost = { at: START_NS, attempt: 0n, workerId: "worker-1", reason: "its worker went away" };
  yield { kind: { case: "failed", value: { number: 61n, failure: lost, eligibleAt: START_NS, uncounted: true } } };
  const counts = { enqueued: 61n, done: 30n, failures: 13n };
  yield { kind: { case: "queue", value: { ...state, incarnation: 2, nextNumber: 62n, ...counts } } };
}

/** Writes the queue into a folder that is not there yet. */
export async function makeGoldenQueue(folder: string): Promise<void> {
  const journal = await openQueueJournal({
    folder,
    name: "golden",
    fileSystem: nodeFileSystem,
    clock: new ManualClock(),
    owner: { ...nobody, liveBytes: Number.MAX_SAFE_INTEGER },
    options: { segmentBytes: 4096, groupBytesMax: 1024 },
  });
  for (const record of records()) await journal.durable(journal.append(record));
  await journal[Symbol.asyncDispose]();
}

/** A job as a line of expected.jsonl. */
export interface GoldenJob {
  readonly number: number;
  readonly id: string;
  readonly state: string;
  readonly failures: number;
  readonly attempt: number;
  readonly body: string;
}

/** The jobs that the engine finds in a queue's folder, and how many records it read. The folder is opened for it, and changed. */
export async function readGoldenQueue(folder: string): Promise<{ jobs: GoldenJob[]; records: number }> {
  const clock = new ManualClock();
  const engine = createEngine({ name: "golden", clock, random: () => 0.5 });
  const journal = await openQueueJournal({ folder, name: "golden", fileSystem: nodeFileSystem, clock, owner: engine });
  const queue = engine.open(journal).value;
  const states = ["waiting", "running", "dead", "delayed"] as const;
  const found = states.flatMap((state) => queue.peek(state, 1000)).sort((a, b) => a.number - b.number);
  const jobs: GoldenJob[] = [];
  for (const { number, jobId: id, state, failures, attempt, place } of found) {
    const body = await bodyAt(journal, place);
    jobs.push({ number, id, state: state === "delayed" ? "waiting" : state, failures, attempt, body });
  }
  queue.close();
  await journal[Symbol.asyncDispose]();
  return { jobs, records: journal.replayed };
}

async function bodyAt(journal: Journal, place: Place): Promise<string> {
  return Buffer.from(fromBinary(JobSchema, await journal.body(place)).body).toString();
}

if (import.meta.main) {
  const folder = process.argv[2];
  if (folder === undefined) throw new Error("Which folder?");
  await makeGoldenQueue(folder);
}
