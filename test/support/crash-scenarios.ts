// Short histories that lead to the one moment in which a certain sync matters. What the simulation finds by chance is
// found here on purpose.
import type { Log, LogOptions } from "../../packages/server/src/store/log.ts";
import type { Allowances } from "./crash-checker.ts";
import type { Operation } from "./fake-file-system.ts";
import { backUp, restoreBackup } from "../../packages/server/src/store/backup.ts";
import { CrashChecker } from "./crash-checker.ts";
import { ManualClock } from "@sluice/rpc/testing";
import { makeBatch, testCodec } from "../../packages/server/src/store/testing/frames.ts";
import { between, seededRandom } from "./crash-random.ts";
import { DATA_FOLDER, LOG_FOLDER, noLock, openSmallLog, readAll, siteOf } from "./crash-simulation.ts";
import { FakeFileSystem } from "./fake-file-system.ts";

/** Plays a history; returns what went wrong, in sentences. `ignoredSite` is the sync that is taken out of the code. */
export type Scenario = (
  seed: number,
  ignoredSite: string | undefined,
  /** Hears of every sync. */
  onSync?: (site: string) => void,
) => Promise<string[]>;

class Stage {
  readonly random: () => number;
  readonly disk: FakeFileSystem;
  readonly clock = new ManualClock();
  readonly checker: CrashChecker;
  readonly violations: string[] = [];
  /** Ends the process before the first operation of which this is true. */
  killBefore: (operation: Operation) => boolean = () => false;

  constructor(
    seed: number,
    ignoredSite: string | undefined,
    allowances: Allowances,
    onSync: (site: string) => void = () => undefined,
  ) {
    this.random = seededRandom(seed);
    this.disk = new FakeFileSystem(this.random);
    this.checker = new CrashChecker(allowances);
    this.disk.plan = (operation) => {
      if (this.killBefore(operation)) return "killed";
      if (operation.kind.startsWith("sync")) onSync(siteOf(operation));
      return siteOf(operation) === ignoredSite ? "ignored" : "done";
    };
  }

  open(options: Partial<LogOptions> = {}): Promise<Log> {
    return openSmallLog(this.disk.fileSystem, this.clock, options);
  }

  /** Appends one entry of a producer, and takes the answer for a promise. */
  async write(log: Log, producer: string, number: number): Promise<void> {
    const payload = `${producer}-${number}-${"x".repeat(200)}`;
    const { writer } = log;
    const { epoch } = writer;
    this.checker.attempt(payload);
    const entry = { timestamp: BigInt(number), severity: 9, label: "app", payload };
    const batch = makeBatch(writer, [entry], { id: producer, first: number });
    const sequence = await writer.append(writer.next, batch);
    this.violations.push(...this.checker.promise({ epoch, sequence, payload }));
  }

  /** What a client does whose answer was lost: nothing, when the log knows the entry. */
  async retry(log: Log, producer: string, number: number): Promise<void> {
    const known = log.writer.producer(producer)?.lastProducerSequence ?? 0;
    if (known < number) await this.write(log, producer, number);
  }

  async verify(log: Pick<Log, "reader">): Promise<void> {
    this.violations.push(...this.checker.check(await readAll(log.reader)));
  }

  cutPower(mode: "nothing-unsynced" | "any-part-unsynced"): void {
    this.killBefore = () => false;
    this.clock.forgetTimers();
    this.disk.cutPower(mode);
  }

  kill(): void {
    this.killBefore = () => false;
    this.clock.forgetTimers();
    this.disk.kill();
  }
}

/** Several segments go at once, and the power goes while they do. */
export const manySegmentsRetired: Scenario = async (seed, ignoredSite) => {
  const stage = new Stage(seed, ignoredSite, { retention: true, loss: false });
  const full = await stage.open();
  for (let number = 1; number <= 40; number++) await stage.write(full, "p", number);
  await full[Symbol.asyncDispose]();
  const retiring = await stage.open({ retentionBytes: 1 });
  let left = between(stage.random, 1, 12);
  stage.killBefore = () => --left < 0;
  stage.clock.advance(100);
  await close(retiring);
  stage.cutPower("any-part-unsynced");
  await stage.verify(await stage.open());
  return stage.violations;
};

/** Sealed segments are compressed; the process ends at any step of it, and the power goes. */
export const compressionInterrupted: Scenario = async (seed, ignoredSite) => {
  const stage = new Stage(seed, ignoredSite, { retention: false, loss: false });
  const full = await stage.open();
  for (let number = 1; number <= 20; number++) await stage.write(full, "p", number);
  await full[Symbol.asyncDispose]();
  const compressing = await stage.open({ compressAfterMs: 0 });
  let left = between(stage.random, 1, 40);
  stage.killBefore = () => --left < 0;
  stage.clock.advance(100);
  for (let turns = 0; turns < 60 && !stage.disk.isDead; turns++) await turn();
  await close(compressing);
  stage.cutPower(seed % 2 === 0 ? "any-part-unsynced" : "nothing-unsynced");
  await stage.verify(await stage.open());
  return stage.violations;
};

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Closes a log whose process may be dead. */
async function close(log: Log): Promise<void> {
  try {
    await log[Symbol.asyncDispose]();
  } catch {
    // It ended before it could.
  }
}

