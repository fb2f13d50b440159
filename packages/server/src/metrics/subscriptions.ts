// All subscriptions: those who ask for the same share a selection, which ends with the last of them.
import type { Call } from "@sluice/rpc";
import { Draining, LimitExceeded } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { Clock } from "../store/contract.ts";
import { Heartbeats } from "../stream/heartbeat.ts";
import { Durations } from "../telemetry/durations.ts";
import type { Instrument, Reporter } from "../telemetry/instrument.ts";
import type { HistoryLog } from "./history/history-log.ts";
import { type MetricsQuery, seriesIn } from "./query.ts";
import { Selection } from "./selection.ts";
import type { SeriesTable } from "./series.ts";
import { findPast } from "./past.ts";
import { type Past, Subscription } from "./subscription.ts";

export interface SubscriptionsOptions {
  readonly table: SeriesTable;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Absent: no history is kept. */
  readonly log?: HistoryLog | undefined;
  /** Has measured what is measured only when asked. */
  readonly refresh: (matchesName: (name: string) => boolean) => void;
}

/** Selections whose rounds are in the same turn. */
const ALIGNED = 16;
const GOLDEN = (Math.sqrt(5) - 1) / 2;
/** Seconds. */
const LATE_BOUNDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
const LATE: Instrument = {
  name: "sluice.metric.round.delay",
  type: "histogram",
  unit: "s",
  description: "How late rounds of subscriptions to metrics began",
};
const SELECTIONS: Instrument = {
  name: "sluice.metric.selections",
  type: "gauge",
  unit: "{selection}",
  description: "Different things that subscriptions to metrics ask for: each is encoded once",
};

export class Subscriptions implements Disposable {
  readonly #options: SubscriptionsOptions;
  readonly #heartbeats: Heartbeats;
  readonly #selections = new Map<string, Selection>();
  readonly #open = new Set<Subscription>();
  readonly #rounds = new Durations(LATE_BOUNDS);
  #isDraining = false;
  #phase = 0;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#heartbeats = new Heartbeats(options.clock);
  }

  /** What it counts of itself. */
  readonly reporter: Reporter = {
    instruments: [LATE, SELECTIONS],
    report: (report) => {
      report(LATE, this.#rounds);
      report(SELECTIONS, this.#selections.size);
    },
  };

  get size(): number {
    return this.#open.size;
  }

  /** @throws LimitExceeded, Draining */
  open(query: MetricsQuery, call: Call): Subscription {
    const { clock, limits } = this.#options;
    if (this.#isDraining && query.mode !== "once") throw new Draining();
    if (this.#open.size >= limits.subscriptionsMax) {
      const text = `Cannot subscribe to metrics: the server has ${this.#open.size} subscriptions, its limit`;
      throw new LimitExceeded(text, "subscriptions to metrics");
    }
    const { selection, key } = this.#selectionOf(query);
    const past = this.#begin(query, selection, key);
    const subscription = new Subscription({
      query,
      past,
      selection,
      heartbeats: this.#heartbeats,
      clock,
      onClose: (ended) => {
        this.#open.delete(ended);
        this.#leave(selection, key);
      },
    });
    this.#open.add(subscription);
    call.onEnd(() => subscription.close());
    return subscription;
  }

  /** Ends all with UNAVAILABLE; new ones are refused. */
  drain(): void {
    this.#isDraining = true;
    for (const subscription of this.#open) subscription.interrupt();
  }

  [Symbol.dispose](): void {
    for (const subscription of this.#open) subscription.close();
  }

  /** What comes first. @throws LimitExceeded, and what `findPast` throws: then the selection is left as it was */
  #begin(query: MetricsQuery, selection: Selection, key: string): Past | undefined {
    try {
      if (query.seriesMax > 0 && selection.isFull) this.#refuseTooMany(query);
      return findPast(query, selection, this.#options.log);
    } catch (error) {
      this.#leave(selection, key);
      throw error;
    }
  }

  #leave(selection: Selection, key: string): void {
    if (selection.subscribers > 0) return;
    this.#selections.delete(key);
    selection[Symbol.dispose]();
  }

  #selectionOf(query: MetricsQuery): { readonly selection: Selection; readonly key: string } {
    const { table, clock, limits, refresh, log } = this.#options;
    const cursor = (): string => log?.cursor ?? "";
    const { intervalMs, mode, resendMs, suppressRedundant, counterMode, seriesMax, quantiles } = query;
    const manner = [intervalMs, mode, resendMs, suppressRedundant, counterMode, seriesMax, quantiles];
    const key = JSON.stringify([query.key, ...manner]);
    const known = this.#selections.get(key);
    if (known !== undefined) return { selection: known, key };
    refresh(query.matchesName);
    const max = seriesMax === 0 ? limits.seriesMax : seriesMax;
    const phaseMs = this.#nextPhase() * intervalMs;
    const onRound = (lateMs: number): void => this.#rounds.add(lateMs / 1000);
    const selection = new Selection({ query, table, clock, seriesMax: max, refresh, cursor, phaseMs, onRound });
    this.#selections.set(key, selection);
    return { selection, key };
  }

  /**
   * Where in its interval a new selection has its rounds, 0 to 1. A few are told in one turn, and what they measure is measured
   * once; thousands would hold the event loop in that turn, so further ones lie as far from each other as can be (the golden ratio).
   */
  #nextPhase(): number {
    if (this.#selections.size < ALIGNED) return 0;
    this.#phase = (this.#phase + GOLDEN) % 1;
    return this.#phase;
  }

  #refuseTooMany(query: MetricsQuery): void {
    let count = 0;
    for (const _ of seriesIn(this.#options.table, query)) count++;
    if (count <= query.seriesMax) return;
    const text = `Cannot subscribe: ${count} series match, max_series is ${query.seriesMax}; name fewer or raise it`;
    throw new LimitExceeded(text, "series of a subscription");
  }
}
