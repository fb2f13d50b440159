// The sums of series that send deltas, and what is written of any point.
//
// D1. One sum for each series that sends deltas; it goes with its series.
// D2. Points are added in the order of their times; one that is not newer than the last is not added.
// D3. After a restart of the server the sum goes on from the newest point of the series; after the end of a series it begins
//     from nothing.
import { create, fromBinary } from "@bufbuild/protobuf";
import {
  type ExponentialHistogramDataPoint,
  ExponentialHistogramDataPointSchema,
  type HistogramDataPoint,
  HistogramDataPointSchema,
  MetricPointSchema,
  type NumberDataPoint,
  type SummaryDataPoint,
  SummaryDataPointSchema,
} from "@sluice/api";
import { type Accumulated, addExponential, addHistograms, addNumbers } from "./deltas.ts";
import type { Point, Series, SeriesTable } from "./series.ts";
import { shapeOf } from "./shape.ts";

/** A data point of any of OTLP's types. */
export type OtlpPoint =
  | { readonly kind: "number"; readonly value: NumberDataPoint }
  | { readonly kind: "histogram"; readonly value: HistogramDataPoint }
  | { readonly kind: "exponential"; readonly value: ExponentialHistogramDataPoint }
  | { readonly kind: "summary"; readonly value: SummaryDataPoint };

export class DeltaSums implements Disposable {
  readonly #table: SeriesTable;
  /** By key. */
  readonly #sums = new Map<string, Accumulated>();
  readonly #listening: Disposable;

  constructor(table: SeriesTable) {
    this.#table = table;
    this.#listening = table.listen({
      onAdded() {},
      onRemoved: ({ key }: Series) => void this.#sums.delete(key),
    });
  }

  /** What the series has counted with this point; "same", "old": it is not newer than the last one. */
  add(key: string, point: OtlpPoint): Point | "same" | "old" {
    const known = this.#table.find(key);
    const { timeUnixNano } = point.value;
    if (known !== undefined && timeUnixNano <= known.point.timestampNs) {
      return timeUnixNano === known.point.timestampNs ? "same" : "old";
    }
    const before = known === undefined || known.isStale ? undefined : (this.#sums.get(key) ?? sumOf(known.point));
    const sum = addUp(before, point);
    if (sum === undefined) return plainPoint(point);
    // A series that is refused has no sum: nobody would forget it.
    if (known !== undefined) this.#sums.set(key, sum);
    return pointOfSum(sum, timeUnixNano);
  }

  /** Its series has ended. */
  forget(key: string): void {
    this.#sums.delete(key);
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }
}

/** undefined: it is no point that can be added. */
function addUp(before: Accumulated | undefined, point: OtlpPoint): Accumulated | undefined {
  switch (point.kind) {
    case "number":
      return addNumbers(before?.kind === "number" ? before : undefined, point.value);
    case "histogram": {
      const more = point.value;
      const sum = before?.kind === "histogram" ? (addHistograms(before.point, more) ?? more) : more;
      return { kind: "histogram", point: sum };
    }
    case "exponential": {
      const more = point.value;
      return {
        kind: "exponential",
        point: before?.kind === "exponential" ? addExponential(before.point, more) : more,
      };
    }
    case "summary":
      return undefined;
    default:
      return point satisfies never;
  }
}

/** D3. */
function sumOf({ value, intValue, startNs, shape }: Point): Accumulated {
  if (shape === undefined) return { kind: "number", value, intValue, startNs };
  const { histogram, exponentialHistogram } = fromBinary(MetricPointSchema, shape);
  if (histogram !== undefined) return { kind: "histogram", point: histogram };
  if (exponentialHistogram !== undefined) return { kind: "exponential", point: exponentialHistogram };
  return { kind: "number", value, intValue, startNs };
}

function pointOfSum(sum: Accumulated, timestampNs: bigint): Point {
  switch (sum.kind) {
    case "number":
      return { value: sum.value, intValue: sum.intValue, timestampNs, startNs: sum.startNs };
    case "histogram":
      return plainPoint({ kind: "histogram", value: sum.point });
    case "exponential":
      return plainPoint({ kind: "exponential", value: sum.point });
    default:
      return sum satisfies never;
  }
}

/** A point as it came. */
export function plainPoint(point: OtlpPoint): Point {
  const times = { timestampNs: point.value.timeUnixNano, startNs: point.value.startTimeUnixNano };
  switch (point.kind) {
    case "number": {
      const { value, exemplars } = point.value;
      const shape = exemplars.length === 0 ? undefined : shapeOf({ exemplars });
      if (value.case !== "asInt") return { ...times, value: value.value ?? 0, intValue: undefined, shape };
      return { ...times, value: Number(value.value), intValue: value.value, shape };
    }
    case "histogram": {
      const histogram = create(HistogramDataPointSchema, { ...point.value, attributes: [] });
      return { ...times, value: Number(histogram.count), shape: shapeOf({ histogram }) };
    }
    case "exponential": {
      const exponentialHistogram = create(ExponentialHistogramDataPointSchema, { ...point.value, attributes: [] });
      return { ...times, value: Number(exponentialHistogram.count), shape: shapeOf({ exponentialHistogram }) };
    }
    case "summary": {
      const summary = create(SummaryDataPointSchema, { ...point.value, attributes: [] });
      return { ...times, value: Number(summary.count), shape: shapeOf({ summary }) };
    }
    default:
      return point satisfies never;
  }
}
