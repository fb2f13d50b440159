// All series that are known, each with its newest point.
//
// M1. A series is one object for as long as it is there; what is asked of its past is asked of whoever kept count.
// M2. Bounded: beyond `seriesMax` new series are refused, known ones go on. One that had no point for `silentMs`, although its
//     source could be heard, is stale: its subscribers are told, and it goes.
import { LimitExceeded } from "../errors.ts";
import type { Clock, Timer } from "../store/contract.ts";
import { ByteSink } from "../stream/byte-sink.ts";

export type MetricType = "counter" | "gauge" | "histogram" | "summary";

/** What makes a series: all of it, and nothing else. */
export interface SeriesDescription {
  readonly name: string;
  readonly type: MetricType;
  /** UCUM. */
  readonly unit: string;
  readonly description: string;
  /** By name; what subscribers see and match. */
  readonly labels: readonly (readonly [name: string, value: string])[];
  /** What else tells it from others: resource and scope of its producer. */
  readonly origin: string;
  /** Whose it is, by the name of the subject; absent: the server's own. */
  readonly owner?: string;
  /** A gauge whose points are a counter: subscribers get its rate over their own interval, times this. */
  readonly rateScale?: number;
  /** No rate is told that is greater: clocks and counters are read one after the other. */
  readonly rateMax?: number;
  /**
   * Of what is measured only when somebody asks: when that was last, monotonic ms. While nobody looks it is not silent.
   * Absent: its source speaks by itself.
   */
  readonly lookedAtMs?: () => number;
}

/** A value at a time. */
export interface Point {
  readonly value: number;
  /** Where it is a whole number that a double may not hold. */
  readonly intValue?: bigint | undefined;
  /** Unix ns. */
  readonly timestampNs: bigint;
  /** Since when it has been counted, Unix ns; 0n: not known. */
  readonly startNs: bigint;
  /** Fields of MetricPoint beside those: a histogram, encoded with its tag. */
  readonly shape?: Uint8Array | undefined;
}

/** A series by what it is. Fields of its points are encoded when somebody is told of it, once. */
export class DescribedSeries {
  /** Stands for all of the description. */
  readonly key: string;
  readonly description: SeriesDescription;
  #head: Uint8Array | undefined;
  #introduction: Uint8Array | undefined;

  constructor(key: string, description: SeriesDescription) {
    this.key = key;
    this.description = description;
  }

