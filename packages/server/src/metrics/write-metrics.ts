// WriteMetrics: points in, acknowledgements out.
//
// M1. What is acknowledged is durable, or was rejected by its place.
// M2. Acknowledgements come in the order of the points.
// M3. Nothing is read while too much waits to be acknowledged: the peer is held back by HTTP/2's flow control, and told so by
//     `flow`.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  ExponentialHistogramDataPointSchema,
  HistogramDataPointSchema,
  type MetricPoint,
  RejectedPointSchema,
  SummaryDataPointSchema,
  type WriteMetricsRequest,
  type WriteMetricsResponseSchema,
} from "@sluice/api";
import type { Call } from "@sluice/rpc";
import type { Clock } from "../store/contract.ts";
import { nextTurn } from "../stream/turn.ts";
import type { WriteBudget } from "../stream/write-budget.ts";
import { type IncomingPoint, type Refusal, sortedLabels } from "./incoming.ts";
import type { MetricType } from "./series.ts";
import { shapeOf } from "./shape.ts";
import type { PointWriter } from "./write-points.ts";

type Response = MessageInitShape<typeof WriteMetricsResponseSchema>;
type Rejected = NonNullable<Response["rejected"]>;

export interface WriteMetricsOptions {
  readonly writer: PointWriter;
  readonly budget: WriteBudget;
  readonly clock: Clock;
  /** Whose series new ones are. */
  readonly owner: string;
}

/** Points that a stream may have under way beyond what was taken from it. */
const WINDOW_POINTS = 65_536;
/** Requests that may wait to be acknowledged. */
const WAITING_MAX = 64;
const CHUNK_POINTS = 1000;
/** What a point takes in memory, about. */
const POINT_BYTES = 256;
const TYPES: ReadonlySet<string> = new Set(["counter", "gauge", "histogram", "summary"]);
const WRITE_ORIGIN = "write";

/** A request that was written and is not acknowledged yet. */
interface Waiting {
  readonly through: number;
  readonly rejected: Rejected;
  readonly durable: Promise<void>;
}

export async function* writeMetrics(
  requests: AsyncIterable<WriteMetricsRequest>,
  call: Call,
  options: WriteMetricsOptions,
): AsyncGenerator<Response> {
  call.sendHeaders();
  const { budget } = options;
  const leave = budget.enter();
  const session = new WriteSession(options);
  call.onEnd(() => {
    leave();
    session.close();
  });
  yield { flow: { seen: 0n, window: WINDOW_POINTS, windowBytes: BigInt(budget.firstWindowBytes) } };
  void session.read(requests);
  for (let next = await session.next(); next !== undefined; next = await session.next()) {
    await next.durable;
    const seen = BigInt(session.seen);
    const flow = { seen, window: WINDOW_POINTS, windowBytes: BigInt(budget.windowBytes) };
    yield { acknowledged: BigInt(next.through), rejected: next.rejected, flow };
  }
}

