// Lives of a log on a fake disk: writers, readers, upkeep, then a crash; and again. All from one seed.
import { basename } from "node:path";
import type { Clock, GapRun, LogReader, Run } from "../../packages/server/src/store/contract.ts";
import type { EpochsFile } from "../../packages/server/src/store/epochs.ts";
import type { Log, LogOptions } from "../../packages/server/src/store/log.ts";
import type { FileSystem } from "../../packages/server/src/store/file-system.ts";
import type { Allowances, FoundLog, PlacedEntry } from "./crash-checker.ts";
import type { Fate, Operation } from "./fake-file-system.ts";
import { openDataFolder } from "../../packages/server/src/store/data-folder.ts";
import { examineDataFolder } from "../../packages/server/src/store/doctor.ts";
import { errorCode } from "../../packages/server/src/store/file-system.ts";
import { openLog } from "../../packages/server/src/store/log.ts";
import { CrashChecker } from "./crash-checker.ts";
import { ManualClock } from "@sluice/rpc/testing";
import { decodeRun, makeBatch, testCodec } from "../../packages/server/src/store/testing/frames.ts";
import { between, seededRandom } from "./crash-random.ts";
import { FakeFileSystem } from "./fake-file-system.ts";

export const DATA_FOLDER = "/data";
export const LOG_FOLDER = `${DATA_FOLDER}/logs/default`;

/** Everything small, so that a few dozen entries fill segments, groups, the tail. */
const SMALL: Partial<LogOptions> = {
  segmentBytes: 2048,
  groupBytesMax: 600,
  tailBytes: 512,
  historyBytesMax: 4096,
  openFilesMax: 2,
  tickMs: 100,
  scrubBytesPerSecond: 1024,
  scrubRestMs: 500,
  dictionary: { fileEntriesMax: 4, filesMax: 3 },
};

/** Kind of what the simulation's entries share. */
const SHARED = 1;

export interface SimulationOptions {
  readonly seed: number;
  readonly lives: number;
  readonly allowances: Allowances;
  /** The sync that is taken out of the code: see `siteOf`. */
  readonly ignoredSite?: string;
  /** Writers go on while the log is read-only, as clients do: it may come back. Lives are longer, so that it can. */
  readonly isPersistent?: boolean;
  /** Hears of every sync. */
  readonly onSync?: (site: string) => void;
}

/** Names a sync in the code: what is synced, and the function that asks for it. */
export function siteOf({ kind, path, site }: Operation): string {
  // These two serve several callers: what they sync for each is a sync of its own.
  if (site === "makeFolderIn") return `${kind} ${site} ${path}`;
  if (site === "writeAtomically" && kind === "sync") return `${kind} ${site} ${basename(path).replace(/^\d+/, "")}`;
  return `${kind} ${site}`;
}

/** Opens the log of the data folder on a fake disk. */
export async function openSmallLog(
  fileSystem: FileSystem,
  clock: Clock,
  options: Partial<LogOptions>,
  dataFolder = DATA_FOLDER,
): Promise<Log> {
  const folder = await openDataFolder({ folder: dataFolder, fileSystem, lock: noLock });
  return openLog({
    folder: folder.logFolder("default"),
    name: "default",
    fileSystem,
    clock,
    codec: testCodec,
    options: { ...SMALL, ...options },
  });
}

/** Lives through `lives` lives; returns what went wrong, in sentences. */
export async function simulate(options: SimulationOptions): Promise<string[]> {
  const simulation = new Simulation(options);
  for (let life = 1; life <= options.lives && simulation.violations.length === 0; life++) {
    await simulation.live(life === options.lives);
  }
  return simulation.violations;
}

