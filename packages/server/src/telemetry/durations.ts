// How long something took, counted in buckets.
import type { Distribution } from "./instrument.ts";

export class Durations implements Distribution {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;

  /** @param bounds seconds, ascending */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  add(seconds: number): void {
    const { bounds } = this;
    let i = 0;
    while (i < bounds.length && seconds > bounds[i]!) i++;
    this.counts[i]!++;
    this.sum += seconds;
  }
}
