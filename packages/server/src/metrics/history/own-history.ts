// What the server measures itself, as often as the history needs it: live it is measured for whoever asks, and as often as that.
import type { Clock, Timer } from "../../store/contract.ts";
import type { MetricIntake } from "../intake.ts";
import type { Series, SeriesTable } from "../series.ts";

export interface OwnHistoryOptions {
  readonly table: SeriesTable;
  readonly clock: Clock;
  readonly intake: MetricIntake;
  readonly everyMs: number;
  /** Measures now. */
  readonly sample: () => void;
  readonly isOwn: (series: Series) => boolean;
}

export class OwnHistory implements Disposable {
  readonly #options: OwnHistoryOptions;
  /** Points of each series that were there when it was last kept. */
  readonly #kept = new WeakMap<Series, number>();
  #timer: Timer | undefined;

  constructor(options: OwnHistoryOptions) {
    this.#options = options;
    this.#setTimer();
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
  }

  #setTimer(): void {
    const { clock, everyMs, intake, sample } = this.#options;
    this.#timer = clock.setTimer(() => {
      sample();
      intake.keep(this.#newPoints());
      this.#setTimer();
    }, everyMs);
  }

  *#newPoints(): Generator<Series> {
    const { table, isOwn } = this.#options;
    for (const series of table.all()) {
      if (!isOwn(series) || series.isStale || this.#kept.get(series) === series.updates) continue;
      this.#kept.set(series, series.updates);
      yield series;
    }
  }
}
