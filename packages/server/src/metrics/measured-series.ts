// Series that this server measures itself, when somebody is about to be told of them.
//
// E1. While nobody asks they are not measured, and are not stale for that: they are silent only since they were last looked for.
import { LimitExceeded } from "../errors.ts";
import type { Clock } from "../store/contract.ts";
import type { Point, SeriesDescription, SeriesTable } from "./series.ts";

/** What a measured metric is, whatever its name and labels. */
export type Facts = Pick<SeriesDescription, "type" | "unit" | "description" | "rateScale" | "rateMax">;
export type Labels = readonly (readonly [name: string, value: string])[];

export const counter = (unit: string, description: string): Facts => ({ type: "counter", unit, description });
export const gauge = (unit: string, description: string): Facts => ({ type: "gauge", unit, description });
/** A share of time: given as seconds of it, told as the rate over the subscriber's interval. */
export const share = (unit: string, description: string, { scale = 1, max = Infinity } = {}): Facts => ({
  type: "gauge",
  unit,
  description,
  rateScale: scale,
  rateMax: max,
});

export interface MeasuredSeriesOptions {
  readonly table: SeriesTable;
  readonly clock: Clock;
  /** Tells them from what programs write. */
  readonly origin: string;
}

/** Not measured more often. */
const MEASURE_MS_MIN = 100;

export class MeasuredSeries {
  readonly #options: MeasuredSeriesOptions;
  readonly #names = new Set<string>();
  readonly #lookedAtMs = (): number => this.#measuredMs;
  #measuredMs = -Infinity;
  #nowNs = 0n;

  constructor(options: MeasuredSeriesOptions) {
    this.#options = options;
  }

  /** Unix ns of the measurement that is under way, or was the last. */
  get nowNs(): bigint {
    return this.#nowNs;
  }

  /** There may be metrics of these names: who asks for one makes them be measured. */
  announce(names: readonly string[]): void {
    for (const name of names) this.#names.add(name);
  }

  /** It has just been measured. */
  get isFresh(): boolean {
    return this.#options.clock.monotonicMs() - this.#measuredMs < MEASURE_MS_MIN;
  }

  /** Whether it is time to measure: one of its metrics is asked for, and it has not just been done. */
  isDue(matchesName: (name: string) => boolean): boolean {
    if (this.isFresh) return false;
    for (const name of this.#names) if (matchesName(name)) return true;
    return false;
  }

  /** What is written from now on was measured now. */
  begin(): void {
    const { clock } = this.#options;
    this.#measuredMs = clock.monotonicMs();
    this.#nowNs = clock.nowNs();
  }

  write(name: string, facts: Facts, value: number, labels: Labels = [], rest: Partial<Point> = {}): void {
    const { table, origin } = this.#options;
    this.#names.add(name);
    const key = `${origin} ${name} ${JSON.stringify(labels)}`;
    const point = { value, timestampNs: this.#nowNs, startNs: 0n, ...rest };
    try {
      table.write(key, point, () => {
        return { ...facts, name, labels: labels.toSorted(byName), origin, lookedAtMs: this.#lookedAtMs };
      });
    } catch (error) {
      // What programs write has taken all the room: this one is missing, the others go on.
      if (!(error instanceof LimitExceeded)) throw error;
    }
  }
}

function byName([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : 1;
}
