// Plays a history on a fake disk and says what went wrong.
//
// Beside what the checker holds a log to after each start:
// H1. A reader is handed only what is on the disk, synced, at that moment.
// H2. What the index answers (scans, tails, statistics) equals what a plain look at every entry gives.
// H3. The producers' table knows at least what was acknowledged, so a retry finds its entries there.
// H4. Entries of a producer are there in its order, without a hole.
// H5. What an entry refers to in the dictionary is there.
import type { Clock, Run, Scan, Timer } from "../../packages/server/src/store/contract.ts";
import type { Log } from "../../packages/server/src/store/log.ts";
import type { Fate, Operation } from "./fake-file-system.ts";
import { SluiceError } from "../../packages/server/src/errors.ts";
import { errorCode } from "../../packages/server/src/store/file-system.ts";
import { decodeRun } from "../../packages/server/src/store/testing/frames.ts";
import { ManualClock } from "@sluice/rpc/testing";
import { CrashChecker } from "./crash-checker.ts";
import { seededRandom } from "./crash-random.ts";
import { LOG_FOLDER, openSmallLog, readAll } from "./crash-simulation.ts";
import { FakeFileSystem } from "./fake-file-system.ts";
import type { Death, History, Step } from "./history-steps.ts";
import { compareAnswers, compareStatistics, readEntries, verifyProducers, verifyReferences } from "./history-verify.ts";
import { HistoryWriters } from "./history-writers.ts";

/** A log whose opening an injected fault has prevented is opened again; the second time the disk is well. */
const OPENINGS_MAX = 4;

/**
 * Plays it to its end, or to the first thing that is wrong. Returns that, in sentences.
 * @param onOperation hears of all that the log asks of the disk
 */
export async function playHistory(
  history: History,
  onOperation: (operation: Operation) => void = () => undefined,
): Promise<string[]> {
  const player = new Player(history, onOperation);
  try {
    await player.play();
  } catch (error) {
    player.violations.push(`failed: ${error instanceof Error ? error.stack : String(error)}`);
  }
  return player.violations;
}

/** The clock as one process has it: when that has ended, what still runs of it sets no timer any more. */
class Life implements Clock {
  readonly #clock: ManualClock;
  #isOver = false;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  nowNs(): bigint {
    return this.#clock.nowNs();
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  setTimer(callback: () => void, ms: number): Timer {
    return this.#isOver ? { cancel() {} } : this.#clock.setTimer(callback, ms);
  }

  end(): void {
    this.#isOver = true;
    this.#clock.forgetTimers();
  }
}

class Player {
  readonly violations: string[] = [];
  readonly #history: History;
  readonly #disk: FakeFileSystem;
  readonly #clock = new ManualClock();
  readonly #checker: CrashChecker;
  readonly #writers: HistoryWriters;
  /** Of the process that runs now. */
  #life = new Life(this.#clock);
  #log: Log | undefined;
  #follower: Scan | undefined;
  #death: Death | undefined;
  #isFull = false;
  #failing: Extract<Step, { kind: "fail" }> | undefined;
  /** Operations until the planned death, and until the planned failure. */
  #untilDeath = 0;
  #untilFailure = 0;

