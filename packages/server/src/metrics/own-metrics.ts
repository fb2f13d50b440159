// The server's own counts as series: whoever may read metrics can subscribe to them like to any other.
import { create, toBinary } from "@bufbuild/protobuf";
import { HistogramDataPointSchema, MetricPointSchema } from "@sluice/api";
import type { Clock } from "../store/contract.ts";
import type { Distribution, Report, Reporter } from "../telemetry/instrument.ts";
import { MeasuredSeries } from "./measured-series.ts";
import type { SeriesTable } from "./series.ts";

/** `SeriesDescription.origin` of all of them. */
export const OWN_ORIGIN = "sluice";

export class OwnMetrics {
  readonly #series: MeasuredSeries;
  readonly #startNs: bigint;
  readonly #reporters: Reporter[] = [];

  constructor({ table, clock }: { readonly table: SeriesTable; readonly clock: Clock }) {
    this.#series = new MeasuredSeries({ table, clock, origin: OWN_ORIGIN });
    this.#startNs = clock.nowNs();
  }

  /** Its counts are known from now on. */
  add(reporter: Reporter): void {
    this.#reporters.push(reporter);
    this.#series.announce(reporter.instruments.map(({ name }) => name));
    this.#series.begin();
    reporter.report(this.#report);
  }

  /** Asks all, if a metric of theirs is asked for and it has not just been done. */
  refresh(matchesName: (name: string) => boolean): void {
    if (!this.#series.isDue(matchesName)) return;
    this.#series.begin();
    for (const reporter of this.#reporters) reporter.report(this.#report);
  }

  readonly #report: Report = (instrument, value, labels = {}) => {
    const startNs = instrument.type === "gauge" ? 0n : this.#startNs;
    const { name } = instrument;
    if (typeof value === "number") {
      this.#series.write(name, instrument, value, Object.entries(labels), { startNs });
      return;
    }
    const { nowNs } = this.#series;
    const count = value.counts.reduce((sum, each) => sum + each, 0);
    const shape = shapeOf(value, { count, nowNs, startNs });
    this.#series.write(name, instrument, count, Object.entries(labels), { startNs, shape });
  };
}

function shapeOf(
  { bounds, counts, sum }: Distribution,
  { count, nowNs, startNs }: { readonly count: number; readonly nowNs: bigint; readonly startNs: bigint },
): Uint8Array {
  const histogram = create(HistogramDataPointSchema, {
    timeUnixNano: nowNs,
    startTimeUnixNano: startNs,
    count: BigInt(count),
    sum,
    bucketCounts: counts.map(BigInt),
    explicitBounds: [...bounds],
  });
  return toBinary(MetricPointSchema, create(MetricPointSchema, { histogram }));
}