/** `read` fills the queue of what waits, `next` empties it. */
class WriteSession {
  readonly #options: WriteMetricsOptions;
  readonly #queue: Waiting[] = [];
  seen = 0;
  #isDone = false;
  #failure: { readonly error: unknown } | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(options: WriteMetricsOptions) {
    this.#options = options;
  }

  /** The call has ended: nobody waits any longer. */
  close(): void {
    this.#isDone = true;
    this.#change();
  }

  /** Never fails: what goes wrong is thrown by `next`, after what went well before it. */
  async read(requests: AsyncIterable<WriteMetricsRequest>): Promise<void> {
    try {
      for await (const { points } of requests) {
        const release = this.#options.budget.take(points.length * POINT_BYTES);
        try {
          this.#queue.push(await this.#take(points));
        } finally {
          release();
        }
        this.#change();
        while (this.#queue.length >= WAITING_MAX && !this.#isDone) await this.#changed.promise;
        if (this.#isDone) return;
      }
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#isDone = true;
      this.#change();
    }
  }

  /** undefined: there will be none. @throws what ended the stream of requests */
  async next(): Promise<Waiting | undefined> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) {
        this.#change();
        return next;
      }
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#isDone) return undefined;
      await this.#changed.promise;
    }
  }

  async #take(points: readonly MetricPoint[]): Promise<Waiting> {
    const { writer, clock, owner } = this.#options;
    const nowNs = clock.nowNs();
    const batch = writer.begin(owner);
    const rejected: Rejected = [];
    for (const [i, point] of points.entries()) {
      if (i % CHUNK_POINTS === CHUNK_POINTS - 1) await nextTurn();
      const incoming = incomingOf(point, nowNs);
      const refusal = "reason" in incoming ? incoming : batch.write(incoming);
      if (refusal !== undefined)
        rejected.push(create(RejectedPointSchema, { index: BigInt(this.seen + i), ...refusal }));
    }
    this.seen += points.length;
    const durable = batch.commit();
    // Whoever waits for it hears of a failure; until then it is not unheard of.
    durable.catch(() => undefined);
    return { through: this.seen, rejected, durable };
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** A point as `ListSeries` and `StreamMetrics` tell it, taken back. */
function incomingOf(point: MetricPoint, nowNs: bigint): IncomingPoint | Refusal {
  const { name, metricType, unit, description, timestamp, startTimestamp: startNs, stale: isEnd } = point;
  const timestampNs = timestamp === 0n ? nowNs : timestamp;
  const shown = shownOf(point, { timeUnixNano: timestampNs, startTimeUnixNano: startNs });
  const said = metricType === "" ? (shown?.type ?? "gauge") : metricType;
  if (!TYPES.has(said)) {
    return { reason: "TYPE", text: `${name}: "${said.slice(0, 100)}" is no type; there are ${[...TYPES].join(", ")}` };
  }
  if (shown !== undefined && shown.type !== said) {
    return { reason: "TYPE", text: `${name}: it says ${said}, and holds a ${shown.type}` };
  }
  if (shown === undefined && !isEnd && (said === "histogram" || said === "summary")) {
    return { reason: "TYPE", text: `${name}: it says ${said}, and holds none` };
  }
  const type = said as MetricType;
  const exemplars = point.exemplars.length === 0 ? undefined : shapeOf({ exemplars: point.exemplars });
  const value = shown?.count ?? (point.intValue === undefined ? point.value : Number(point.intValue));
  return {
    name,
    type,
    unit,
    description,
    labels: sortedLabels(Object.entries(point.labels)),
    origin: `${WRITE_ORIGIN} ${type} ${unit}`,
    point: {
      value,
      intValue: shown === undefined ? point.intValue : undefined,
      timestampNs,
      startNs,
      shape: shown?.shape ?? exemplars,
    },
    isEnd,
  };
}

/** What it holds in place of a value; times and attributes are those of the point. */
function shownOf(
  { histogram, exponentialHistogram, summary }: MetricPoint,
  times: { readonly timeUnixNano: bigint; readonly startTimeUnixNano: bigint },
): { readonly type: MetricType; readonly count: number; readonly shape: Uint8Array } | undefined {
  const own = { ...times, attributes: [] };
  if (histogram !== undefined) {
    const shape = shapeOf({ histogram: create(HistogramDataPointSchema, { ...histogram, ...own }) });
    return { type: "histogram", count: Number(histogram.count), shape };
  }
  if (exponentialHistogram !== undefined) {
    const inner = create(ExponentialHistogramDataPointSchema, { ...exponentialHistogram, ...own });
    const shape = shapeOf({ exponentialHistogram: inner });
    return { type: "histogram", count: Number(exponentialHistogram.count), shape };
  }
  if (summary === undefined) return undefined;
  const shape = shapeOf({ summary: create(SummaryDataPointSchema, { ...summary, ...own }) });
  return { type: "summary", count: Number(summary.count), shape };
}
