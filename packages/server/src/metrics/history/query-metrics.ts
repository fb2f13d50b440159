// MetricsService/QueryMetrics: series over time, in steps.
//
// Q1. An answer is bounded before anything is read: by its steps, and by all its values together.
// Q2. Read in slices: others have the event loop between two of them, however many ask at once (turns.ts).
// Q3. The answer is written as its values come: no list of them is made. `npm run bench -- metrics-query` shows what it is for.
import { QueryFunction, type QueryMetricsRequest } from "@sluice/api";
import { FRAME_HEADER_BYTES, Frames } from "@sluice/rpc";
import { type FieldViolation, InvalidRequest, LimitExceeded, SluiceError } from "../../errors.ts";
import type { Limits } from "../../limits.ts";
import type { Clock } from "../../store/contract.ts";
import { ByteSink } from "../../stream/byte-sink.ts";
import { writeLabels } from "../point-fields.ts";
import { parseSeriesQuery } from "../query.ts";
import type { DescribedSeries } from "../series.ts";
import type { HistoryLog } from "./history-log.ts";
import { type StepFunction, type Steps, valuesOf } from "./range-query.ts";

/** Steps of a series: more than a screen has dots. */
const STEPS_MAX = 11_000;
/** Values of an answer: 8 bytes each, so that it fits into a message. */
const VALUES_MAX = 400_000;
const STEPS = 250;
const FUNCTIONS = new Set<number>(Object.values(QueryFunction));
/** Ms that people like to see. */
const ROUND = [
  10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];

/** @throws InvalidRequest, LimitExceeded, SluiceError: no history is kept */
export async function queryMetrics(
  request: QueryMetricsRequest,
  server: {
    readonly log: HistoryLog | undefined;
    readonly keepMs: number;
    readonly clock: Clock;
    readonly limits: Limits;
    readonly signal: AbortSignal;
  },
): Promise<Frames> {
  const { log, limits, signal } = server;
  if (log === undefined) {
    const text = "Cannot query metrics: this server keeps no history of them (metrics.history is off)";
    throw new SluiceError("failed-precondition", text, { reason: "NO_HISTORY" });
  }
  const { matches } = parseSeriesQuery(request, limits);
  const { steps, how } = parseSteps(request, server);
  const { history } = log;
  const wanted: [id: number, series: DescribedSeries, place: string][] = [];
  const slices = history.turns.slices();
  const takeTurn = async (): Promise<void> => {
    await slices.next();
    signal.throwIfAborted();
  };
  for (const [id, series] of history.all()) {
    if (slices.isDue) await takeTurn();
    if (matches(series)) wanted.push([id, series, placeOf(series)]);
  }
  if (wanted.length * steps.count > VALUES_MAX) {
    throw new LimitExceeded(
      `Cannot answer with ${wanted.length} series of ${steps.count} steps: the limit is ${VALUES_MAX} values; name fewer ` +
        "series, a shorter range or a wider step",
      "values of a query",
    );
  }
  wanted.sort(([, , a], [, , b]) => (a < b ? -1 : 1));
  const answer = new QueryAnswer(steps);
  for (const [id, each] of wanted) {
    if (slices.isDue) await takeTurn();
    // It may have left the history since.
    if (history.seriesOf(id)?.key !== each.key) continue;
    const values = valuesOf(history, [id, each], { steps, how });
    if (!values.every(Number.isNaN)) answer.add(each, values);
  }
  return answer.frames(history.lostUntilNs < 0n ? 0n : history.lostUntilNs + 1n);
}

/** Q3: a QueryMetricsResponse. */
class QueryAnswer {
  readonly #sink = new ByteSink(64 * 1024);

  constructor({ startNs, stepNs, count }: Steps) {
    const sink = this.#sink;
    sink.used = FRAME_HEADER_BYTES;
    int64Field(sink, AnswerTag.START_TIMESTAMP, startNs);
    sink.varintField(AnswerTag.STEP_MS, stepNs / 1e6);
    sink.varintField(AnswerTag.STEPS, count);
  }