  constructor(history: History, onOperation: (operation: Operation) => void) {
    const { retentionAgeMs, retentionBytes } = history.options;
    const retention = retentionAgeMs !== undefined || retentionBytes !== undefined;
    this.#history = history;
    this.#disk = new FakeFileSystem(seededRandom(history.seed + 1));
    this.#checker = new CrashChecker({ retention, loss: false });
    this.#writers = new HistoryWriters({
      checker: this.#checker,
      violations: this.violations,
      log: () => this.#log,
      isExpected: (error) => error instanceof SluiceError || this.#disk.isDead || isInjected(error),
    });
    this.#disk.plan = (operation) => {
      onOperation(operation);
      return this.#fateOf(operation);
    };
  }

  async play(): Promise<void> {
    await this.#start();
    for (const step of this.#history.steps) {
      if (this.violations.length > 0) return;
      await this.#do(step);
      if (this.#disk.isDead) await this.#die();
    }
    this.#beWell();
    await this.#writers.answered();
    await this.#restart();
    await this.#log?.[Symbol.asyncDispose]();
    if (this.#clock.timers > 0) this.violations.push(`${this.#clock.timers} timers were left`);
  }

  async #do(step: Step): Promise<void> {
    switch (step.kind) {
      case "write":
        return this.#writers.write(step);
      case "write again":
        return this.#writers.writeAgain(step.producer);
      case "wait for answers":
        return this.#writers.answered();
      case "turns":
        for (let i = 0; i < step.count; i++) await turn();
        return;
      case "pass time":
        this.#clock.advance(step.ms);
        return turn();
      case "follow":
        return this.#follow();
      case "ask":
        return this.#ask(step);
      case "fill disk":
        this.#isFull = step.isFull;
        return;
      case "fail":
        this.#failing = step;
        this.#untilFailure = step.nth;
        return;
      case "crash":
        return this.#planCrash(step);
      case "restart":
        return this.#restart();
      default:
        return step satisfies never;
    }
  }

  /** Each operation of the process passes here. */
  #fateOf(operation: Operation): Fate {
    if (this.#death !== undefined && --this.#untilDeath <= 0) return this.#death.isWithin ? "killed-within" : "killed";
    if (this.#failing?.operation === operation.kind && --this.#untilFailure <= 0) {
      const { code } = this.#failing;
      this.#failing = undefined;
      return { code };
    }
    const needsRoom = operation.kind === "write" || operation.kind === "create";
    return this.#isFull && needsRoom ? { code: "ENOSPC" } : "done";
  }

  // --- Lives and deaths ---

  async #start(): Promise<void> {
    for (let opening = 1; this.#log === undefined; opening++) {
      try {
        const { fileSystem } = this.#disk;
        this.#log = await openSmallLog(fileSystem, this.#life, this.#history.options);
      } catch (error) {
        if (this.#disk.isDead) this.#cut();
        else if (!isInjected(error) || opening >= OPENINGS_MAX) throw error;
        else this.#beWell();
        this.#endLife();
      }
    }
    this.#follower = this.#log.reader.scan(this.#log.reader.head.sequence);
    await this.#verify(this.#log);
  }

  async #restart(): Promise<void> {
    await this.#writers.answered();
    if (!this.#disk.isDead) await close(this.#log);
    if (this.#disk.isDead) return; // the step's end sees to it
    this.#log = undefined;
    await this.#start();
  }

  /** One crash at a time: an older plan that was not reached happens now. */
  async #planCrash(step: Extract<Step, { kind: "crash" }>): Promise<void> {
    if (this.#death !== undefined) {
      this.#disk.kill();
      await this.#die();
    }
    this.#plan(step);
  }

  #plan(death: Death): void {
    this.#death = death;
    this.#untilDeath = death.after;
  }

  /** The process has ended: what it had open is gone, what it still wanted fails, the next one starts. */
  async #die(): Promise<void> {
    const again = this.#death?.again;
    await this.#writers.answered();
    this.#log = undefined;
    this.#endLife();
    this.#cut();
    if (again !== undefined) this.#plan(again);
    await this.#start();
    this.#death = undefined;
  }

  #cut(): void {
    const { disk = "cached" } = this.#death ?? {};
    this.#death = undefined;
    if (disk === "cached") this.#disk.kill();
    else this.#disk.cutPower(disk);
  }

  #endLife(): void {
    this.#life.end();
    this.#life = new Life(this.#clock);
  }

  #beWell(): void {
    this.#isFull = false;
    this.#failing = undefined;
  }

  // --- Readers ---

  /** H1. */
  async #follow(): Promise<void> {
    const log = this.#log;
    if (log === undefined || this.#follower === undefined) return;
    const readable = (run: Run): boolean => {
      if (run.kind !== "entries") return true;
      for (const { epoch, sequence, payload } of decodeRun(run)) {
        this.violations.push(...this.#checker.promise({ epoch, sequence, payload }));
        if (this.#isDurable(sequence, payload)) continue;
        this.violations.push(`a reader was handed ${sequence} "${payload}", which is not on the disk`);
      }
      return true;
    };
    try {
      for (let run = await this.#follower.next(700); run !== undefined; run = await this.#follower.next(700))
        readable(run);
    } catch (error) {
      this.#readFailed(error);
    }
  }

  #isDurable(sequence: number, payload: string): boolean {
    const plain = this.#disk
      .names(LOG_FOLDER)
      .findLast((name) => name.endsWith(".frames") && Number.parseInt(name, 10) <= sequence);
    // What is compressed was sealed, so it was synced long ago; that its file is whole is seen by the next start.
    if (plain === undefined || this.#disk.names(LOG_FOLDER).some((name) => name.startsWith(plain) && name !== plain))
      return true;
    return this.#disk.durableBytesOf(`${LOG_FOLDER}/${plain}`).includes(payload);
  }

  /** H2. */
  async #ask(question: Extract<Step, { kind: "ask" }>): Promise<void> {
    if (this.#log === undefined) return;
    try {
      this.violations.push(...(await compareAnswers(this.#log, question)));
    } catch (error) {
      this.#readFailed(error);
    }
  }

  /** Only a process that ends under a reader, or a disk that fails, may cost it its answer. */
  #readFailed(error: unknown): void {
    if (this.#disk.isDead || isInjected(error)) return;
    this.violations.push(`a read failed: ${error instanceof Error ? error.stack : String(error)}`);
  }

  // --- What is there after a start ---

  async #verify(log: Log): Promise<void> {
    try {
      const found = await readAll(log.reader);
      if (this.#disk.isDead) return;
      this.violations.push(...this.#checker.check(found));
      const all = await readEntries(log, undefined, 4000);
      if (log.reader.first === found.first) this.violations.push(...compareStatistics(log.reader.labels(), all));
      this.violations.push(...verifyProducers(log, this.#writers.producers, all));
      this.violations.push(...verifyReferences(log, this.#writers.references, all));
    } catch (error) {
      this.#readFailed(error);
    }
  }
}

function isInjected(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = errorCode(error);
  return code === "EIO" || code === "ENOSPC" || isInjected(error.cause);
}

/** Closes a log whose process may end meanwhile. */
async function close(log: Log | undefined): Promise<void> {
  try {
    await log?.[Symbol.asyncDispose]();
  } catch (error) {
    if (!isInjected(error) && !(error instanceof SluiceError) && errorCode(error) !== "EDEAD") throw error;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
