// Lives of queues on a fake disk, ended at any of their operations, and what must be there afterwards.
//
//   journal   a model of a queue: jobs come, fail and end, while the journal seals, cleans and drops segments
//   catalog   queues are made, filled and removed
//
// What was acknowledged is there. What was not may be there, in the order in which it was asked for.
import { createEngine } from "../../packages/server/src/queues/engine/queue.ts";
import { newJob } from "../../packages/server/src/queues/engine/testing/queue-fixture.ts";
import type { QueueJournal } from "../../packages/server/src/queues/journal/queue-journal.ts";
import { ModelQueue } from "../../packages/server/src/queues/journal/testing/model-queue.ts";
import { openQueues, type OpenQueues } from "../../packages/server/src/queues/open-queues.ts";
import { DEFAULT_SETTINGS } from "../../packages/server/src/queues/settings.ts";
import { createLogger } from "../../packages/server/src/telemetry/logger.ts";
import { type Death, Disk, openSmall, type Outcome, SMALL } from "./queue-disk.ts";

// --- A journal --------------------------------------------------------------------------------------------------------

interface OpenedModel {
  readonly queue: ModelQueue;
  readonly journal: QueueJournal;
}

async function openModel(disk: Disk): Promise<OpenedModel> {
  const queue = new ModelQueue();
  const journal = await openSmall(disk, queue);
  await journal.durable(queue.open(journal));
  return { queue, journal };
}

/** What a queue was after each record of it, and how far that is acknowledged. */
class Story {
  readonly states = [""];
  acknowledged = 0;

  /** One more record. */
  note(queue: ModelQueue): number {
    return this.states.push(queue.describe()) - 1;
  }
}

/** Jobs come, some fail, most end; each tenth stays. Ends early, without an error, when the journal does. */
async function playJournal(disk: Disk, { queue, journal }: OpenedModel, story: Story, rounds: number): Promise<void> {
  let failure: Error | undefined;
  journal.onFailure((error) => (failure = error));
  for (let round = 0; round < rounds && failure === undefined && !disk.fake.isDead; round++) {
    try {
      const numbers: number[] = [];
      for (let i = 0; i < 4; i++) {
        numbers.push(queue.add(20 + ((round * 37 + i * 11) % 120)).number);
        story.note(queue);
      }
      queue.fail(numbers[round % 4]!);
      story.note(queue);
      const ended = [...queue.jobs.keys()].filter((number) => number % 10 !== 0 && number < numbers[1]!);
      const last = queue.end(...ended);
      const told = story.note(queue);
      await journal.durable(last);
      story.acknowledged = told;
      if (round % 3 === 0) await journal.cleaned();
    } catch {
      // Refused, or lost on its way: what was acknowledged stays so.
    }
  }
  if (failure === undefined) await journal.cleaned();
}

/** A journal that works, dies, and is opened again, twice. */
export async function crashJournal(death: Death, rounds = 24): Promise<Outcome> {
  const disk = new Disk(death);
  const violations: string[] = [];
  const story = new Story();
  await disk.makeFolders("/data", "/data/queues");
  disk.arm();
  try {
    const opened = await openModel(disk);
    await playJournal(disk, opened, story, rounds);
    if (!disk.fake.isDead) await opened.journal[Symbol.asyncDispose]();
  } catch (error) {
    if (!disk.fake.isDead && death.fault === undefined) violations.push(`failed: ${String(error)}`);
  }
  disk.end();
  const { operations, sites } = disk;
  try {
    const again = await openModel(disk);
    violations.push(...checkStory(again.queue, story), ...(await again.queue.check(again.journal)));
    const next = new Story();
    await playJournal(disk, again, next, 6);
    const expected = again.queue.describe();
    await again.journal[Symbol.asyncDispose]();
    const last = await openModel(disk);
    if (last.queue.describe() !== expected) violations.push("a life without a fault changed the queue");
    violations.push(...(await last.queue.check(last.journal)));
    await last.journal[Symbol.asyncDispose]();
    if (disk.clock.timers > 0) violations.push(`${disk.clock.timers} timers were left`);
  } catch (error) {
    violations.push(`cannot be opened: ${error instanceof Error ? error.message : String(error)}`);
  }
  return { violations, operations, sites };
}