  add({ description: { name, type, unit, labels } }: DescribedSeries, values: Float64Array): void {
    const series = new ByteSink(256 + values.byteLength);
    series.textField(SeriesTag.NAME, name);
    writeLabels(series, SeriesTag.LABELS, labels);
    series.textField(SeriesTag.METRIC_TYPE, type);
    series.textField(SeriesTag.UNIT, unit);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    series.spanField(SeriesTag.VALUES, bytes, 0, bytes.length);
    this.#sink.spanField(AnswerTag.SERIES, series.bytes, 0, series.used);
  }

  frames(historyStartNs: bigint): Frames {
    const sink = this.#sink;
    int64Field(sink, AnswerTag.HISTORY_START, historyStartNs);
    sink.bytes[0] = 0;
    sink.bytes.writeUInt32BE(sink.used - FRAME_HEADER_BYTES, 1);
    return new Frames(sink.bytes.subarray(0, sink.used));
  }
}

/** Of QueryMetricsResponse. */
const AnswerTag = {
  START_TIMESTAMP: 1 << 3,
  STEP_MS: 2 << 3,
  STEPS: 3 << 3,
  SERIES: (4 << 3) | 2,
  HISTORY_START: 5 << 3,
} as const;
/** Of QueriedSeries; the values are packed, and lie as they do in memory: the machines that Node runs on are little-endian. */
const SeriesTag = {
  NAME: (1 << 3) | 2,
  LABELS: (2 << 3) | 2,
  METRIC_TYPE: (3 << 3) | 2,
  UNIT: (4 << 3) | 2,
  VALUES: (5 << 3) | 2,
} as const;

const scratch = new BigInt64Array(1);
const halves = new Uint32Array(scratch.buffer);

function int64Field(sink: ByteSink, tag: number, value: bigint): void {
  scratch[0] = value;
  sink.varint64Field(tag, halves[0]!, halves[1]!);
}

function placeOf({ key, description: { name, labels } }: DescribedSeries): string {
  return `${name} ${JSON.stringify(labels)} ${key}`;
}

function parseSteps(
  request: QueryMetricsRequest,
  { clock, keepMs }: { readonly clock: Clock; readonly keepMs: number },
): { readonly steps: Steps; readonly how: StepFunction } {
  const { startTimestamp, endTimestamp, stepMs, function: kind, quantile } = request;
  const violations: FieldViolation[] = [];
  const endNs = endTimestamp === 0n ? clock.nowNs() : endTimestamp;
  const startNs = startTimestamp === 0n ? endNs - BigInt(keepMs) * 1_000_000n : startTimestamp;
  if (startNs < 0n) violations.push({ field: "start_timestamp", description: "is before 1970" });
  if (endNs <= startNs) violations.push({ field: "end_timestamp", description: "is not after the start" });
  if (!FUNCTIONS.has(kind)) violations.push({ field: "function", description: `is ${kind}, no function` });
  if (!(quantile >= 0 && quantile <= 1))
    violations.push({ field: "quantile", description: `is ${quantile}, not 0 to 1` });
  const rangeMs = Number(endNs - startNs) / 1e6;
  const ownMs = stepMs === 0 ? (ROUND.find((each) => rangeMs / each <= STEPS) ?? 3_600_000) : stepMs;
  const stepNs = BigInt(ownMs) * 1_000_000n;
  const firstNs = startNs - (startNs % stepNs);
  const count = Number((endNs - firstNs + stepNs - 1n) / stepNs);
  if (count > STEPS_MAX) {
    const description = `makes ${count} steps of that range: the limit is ${STEPS_MAX}`;
    violations.push({ field: "step_ms", description });
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_METRICS_QUERY", violations);
  return { steps: { startNs: firstNs, stepNs: Number(stepNs), count }, how: { kind, quantile } };
}
