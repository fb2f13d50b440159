// What all parts of a queue's engine share: its jobs, its own state, the time, and the way into the journal.
import type { EngineOptions, Journal, NewRecord, Place, Settings } from "../contract.ts";
import { DEFAULT_SETTINGS } from "../settings.ts";
import { DedupWindow } from "./dedup-window.ts";
import { Jobs } from "./jobs.ts";
import { type QueueFacts, queueRecord, type Totals } from "./records.ts";
import { Schedules } from "./schedules.ts";

/** Bounds of what is kept in memory beside the jobs themselves. */
const DEDUP_IDS_MAX = 2_000_000;
export const KEYS_MAX = 1_000_000;

/** Of the clock: some milliseconds. */
const REPLAYED_PER_LOOK = 1024;

const NS_PER_MS = 1_000_000n;
const TWO_32 = 2 ** 32;

export class QueueCore {
  readonly name: string;
  readonly jobs = new Jobs(DEFAULT_SETTINGS);
  readonly dedup = new DedupWindow(DEDUP_IDS_MAX);
  readonly schedules = new Schedules();
  readonly totals: Totals = { enqueued: 0, done: 0, expired: 0, removed: 0, failures: 0 };
  readonly random: () => number;
  settings: Settings = DEFAULT_SETTINGS;
  createdAtMs = 0;
  isPaused = false;
  incarnation = 0;
  nextNumber = 1;
  /** Of the last record: what was decided until now is durable when it is. */
  lastPlace: Place = 0;
  /** Of the last QueueState. */
  statePlace: Place = 0;
  readonly #clock: EngineOptions["clock"];
  #journal: Journal | undefined;
  #attempts = 0;
  #nowMs = 0;
  #replayed = 0;

  constructor(options: EngineOptions) {
    this.name = options.name;
    this.random = options.random;
    this.#clock = options.clock;
  }

  get clock(): EngineOptions["clock"] {
    return this.#clock;
  }

  get journal(): Journal {
    if (this.#journal === undefined) throw new Error(`Cannot use queue "${this.name}": it is not open`);
    return this.#journal;
  }

  /** Unix ms. It never goes back, whatever the system's clock does. */
  now(): number {
    this.#nowMs = Math.max(this.#nowMs, Number(this.#clock.nowNs() / NS_PER_MS));
    return this.#nowMs;
  }

  /** About the same, for records that are replayed by the million: what has become due meanwhile is done by the opening. */
  replayTime(): number {
    if (this.#replayed++ % REPLAYED_PER_LOOK === 0) this.now();
    return this.#nowMs;
  }

  open(journal: Journal): void {
    this.#journal = journal;
  }

  /** @throws what `Journal.append` throws; nothing has changed then */
  append(record: NewRecord): Place {
    this.lastPlace = this.journal.append(record);
    return this.lastPlace;
  }

  /** Writes down the queue's own state, with what is about to change in it. */
  appendState(change: Partial<QueueFacts>): void {
    this.statePlace = this.append(this.stateRecord(change));
  }

  stateRecord(change: Partial<QueueFacts> = {}): NewRecord {
    const { settings, createdAtMs, isPaused, incarnation, nextNumber, totals } = this;
    const schedules = this.schedules.list();
    return queueRecord({ settings, createdAtMs, isPaused, incarnation, nextNumber, totals, schedules, ...change });
  }

  /** A number that was never an attempt before, also not before a restart: each opening is an incarnation. */
  newAttempt(): number {
    return this.incarnation * TWO_32 + ++this.#attempts;
  }

  applySettings(settings: Settings, nowMs: number): void {
    this.settings = settings;
    this.jobs.order.update(settings, nowMs);
  }
}