class Simulation {
  readonly violations: string[] = [];
  readonly #options: SimulationOptions;
  readonly #random: () => number;
  readonly #disk: FakeFileSystem;
  readonly #clock = new ManualClock();
  readonly #checker: CrashChecker;
  /** Batches of idempotent producers, by producer: sent once or more. */
  readonly #batches = new Map<string, number>();
  /** What an entry refers to in the dictionary, by its payload. */
  readonly #references = new Map<string, { readonly id: number; readonly text: string }>();
  #payloads = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#disk = new FakeFileSystem(this.#random);
    this.#checker = new CrashChecker(options.allowances);
  }

  /** One process, from its start to its end. The last one ends well. */
  async live(isLast: boolean): Promise<void> {
    this.#disk.plan = this.#plan(
      isLast ? Number.POSITIVE_INFINITY : between(this.#random, 3, this.#options.isPersistent === true ? 600 : 150),
    );
    try {
      const log = await this.#open();
      await this.#verify(log);
      await this.#work(log, isLast);
      if (isLast) await this.#end(log);
    } catch (error) {
      // A log that cannot be opened because of an injected fault is opened in the next life.
      if (!this.#disk.isDead && !isInjected(error))
        this.violations.push(`failed: ${error instanceof Error ? error.stack : String(error)}`);
    }
    this.#crash();
  }

  #open(): Promise<Log> {
    // An index takes 17 KB: one sealed segment is kept, or some.
    const retentionBytes = this.#options.allowances.retention ? between(this.#random, 6000, 80_000) : undefined;
    // Some lives compress what those before left plain.
    const compressAfterMs = this.#random() < 0.5 ? 0 : undefined;
    return openSmallLog(this.#disk.fileSystem, this.#clock, { retentionBytes, compressAfterMs });
  }

  /** Ends the process after so many operations; now and then something fails before. */
  #plan(operations: number): (operation: Operation) => Fate {
    let left = operations;
    const isFaulty = Number.isFinite(operations) && this.#random() < 0.3;
    return (operation) => {
      if (operation.kind === "sync" || operation.kind === "sync-folder") {
        const site = siteOf(operation);
        this.#options.onSync?.(site);
        if (site === this.#options.ignoredSite) return "ignored";
      }
      left--;
      if (left <= 0) return this.#random() < 0.5 ? "killed" : "killed-within";
      if (!isFaulty || this.#random() > 0.05) return "done";
      return faultOf(operation, this.#random);
    };
  }

  async #verify(log: Log): Promise<void> {
    const found = await readAll(log.reader);
    this.violations.push(...this.#checker.check(found));
    for (const { payload } of found.entries) {
      const reference = this.#references.get(payload);
      const known = reference && log.dictionary.find(reference.id);
      if (reference === undefined || (known && Buffer.from(known.bytes).toString() === reference.text)) continue;
      this.violations.push(`entry ${payload} refers to ${reference.id}, which the dictionary does not know`);
    }
  }

  async #work(log: Log, isLast: boolean): Promise<void> {
    const writers = Array.from({ length: 3 }, (_, i) => this.#write(log, `producer-${i}`, isLast ? 5 : 1000));
    const follower = this.#follow(log);
    const time = this.#passTime(log);
    await Promise.all(writers);
    follower.stop();
    time.stop();
    await Promise.all([follower.done, time.done]);
  }

  /** Appends batches, some of them a second time, as a client does whose answer was lost. */
  async #write(log: Log, producer: string, count: number): Promise<void> {
    for (let i = 0; i < count && this.#isRunning(log); i++) {
      const known = this.#batches.get(producer) ?? 0;
      const isRetry = known > 0 && this.#random() < 0.3;
      const first = isRetry ? between(this.#random, 1, known) : known + 1;
      this.#batches.set(producer, Math.max(known, first));
      try {
        await this.#send(log, producer, first);
      } catch {
        // Refused: disk full, read-only, dead. A real client tries again later, so does this one.
        await turn();
      }
    }
  }

  #isRunning(log: Log): boolean {
    const { kind } = log.state.writer;
    return !this.#disk.isDead && (kind === "open" || (kind === "read-only" && this.#options.isPersistent === true));
  }

  /** One entry with a producer's number, unless the log has it. */
  async #send(log: Log, producer: string, number: number): Promise<void> {
    const { writer } = log;
    const known = writer.producer(producer);
    const payload = `${producer}-${number}${"x".repeat(number % 40)}`;
    if (known !== undefined && known.lastProducerSequence >= number) {
      await writer.durable(known.lastSequence);
      return;
    }
    const text = `shared by ${number % 23}`;
    using lease = log.dictionary.lease();
    const id = await lease.intern(SHARED, Buffer.from(text));
    // Somebody else may have been quicker meanwhile.
    if ((writer.producer(producer)?.lastProducerSequence ?? 0) >= number) return;
    if (id !== undefined) this.#references.set(payload, { id, text });
    this.#checker.attempt(payload);
    this.#payloads++;
    const entry = {
      timestamp: BigInt(this.#payloads),
      severity: (number % 24) + 1,
      label: `app-${number % 5}`,
      payload,
    };
    const batch = makeBatch(writer, [entry], { id: producer, first: number });
    const { epoch } = writer;
    const sequence = await writer.append(writer.next, batch);
    this.violations.push(...this.#checker.promise({ epoch, sequence, payload }));
  }

  /** What a reader at the head gets is a promise too. */
  #follow(log: Log): Background {
    const scan = log.reader.scan(log.reader.head.sequence);
    return background(async () => {
      const run = await scan.next(1000);
      if (run?.kind !== "entries") return;
      for (const entry of decodeRun(run)) this.violations.push(...this.#checker.promise(place(entry)));
    });
  }

  #passTime(log: Log): Background {
    return background(async () => {
      if (this.#isRunning(log) && this.#random() < 0.2) this.#clock.advance(60);
      await turn();
    });
  }

  async #end(log: Log): Promise<void> {
    await log[Symbol.asyncDispose]();
    if (this.#clock.timers > 0) this.violations.push(`${this.#clock.timers} timers were left`);
    const { fileSystem } = this.#disk;
    const report = await examineDataFolder({
      folder: DATA_FOLDER,
      fileSystem,
      codec: testCodec,
      clock: this.#clock,
      repair: false,
      lock: noLock,
    });
    if (!report.isHealthy) this.violations.push(`not healthy: ${JSON.stringify(report)}`);
  }

  #crash(): void {
    this.#clock.forgetTimers();
    const how = this.#random();
    if (how < 0.4) {
      this.#disk.kill();
      return;
    }
    this.#disk.cutPower(how < 0.6 ? "nothing-unsynced" : "any-part-unsynced");
    // After a power cut only: the mark that is read then is a durable one.
    if (this.#options.allowances.loss && this.#random() < 0.5) this.#breakPromise();
  }

  /** The disk loses what it had said was durable: the end of the last segment, from before the mark on. */
  #breakPromise(): void {
    if (!this.#disk.hasFolder(LOG_FOLDER)) return;
    const names = this.#disk.names(LOG_FOLDER);
    const last = names.findLast((name) => name.endsWith(".frames"));
    if (last === undefined || !names.includes("EPOCHS")) return;
    if (this.#disk.bytesOf(`${LOG_FOLDER}/EPOCHS`).length === 0) return;
    const { mark } = JSON.parse(this.#disk.bytesOf(`${LOG_FOLDER}/EPOCHS`).toString().split("\n")[0]!) as EpochsFile;
    const path = `${LOG_FOLDER}/${last}`;
    const durable = Number(last.slice(0, 20)) === mark.segment ? mark.bytes : 0;
    if (durable > 0) this.#disk.shorten(path, Math.floor(durable * this.#random()));
  }
}

function isInjected(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = errorCode(error);
  return code === "EIO" || code === "ENOSPC" || isInjected(error.cause);
}

export const noLock = (): Disposable => ({ [Symbol.dispose]: () => undefined });

function faultOf({ kind }: Operation, random: () => number): Fate {
  if (kind === "write" || kind === "create") return { code: random() < 0.8 ? "ENOSPC" : "EIO" };
  if (kind === "sync" || kind === "sync-folder" || kind === "truncate") return { code: "EIO" };
  return "done";
}

interface Background {
  stop(): void;
  readonly done: Promise<void>;
}

/** Repeats until it is stopped; what fails in a dying process does not matter. */
function background(step: () => Promise<void>): Background {
  let isStopped = false;
  const run = async () => {
    while (!isStopped) {
      await step().catch(() => undefined);
      await turn();
    }
  };
  return {
    stop: () => {
      isStopped = true;
    },
    done: run(),
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function place({ epoch, sequence, payload }: PlacedEntry): PlacedEntry {
  return { epoch, sequence, payload };
}

/** Everything from the first entry to the head, as a reader gets it. */
export async function readAll(reader: LogReader, maxBytes = 1000): Promise<FoundLog> {
  const entries: PlacedEntry[] = [];
  const gaps: GapRun[] = [];
  const scan = reader.scan(reader.first - 1);
  let run: Run | undefined = await scan.next(maxBytes);
  while (run !== undefined) {
    if (run.kind === "gap") gaps.push(run);
    else entries.push(...decodeRun(run).map(place));
    run = await scan.next(maxBytes);
  }
  scan.close();
  return { first: reader.first, head: reader.head, epochs: reader.epochs, entries, gaps };
}
