// Values of series over time, from the history that the server keeps.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type QueriedSeries,
  QueryFunction,
  type QueryMetricsRequestSchema,
  type QueryMetricsResponse,
} from "@sluice/api";
import { type SeriesSelection, seriesRequestOf } from "./metric-stream.ts";

/** Which series, when, and what becomes of their points in each step. */
export interface MetricRangeQuery extends SeriesSelection {
  /** Unix ns, inclusive. Default: where the history begins. */
  readonly startTimestamp?: bigint;
  /** Unix ns, exclusive. Default: now. */
  readonly endTimestamp?: bigint;
  /** Default: a round one, so that there are 250 steps at most. */
  readonly stepMs?: number;
  /** "rate": what was added a second; a number: the quantile (0 to 1). Default: "last". */
  readonly function?: "last" | "avg" | "min" | "max" | "rate" | number;
}

/** Series over time. */
export interface MetricRange {
  /** Where each step begins, Unix ns. */
  readonly timestamps: readonly bigint[];
  readonly stepMs: number;
  /** By name and labels. A series has one value for each step; NaN: it has none. */
  readonly series: readonly QueriedSeries[];
  /** The history has nothing before, Unix ns; 0: it has lost nothing yet. */
  readonly historyStart: bigint;
}

const FUNCTIONS = {
  last: QueryFunction.LAST,
  avg: QueryFunction.AVG,
  min: QueryFunction.MIN,
  max: QueryFunction.MAX,
  rate: QueryFunction.RATE,
} as const;

/** The request for it. */
export function rangeRequestOf(query: MetricRangeQuery): MessageInitShape<typeof QueryMetricsRequestSchema> {
  const { startTimestamp = 0n, endTimestamp = 0n, stepMs = 0, function: how = "last" } = query;
  const told =
    typeof how === "number" ? { function: QueryFunction.QUANTILE, quantile: how } : { function: FUNCTIONS[how] };
  return { ...seriesRequestOf(query), startTimestamp, endTimestamp, stepMs, ...told };
}

/** What the answer says. */
export function rangeOf({ startTimestamp, stepMs, steps, series, historyStart }: QueryMetricsResponse): MetricRange {
  const stepNs = BigInt(stepMs) * 1_000_000n;
  const timestamps = Array.from({ length: steps }, (_, i) => startTimestamp + BigInt(i) * stepNs);
  return { timestamps, stepMs, series, historyStart };
}
