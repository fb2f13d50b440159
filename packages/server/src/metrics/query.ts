// What a subscriber asks for, checked.
import type { LabelMatcher, MetricsRequest } from "@sluice/api";
import { CounterMode, MatchKind, MetricsMode } from "@sluice/api";
import { RE2JS, RE2JSException } from "re2js";
import { type FieldViolation, InvalidRequest } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { matchesGlob } from "../stream/glob.ts";
import { OtlpOrigins } from "./otlp-origin.ts";
import type { DescribedSeries, Series, SeriesTable } from "./series.ts";

/** Which series. */
export interface SeriesQuery {
  readonly matchesName: (name: string) => boolean;
  /** Of a series whose name matches. */
  readonly matchesLabels: (series: DescribedSeries) => boolean;
  readonly matches: (series: DescribedSeries) => boolean;
  /** The same text for queries that ask for the same series. */
  readonly key: string;
}

export interface MetricsQuery extends SeriesQuery {
  readonly intervalMs: number;
  readonly mode: "sample" | "on-change" | "once";
  readonly heartbeatMs: number;
  readonly resendMs: number;
  readonly suppressRedundant: boolean;
  readonly updatesOnly: boolean;
  readonly counterMode: CounterMode;
  /** 0: no bound of its own. */
  readonly seriesMax: number;
  readonly hasControls: boolean;
  /** Undefined: nothing of the history. */
  readonly replay?:
    | { readonly kind: "after"; readonly cursor: string }
    | { readonly kind: "since"; readonly startNs: bigint }
    | undefined;
  /** Of the history every point. */
  readonly isRaw?: boolean;
  /** Of histograms and summaries, 0 to 1. */
  readonly quantiles: readonly number[];
}

/** Those of a table. A name is looked at once, however many series have it. */
export function* seriesIn(
  table: Pick<SeriesTable, "names" | "named">,
  { matchesName, matchesLabels }: SeriesQuery,
): Generator<Series, void, undefined> {
  for (const name of table.names()) {
    if (!matchesName(name)) continue;
    for (const series of table.named(name)) if (matchesLabels(series)) yield series;
  }
}

const INTERVAL_MS_MIN = 10;
const INTERVAL_MS_MAX = 24 * 60 * 60 * 1000;
const DEFAULT_INTERVAL_MS = 1000;
const HEARTBEAT_MS = 30_000;
/** Each is computed for each point that is told. */
const QUANTILES_MAX = 16;
const MODES = new Set<number>(Object.values(MetricsMode));
const COUNTER_MODES = new Set<number>(Object.values(CounterMode));

