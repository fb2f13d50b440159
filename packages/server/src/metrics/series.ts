// All series that are known, each with its newest point.
//
// M1. A series is one object for as long as it is there; what is asked of its past is asked of whoever kept count.
// M2. Bounded: beyond `seriesMax` new series are refused, known ones go on. One that had no point for `silentMs`, although its
//     source could be heard, is stale: its subscribers are told, and it goes.
import { LimitExceeded } from "../errors.ts";
import type { Clock, Timer } from "../store/contract.ts";
import { KeyIndex } from "./key-index.ts";
import { Series } from "./live-series.ts";
import type { Point, SeriesDescription } from "./point.ts";
import { RowsByName } from "./rows-by-name.ts";
import { type EarlierPoint, SeriesColumns } from "./series-columns.ts";

export { type DescribedSeries, PastSeries, Series, type SeriesNow } from "./live-series.ts";
export type { MetricType, Point, SeriesDescription } from "./point.ts";

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
  readonly #columns = new SeriesColumns();
  readonly #rows = new KeyIndex((row) => this.#columns.key(row));
  readonly #names = new RowsByName();
  /** By row. */
  readonly #series: (Series | undefined)[] = [];
  readonly #listeners = new Set<SeriesListener>();
  /** Those of them that hear of each point. */
  readonly #pointListeners = new Set<SeriesListener>();
  readonly #sweeper: Timer[] = [];

  constructor(options: SeriesTableOptions) {
    this.#options = options;
    this.#sweepLater();
  }

  get size(): number {
    return this.#rows.size;
  }

  /** The server's own time, Unix ns. */
  nowNs(): bigint {
    return this.#options.clock.nowNs();
  }

  /** Names of metrics, in no order. */
  names(): Iterable<string> {
    return this.#names.names();
  }

  *named(name: string): Generator<Series, void, undefined> {
    for (const row of this.#names.rows(name)) yield this.#series[row]!;
  }

  /** In no order. */
  *all(): Generator<Series, void, undefined> {
    for (const series of this.#series) if (series !== undefined) yield series;
  }

  find(key: string): Series | undefined {
    const row = this.#rows.find(key);
    return row === undefined ? undefined : this.#series[row];
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
    const known = this.find(key);
    if (known === undefined) {
      this.add(key, point, describe);
      return "taken";
    }
    const { timestampNs } = known;
    if (point.timestampNs <= timestampNs) return point.timestampNs < timestampNs ? "old" : "same";
    this.update(known, point);
    return "taken";
  }

  /** Makes a series that is not there. `previous`: the point before, if there was one. @throws LimitExceeded */
  add(key: string, point: Point, describe: () => SeriesDescription, previous?: EarlierPoint): Series {
    const description = describe();
    const { clock, seriesMax } = this.#options;
    if (this.size >= seriesMax) {
      throw new LimitExceeded(
        `Cannot take a new series of "${description.name}": the server has ${seriesMax} of them, its limit; use labels with fewer values`,
        "series",
      );
    }
    const row = this.#columns.add(key, description, point);
    if (previous !== undefined) this.#columns.setEarlier(row, previous);
    this.#columns.setSeen(row, clock.monotonicMs());
    const series = new Series(this.#columns, row);
    this.#series[row] = series;
    this.#rows.add(row, key);
    this.#names.add(description.name, row);
    for (const listener of this.#listeners) listener.onAdded(series);
    return series;
  }

  /** Gives a series that is there a point that is newer than all it has. */
  update(series: Series, point: Point): void {
    const { row } = series;
    this.#columns.setSeen(row, this.#options.clock.monotonicMs());
    this.#columns.update(row, point);
    if (this.#pointListeners.size > 0) this.#tellPoint(series);
  }

  /** Its source says that there is no value any more. */
  end(series: Series, timestampNs: bigint): void {
    if (series.isStale) return;
    const { row } = series;
    this.#columns.setSeen(row, this.#options.clock.monotonicMs());
    this.#columns.end(row, timestampNs);
    this.#tellPoint(series);
  }

  [Symbol.dispose](): void {
    for (const timer of this.#sweeper.splice(0)) timer.cancel();
  }

  #tellPoint(series: Series): void {
    for (const listener of this.#pointListeners) listener.onPoint?.(series);
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
    for (const [row, series] of this.#series.entries()) {
      if (series === undefined) continue;
      const silentForMs = (series.family.lookedAtMs?.() ?? nowMs) - this.#columns.seenMs(row);
      if (!series.isStale) {
        if (silentForMs >= silentMs) this.end(series, clock.nowNs());
        continue;
      }
      if (silentForMs < FAREWELL_MS) continue;
      this.#remove(series);
    }
  }

  #remove(series: Series): void {
    const { key, family } = series;
    const row = series.depart();
    this.#rows.delete(key);
    this.#names.remove(family.name, row);
    this.#series[row] = undefined;
    this.#columns.remove(row);
    for (const listener of this.#listeners) listener.onRemoved(series);
  }
}