function checkStory(queue: ModelQueue, { states, acknowledged }: Story): string[] {
  const found = queue.describe();
  if (states.slice(acknowledged).includes(found)) return [];
  const before = states.lastIndexOf(found);
  return before >= 0 ? [`${acknowledged - before} records are lost`] : ["the queue is one that never was"];
}

// --- The catalog ------------------------------------------------------------------------------------------------------

/** What is known of a queue: how many jobs it must have; undefined: it must not be there; "either": nobody was told. */
type Known = Map<string, number | undefined | "either">;

function openCatalog(disk: Disk): Promise<OpenQueues> {
  const { clock } = disk;
  return openQueues({
    folder: { path: "/data", queuesFolder: "/data/queues" },
    fileSystem: disk.fake.fileSystem,
    clock,
    random: () => 0.5,
    logger: createLogger({ format: "json", level: "fatal", clock, write: () => undefined }),
    queuesMax: 10,
    createEngine,
    journal: SMALL,
  });
}

async function playCatalog(queues: OpenQueues, known: Known): Promise<void> {
  const make = async (name: string, jobs: number) => {
    known.set(name, "either");
    const { engine, journal } = await queues.create(name, DEFAULT_SETTINGS);
    known.set(name, 0);
    const { place } = engine.enqueue(Array.from({ length: jobs }, () => newJob()));
    await journal.durable(place);
    known.set(name, jobs);
  };
  const remove = async (name: string) => {
    known.set(name, "either");
    await queues.remove(name);
    known.set(name, undefined);
  };
  await make("a", 3);
  await make("b", 0);
  await remove("a");
  await make("a", 1);
  await remove("b");
}

/** Queues that are made and removed until the process dies, and are opened again. */
export async function crashCatalog(death: Death): Promise<Outcome> {
  const disk = new Disk(death);
  const violations: string[] = [];
  const known: Known = new Map();
  await disk.makeFolders("/data");
  disk.arm();
  try {
    const queues = await openCatalog(disk);
    await playCatalog(queues, known);
    await queues[Symbol.asyncDispose]();
  } catch (error) {
    if (!disk.fake.isDead) violations.push(`failed: ${error instanceof Error ? error.stack : String(error)}`);
  }
  disk.end();
  const { operations, sites } = disk;
  try {
    const queues = await openCatalog(disk);
    violations.push(...checkCatalog(queues, known));
    const names = disk.fake.names("/data/queues");
    if (names.length !== queues.list().length) violations.push(`left behind: ${names.join(" ")}`);
    // A queue that may be there or not can be made, or is known.
    if (queues.find("a") === undefined) await queues.create("a", DEFAULT_SETTINGS);
    await queues.remove("a");
    await queues[Symbol.asyncDispose]();
  } catch (error) {
    violations.push(`cannot be opened: ${error instanceof Error ? error.stack : String(error)}`);
  }
  return { violations, operations, sites };
}

function checkCatalog(queues: OpenQueues, known: Known): string[] {
  const wrong: string[] = [];
  for (const [name, jobs] of known) {
    let found: number | undefined;
    try {
      found = queues.find(name)?.engine.counts().waiting;
    } catch (error) {
      wrong.push(`queue ${name} is half: ${String(error)}`);
      continue;
    }
    if (jobs === "either") continue;
    if (jobs === undefined && found !== undefined) wrong.push(`queue ${name} is there again`);
    if (jobs !== undefined && (found === undefined || found < jobs))
      wrong.push(`queue ${name} has ${found} of ${jobs} jobs`);
  }
  return wrong;
}