/** @throws InvalidRequest with all that is wrong */
export function parseMetricsQuery(request: MetricsRequest, limits: Limits, isVersioned: boolean): MetricsQuery {
  const violations: FieldViolation[] = [];
  const series = parseSeries(request, limits, violations);
  const { intervalMs: ownMs, intervalSeconds, mode, counterMode, heartbeatMs = HEARTBEAT_MS } = request;
  if (ownMs !== undefined && (ownMs < INTERVAL_MS_MIN || ownMs > INTERVAL_MS_MAX)) {
    violations.push({ field: "interval_ms", description: `is ${ownMs}, not ${INTERVAL_MS_MIN} to ${INTERVAL_MS_MAX}` });
  }
  const intervalMs = ownMs ?? (intervalSeconds < 1 ? DEFAULT_INTERVAL_MS : intervalSeconds * 1000);
  if (intervalMs > INTERVAL_MS_MAX && ownMs === undefined) {
    const description = `is ${intervalSeconds}, more than a day (${INTERVAL_MS_MAX / 1000})`;
    violations.push({ field: "interval_seconds", description });
  }
  for (const [i, quantile] of request.quantiles.entries()) {
    if (quantile >= 0 && quantile <= 1) continue;
    violations.push({ field: `quantiles[${i}]`, description: `is ${quantile}, not 0 to 1` });
  }
  if (request.quantiles.length > QUANTILES_MAX) {
    const description = `are ${request.quantiles.length}: the limit is ${QUANTILES_MAX}`;
    violations.push({ field: "quantiles", description });
  }
  const replay = parseReplay(request, violations);
  if (!MODES.has(mode)) violations.push({ field: "mode", description: `is ${mode}, no mode` });
  if (!COUNTER_MODES.has(counterMode)) {
    violations.push({ field: "counter_mode", description: `is ${counterMode}, no counter mode` });
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_METRICS_QUERY", violations);
  return {
    ...series,
    intervalMs,
    mode: mode === MetricsMode.ONCE ? "once" : mode === MetricsMode.ON_CHANGE ? "on-change" : "sample",
    heartbeatMs,
    resendMs: request.resendMs,
    suppressRedundant: request.suppressRedundant,
    updatesOnly: request.updatesOnly,
    counterMode,
    seriesMax: request.maxSeries,
    hasControls: isVersioned || request.controlFrames,
    quantiles: request.quantiles,
    replay,
    isRaw: request.raw,
  };
}

function parseReplay(
  { startTimestamp, resumeAfter }: Pick<MetricsRequest, "startTimestamp" | "resumeAfter">,
  violations: FieldViolation[],
): MetricsQuery["replay"] {
  if (resumeAfter !== "") {
    if (startTimestamp !== 0n) {
      violations.push({ field: "start_timestamp", description: "is set, and so is resume_after: only one can hold" });
    }
    return { kind: "after", cursor: resumeAfter };
  }
  if (startTimestamp < 0n) violations.push({ field: "start_timestamp", description: "is before 1970" });
  return startTimestamp === 0n ? undefined : { kind: "since", startNs: startTimestamp };
}

/** @throws InvalidRequest with all that is wrong */
export function parseSeriesQuery(
  request: Pick<MetricsRequest, "metricNames" | "labels" | "matchers">,
  limits: Limits,
): SeriesQuery {
  const violations: FieldViolation[] = [];
  const query = parseSeries(request, limits, violations);
  if (violations.length > 0) throw new InvalidRequest("BAD_METRICS_QUERY", violations);
  return query;
}

function parseSeries(
  { metricNames, labels, matchers }: Pick<MetricsRequest, "metricNames" | "labels" | "matchers">,
  limits: Limits,
  violations: FieldViolation[],
): SeriesQuery {
  const wanted = Object.entries(labels);
  const count = metricNames.length + wanted.length + matchers.length;
  if (count > limits.filtersMax) {
    const description = `names, labels and matchers are ${count}: the limit is ${limits.filtersMax}`;
    violations.push({ field: "metric_names", description });
  }
  for (const [i, name] of metricNames.entries()) {
    const size = Buffer.byteLength(name);
    if (size >= 1 && size <= limits.filterBytesMax) continue;
    violations.push({ field: `metric_names[${i}]`, description: `has not 1 to ${limits.filterBytesMax} bytes` });
  }
  const origins = new OtlpOrigins();
  const labelOf: LabelOf = (series, name) => origins.label(series, name);
  const tests = matchers.map((matcher, i) =>
    compileMatcher({ ...matcher, labelOf }, `matchers[${i}]`, limits, violations),
  );
  const matchesName = (name: string): boolean =>
    metricNames.length === 0 || metricNames.some((pattern) => matchesGlob(pattern, name));
  const matchesLabels = (series: DescribedSeries): boolean =>
    wanted.every(([label, value]) => labelOf(series, label) === value) && tests.every((test) => test(series));
  return {
    matchesName,
    matchesLabels,
    matches: (series) => matchesName(series.description.name) && matchesLabels(series),
    key: JSON.stringify([
      metricNames.toSorted(),
      wanted.toSorted(([a], [b]) => (a < b ? -1 : 1)),
      matchers.map(({ name, kind, value }) => [name, kind, value]),
    ]),
  };
}

type LabelOf = (series: DescribedSeries, name: string) => string;

function compileMatcher(
  { name, kind, value, labelOf }: Pick<LabelMatcher, "name" | "kind" | "value"> & { readonly labelOf: LabelOf },
  field: string,
  limits: Limits,
  violations: FieldViolation[],
): (series: DescribedSeries) => boolean {
  const never = () => false;
  if (name === "") violations.push({ field: `${field}.name`, description: "is empty: name a label" });
  switch (kind) {
    case MatchKind.EQUAL:
      return (series) => labelOf(series, name) === value;
    case MatchKind.NOT_EQUAL:
      return (series) => labelOf(series, name) !== value;
    case MatchKind.REGEX:
    case MatchKind.NOT_REGEX: {
      const expression = compileExpression(value, `${field}.value`, limits, violations);
      if (expression === undefined) return never;
      return (series) => expression.matches(labelOf(series, name)) === (kind === MatchKind.REGEX);
    }
    default:
      violations.push({ field: `${field}.kind`, description: `is ${kind}, no kind of match` });
      return never;
  }
}

function compileExpression(
  source: string,
  field: string,
  limits: Limits,
  violations: FieldViolation[],
): RE2JS | undefined {
  if (Buffer.byteLength(source) > limits.filterBytesMax) {
    violations.push({ field, description: `has more than ${limits.filterBytesMax} bytes` });
    return undefined;
  }
  try {
    return RE2JS.compile(source);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    violations.push({ field, description: `${error.message} (RE2 syntax)` });
    return undefined;
  }
}
