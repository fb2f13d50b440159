// The numbers of the history's series.
//
// N1. A number stays a series' own until `forget`; then it is given again.
import type { DescribedSeries } from "../live-series.ts";
import { KeyIndex } from "../key-index.ts";

export class SeriesNumbers {
  /** By number. */
  readonly #series: (DescribedSeries | undefined)[] = [];
  readonly #ids = new KeyIndex((id) => this.#series[id]!.key);
  readonly #free: number[] = [];

  /** Series that are there. */
  get size(): number {
    return this.#ids.size;
  }

  /** All numbers are below it. */
  get end(): number {
    return this.#series.length;
  }

  find(key: string): number | undefined {
    return this.#ids.find(key);
  }

  seriesOf(id: number): DescribedSeries | undefined {
    return this.#series[id];
  }

  *all(): Generator<[id: number, series: DescribedSeries], void, undefined> {
    for (const [id, series] of this.#series.entries()) if (series !== undefined) yield [id, series];
  }

  *ids(): Generator<number, void, undefined> {
    for (const [id, series] of this.#series.entries()) if (series !== undefined) yield id;
  }

  /** Gives a series a number. `wanted`: the one that it had, whoever has it now. */
  add(series: DescribedSeries, wanted?: number): number {
    const id = wanted ?? this.#free.pop() ?? this.#series.length;
    const before = this.#series[id];
    if (before !== undefined) this.#ids.delete(before.key);
    while (this.#series.length < id) this.#series.push(undefined);
    this.#series[id] = series;
    this.#ids.add(id, series.key);
    return id;
  }

  /** A series is described anew; its key stays. */
  replace(id: number, series: DescribedSeries): void {
    this.#series[id] = series;
  }

  forget(id: number): void {
    this.#ids.delete(this.#series[id]!.key);
    this.#series[id] = undefined;
    this.#free.push(id);
  }

  /** Numbers that nobody has are given again. To be called once, when all are back. */
  reuse(): void {
    for (let id = this.#series.length - 1; id >= 0; id--) if (this.#series[id] === undefined) this.#free.push(id);
  }
}