  /** Fields of MetricPoint that every point of it has. */
  get head(): Uint8Array {
    return (this.#head ??= encodeHead(this.description));
  }

  /** Those that the first point on a stream has besides. */
  get introduction(): Uint8Array {
    return (this.#introduction ??= encodeIntroduction(this.description));
  }

  label(name: string): string {
    return this.description.labels.find(([each]) => each === name)?.[1] ?? "";
  }
}

/** A series that is live: one object for as long as it is there. */
export class Series extends DescribedSeries {
  point: Point;
  /** Points so far; the last of them may be that it is stale. */
  updates = 1;
  isStale = false;
  /** It has left the table. */
  isGone = false;
  /** The one before `point`: where the first rate that a subscriber gets begins. */
  previous: Point;
  seenMs: number;
  /** Its number in the history; -1: it has none yet. */
  historyId = -1;

  constructor(key: string, description: SeriesDescription, point: Point, seenMs: number) {
    super(key, description);
    this.point = point;
    this.previous = point;
    this.seenMs = seenMs;
  }
}

/** Hears of what happens to series. Called in the turn in which it happens. */
export interface SeriesListener {
  onAdded(series: Series): void;
  /** It has a newer point, or is stale. Absent: who does not want to hear of each. */
  onPoint?(series: Series): void;
  onRemoved(series: Series): void;
}

export interface SeriesTableOptions {
  readonly clock: Clock;
  readonly seriesMax: number;
  /** After so long without a point a series is stale. */
  readonly silentMs: number;
}

/** How long a stale series stays, so that everybody who has it hears of it. */
const FAREWELL_MS = 60_000;
const SWEEP_MS = 10_000;

export class SeriesTable implements Disposable {
  readonly #options: SeriesTableOptions;
  readonly #byKey = new Map<string, Series>();
  readonly #byName = new Map<string, Set<Series>>();
  readonly #listeners = new Set<SeriesListener>();
  /** Those of them that hear of each point. */
  readonly #pointListeners = new Set<SeriesListener>();
  readonly #sweeper: Timer[] = [];

  constructor(options: SeriesTableOptions) {
    this.#options = options;
    this.#sweepLater();
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** Names of metrics, in no order. */
  names(): Iterable<string> {
    return this.#byName.keys();
  }

  named(name: string): Iterable<Series> {
    return this.#byName.get(name) ?? [];
  }

  all(): Iterable<Series> {
    return this.#byKey.values();
  }

  find(key: string): Series | undefined {
    return this.#byKey.get(key);
  }

  listen(listener: SeriesListener): Disposable {
    this.#listeners.add(listener);
    if (listener.onPoint !== undefined) this.#pointListeners.add(listener);
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(listener);
        this.#pointListeners.delete(listener);
      },
    };
  }

  /**
   * Takes a point; answers what became of it: "old" and "same" ones change nothing. `key` stands for all of the description.
   * @throws LimitExceeded when the series is new and there are too many
   */
  write(key: string, point: Point, describe: () => SeriesDescription): "taken" | "old" | "same" {
    const known = this.#byKey.get(key);
    if (known === undefined) {
      this.add(key, point, describe);
      return "taken";
    }
    if (point.timestampNs <= known.point.timestampNs)
      return point.timestampNs < known.point.timestampNs ? "old" : "same";
    this.update(known, point);
    return "taken";
  }

  /** Makes a series that is not there. @throws LimitExceeded */
  add(key: string, point: Point, describe: () => SeriesDescription): Series {
    const series = new Series(key, describe(), point, this.#options.clock.monotonicMs());
    this.#add(key, series);
    return series;
  }

  /** Gives a series that is there a point that is newer than all it has. */
  update(series: Series, point: Point): void {
    series.seenMs = this.#options.clock.monotonicMs();
    series.previous = series.point;
    series.point = point;
    series.isStale = false;
    series.updates++;
    for (const listener of this.#pointListeners) listener.onPoint?.(series);
  }

  /** Its source says that there is no value any more. */
  end(series: Series, timestampNs: bigint): void {
    if (series.isStale) return;
    series.isStale = true;
    series.seenMs = this.#options.clock.monotonicMs();
    series.point = { ...series.point, timestampNs };
    series.updates++;
    for (const listener of this.#pointListeners) listener.onPoint?.(series);
  }

  [Symbol.dispose](): void {
    for (const timer of this.#sweeper.splice(0)) timer.cancel();
  }

  #add(key: string, series: Series): void {
    const { name } = series.description;
    const { seriesMax } = this.#options;
    if (this.#byKey.size >= seriesMax) {
      throw new LimitExceeded(
        `Cannot take a new series of "${name}": the server has ${seriesMax} of them, its limit; use labels with fewer values`,
        "series",
      );
    }
    this.#byKey.set(key, series);
    const named = this.#byName.get(name);
    if (named === undefined) this.#byName.set(name, new Set([series]));
    else named.add(series);
    for (const listener of this.#listeners) listener.onAdded(series);
  }

  #sweepLater(): void {
    this.#sweeper[0] = this.#options.clock.setTimer(() => {
      this.#sweep();
      this.#sweepLater();
    }, SWEEP_MS);
  }

  /** M2. */
  #sweep(): void {
    const { clock, silentMs } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const series of this.#byKey.values()) {
      const silentForMs = (series.description.lookedAtMs?.() ?? nowMs) - series.seenMs;
      if (!series.isStale) {
        if (silentForMs >= silentMs) this.end(series, clock.nowNs());
        continue;
      }
      if (silentForMs < FAREWELL_MS) continue;
      this.#byKey.delete(series.key);
      series.isGone = true;
      const named = this.#byName.get(series.description.name)!;
      named.delete(series);
      if (named.size === 0) this.#byName.delete(series.description.name);
      for (const listener of this.#listeners) listener.onRemoved(series);
    }
  }
}

/** Tags of MetricPoint. */
export const PointTag = {
  NAME: (1 << 3) | 2,
  VALUE: (2 << 3) | 1,
  TIMESTAMP: 3 << 3,
  LABELS: (4 << 3) | 2,
  METRIC_TYPE: (5 << 3) | 2,
  UNIT: (7 << 3) | 2,
  DESCRIPTION: (8 << 3) | 2,
  START_TIMESTAMP: 9 << 3,
  COALESCED: 10 << 3,
  CAUSE: 11 << 3,
  INT_VALUE: 12 << 3,
  STALE: 13 << 3,
  HISTOGRAM: (14 << 3) | 2,
  EXPONENTIAL_HISTOGRAM: (15 << 3) | 2,
  SUMMARY: (16 << 3) | 2,
  CURSOR: (17 << 3) | 2,
} as const;

const PAIR_KEY = (1 << 3) | 2;
const PAIR_VALUE = (2 << 3) | 2;

function encodeHead({ name, labels, type }: SeriesDescription): Uint8Array {
  const sink = new ByteSink(64);
  sink.textField(PointTag.NAME, name);
  for (const [label, value] of labels) {
    const pair = new ByteSink(32);
    pair.textField(PAIR_KEY, label);
    pair.textField(PAIR_VALUE, value);
    sink.spanField(PointTag.LABELS, pair.bytes, 0, pair.used);
  }
  sink.textField(PointTag.METRIC_TYPE, type);
  return Uint8Array.from(sink.bytes.subarray(0, sink.used));
}

function encodeIntroduction({ unit, description }: SeriesDescription): Uint8Array {
  const sink = new ByteSink(32);
  if (unit !== "") sink.textField(PointTag.UNIT, unit);
  if (description !== "") sink.textField(PointTag.DESCRIPTION, description);
  return Uint8Array.from(sink.bytes.subarray(0, sink.used));
}