/** A producer's only entry is retired; then the power goes, and the producer tries again. */
export const idleProducerRetired: Scenario = async (seed, ignoredSite) => {
  const stage = new Stage(seed, ignoredSite, { retention: true, loss: false });
  const log = await stage.open({ retentionBytes: 1 });
  await stage.write(log, "idle", 1);
  for (let number = 1; number <= 40; number++) await stage.write(log, "busy", number);
  await log[Symbol.asyncDispose]();
  stage.cutPower("nothing-unsynced");
  const next = await stage.open();
  await stage.retry(next, "idle", 1);
  await stage.verify(next);
  return stage.violations;
};

/** Durable entries are lost, a new epoch is begun and written in; then the power goes. */
export const newEpochThenPowerCut: Scenario = async (seed, ignoredSite) => {
  const stage = new Stage(seed, ignoredSite, { retention: false, loss: true });
  await loseDurableEntries(stage);
  await writeOn(stage);
  stage.cutPower("nothing-unsynced");
  await stage.verify(await stage.open());
  return stage.violations;
};

/** The same, but the process that begins the new epoch ends before its name is durable; the next one writes on. */
export const newEpochInterrupted: Scenario = async (seed, ignoredSite) => {
  const stage = new Stage(seed, ignoredSite, { retention: false, loss: true });
  await loseDurableEntries(stage);
  stage.killBefore = ({ site, kind }) => site === "writeAtomically" && kind === "sync-folder";
  await stage.open().catch(() => undefined);
  stage.kill();
  await writeOn(stage);
  stage.cutPower("nothing-unsynced");
  await stage.verify(await stage.open());
  return stage.violations;
};

/** A log with five entries, cut by its disk in the midst of them. */
async function loseDurableEntries(stage: Stage): Promise<void> {
  const log = await stage.open();
  for (let number = 1; number <= 5; number++) await stage.write(log, "p", number);
  await log[Symbol.asyncDispose]();
  stage.kill();
  stage.disk.shorten(`${LOG_FOLDER}/00000000000000000001.frames`, between(stage.random, 1, 1000));
}

async function writeOn(stage: Stage): Promise<void> {
  const log = await stage.open();
  for (let number = 6; number <= 8; number++) await stage.write(log, "p", number);
}

const BACKUP = "/backup";
const RESTORED = "/restored";

function copying(stage: Stage) {
  return { backup: BACKUP, fileSystem: stage.disk.fileSystem, codec: testCodec, clock: stage.clock, lock: noLock };
}

/** The power goes after a backup was made beside a log that is open; it is restored, and the power goes again. */
export const backedUpThenPowerCut: Scenario = async (seed, ignoredSite, onSync) => {
  const stage = new Stage(seed, ignoredSite, { retention: false, loss: true }, onSync);
  const log = await stage.open();
  const count = between(stage.random, 1, 20);
  for (let number = 1; number <= count; number++) await stage.write(log, "p", number);
  const mode = seed % 2 === 0 ? "any-part-unsynced" : "nothing-unsynced";
  try {
    await backUp({ ...copying(stage), folder: DATA_FOLDER, prune: false });
    stage.cutPower(mode);
    await restoreBackup({ ...copying(stage), folder: RESTORED, random: stage.random });
    stage.cutPower(mode);
    const restored = await openSmallLog(stage.disk.fileSystem, stage.clock, {}, RESTORED);
    await stage.verify(restored);
    await close(restored);
  } catch (error) {
    stage.violations.push(`failed: ${String(error)}`);
  }
  return stage.violations;
};

/** A backup is being brought up to date when the power goes: what it had before, it still has. */
export const laterBackupInterrupted: Scenario = async (seed, ignoredSite, onSync) => {
  const stage = new Stage(seed, ignoredSite, { retention: false, loss: true }, onSync);
  const log = await stage.open({ compressAfterMs: 0 });
  for (let number = 1; number <= 10; number++) await stage.write(log, "p", number);
  const [copied] = await backUp({ ...copying(stage), folder: DATA_FOLDER, prune: false });
  for (let number = 11; number <= 30; number++) await stage.write(log, "p", number);
  stage.clock.advance(100);
  for (let turns = 0; turns < 60; turns++) await turn();
  let left = between(stage.random, 1, 100);
  stage.killBefore = () => --left < 0;
  await backUp({ ...copying(stage), folder: DATA_FOLDER, prune: false }).catch(() => undefined);
  stage.cutPower("any-part-unsynced");
  await restoreBackup({ ...copying(stage), folder: RESTORED, random: stage.random });
  const { reader } = await openSmallLog(stage.disk.fileSystem, stage.clock, {}, RESTORED);
  await stage.verify({ reader });
  if (reader.head.sequence < copied!.last)
    stage.violations.push(`the backup had ${copied!.last} entries, it has lost some`);
  return stage.violations;
};

/** A process ends before its last entry is durable; a backup takes the entry for one; then the power goes. */
export const backupAheadOfItsLog: Scenario = async (seed, ignoredSite, onSync) => {
  const stage = new Stage(seed, ignoredSite, { retention: false, loss: false }, onSync);
  const log = await stage.open();
  await stage.write(log, "p", 1);
  stage.killBefore = ({ site }) => site === "append";
  await stage.write(log, "p", 2).catch(() => undefined);
  stage.kill();
  const [copied] = await backUp({ ...copying(stage), folder: DATA_FOLDER, prune: false });
  stage.cutPower("nothing-unsynced");
  const { reader } = await stage.open();
  if (copied!.last > reader.head.sequence)
    stage.violations.push(`the backup has ${copied!.last}, which the log has lost`);
  return stage.violations;
};
