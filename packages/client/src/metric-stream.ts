// Metrics as a subscription that outlives its connections: after each one comes what was missed, then what is new.
//
// MS1. The server says where the reader is, by cursors in points, syncs and heartbeats; the next attempt goes on after the last
//      one. A server that cannot (it keeps no history, or another one) begins with how everything is then.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  CounterMode,
  type Gap,
  MatchKind,
  type MetricPoint,
  type MetricsRequestSchema,
  MetricsMode,
} from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { listenTo, SILENCE_IN_HEARTBEATS } from "./listen.ts";
import { type ConnectionEvent, reconnecting } from "./reconnect.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Clock, Random } from "./time.ts";

/** A condition on a label; one that is not there has the value "". */
export interface MetricMatcher {
  /** Of a label; `resource.KEY`: an attribute of the resource that a series came with by OTLP. */
  readonly label: string;
  /** `=~` and `!~`: regular expressions in RE2's syntax, for the whole value. */
  readonly operator: "=" | "!=" | "=~" | "!~";
  readonly value: string;
}

/** Which series. */
export interface SeriesSelection {
  /** `*` stands for any characters, `?` for one. Default: all. */
  readonly names?: readonly string[];
  /** Must all be there, with these values. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly matchers?: readonly MetricMatcher[];
}

/** Which series, how often, and what of them. */
export interface MetricQuery extends SeriesSelection {
  /** Between two points of a series, ms, 10 or more. Default: 1 s. */
  readonly intervalMs?: number;
  /** "sample": at fixed times; "on-change": when a point comes, but not more often; "once": what is there, then the end. */
  readonly mode?: "sample" | "on-change" | "once";
  /** What is told of a counter. Default: "cumulative". */
  readonly counters?: "cumulative" | "delta" | "rate";
  /** Of histograms and summaries, 0 to 1; with "delta" and "rate" of what came in the interval. Default: none. */
  readonly quantiles?: readonly number[];
  /** A new point with the old value is left out. */
  readonly suppressRedundant?: boolean;
  /** Nothing of what is there at the beginning. */
  readonly updatesOnly?: boolean;
  /** Values again that did not change for so long, ms. Default: never. */
  readonly resendMs?: number;
  /**
   * First what the history has since then, Unix ns: of each series the newest point in each interval, with `coalesced`.
   * Default: nothing of it.
   */
  readonly startTimestamp?: bigint;
  /** The same for everything that came after this cursor (of a point or a sync), instead of how everything is now. */
  readonly resumeAfter?: string;
  /** Of the history every point. */
  readonly raw?: boolean;
  /** More series than these are an error. Default: the server's limit. */
  readonly maxSeries?: number;
}

/** How they are read. */
export interface MetricStreamOptions {
  /** Ends the stream: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** How often the server says that the stream lives, ms; one that is silent is opened anew. 0: never. Default: 15 s. */
  readonly heartbeatMs?: number;
  /** Default: goes on for ever, with up to 30 s between attempts. */
  readonly retry?: Partial<RetryPolicy>;
}

/** What a stream of metrics brings, in order. */
export type MetricEvent =
  | { readonly kind: "point"; readonly point: MetricPoint }
  /** All series that are there, or all that was missed, were told; what follows is live. */
  | { readonly kind: "sync"; readonly cursor: string }
  /** The history does not reach back so far: what is missing came in the records after `afterCursor` up to `toCursor`. */
  | { readonly kind: "gap"; readonly gap: Gap }
  /** Something to know: series were left out, for there are too many. */
  | { readonly kind: "notice"; readonly code: string; readonly text: string }
  | ConnectionEvent;

/** The one call that a stream needs. */
export interface StreamMetricsCall {
  (
    request: MessageInitShape<typeof MetricsRequestSchema>,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<MetricPoint>;
}

interface StreamContext {
  readonly call: StreamMetricsCall;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

const HEARTBEAT_MS = 15_000;
const MODES = { sample: MetricsMode.SAMPLE, "on-change": MetricsMode.ON_CHANGE, once: MetricsMode.ONCE } as const;
const COUNTERS = { cumulative: CounterMode.CUMULATIVE, delta: CounterMode.DELTA, rate: CounterMode.RATE } as const;
const OPERATORS = {
  "=": MatchKind.EQUAL,
  "!=": MatchKind.NOT_EQUAL,
  "=~": MatchKind.REGEX,
  "!~": MatchKind.NOT_REGEX,
} as const;

/** @throws RpcError; the signal's reason */
export function streamMetrics(
  { call, clock, random, retry, closed }: StreamContext,
  query: MetricQuery,
  options: MetricStreamOptions,
): AsyncIterableIterator<MetricEvent> {
  const { heartbeatMs = HEARTBEAT_MS, signal } = options;
  const request = { ...requestOf(query), heartbeatMs };
  const place = new Place(query.resumeAfter ?? "");
  const attempt = (stop: AbortSignal): AsyncIterable<MetricPoint> =>
    listenTo((options) => call(place.of(request), options), {
      what: "stream of metrics",
      silenceMs: heartbeatMs > 0 ? heartbeatMs * SILENCE_IN_HEARTBEATS : undefined,
      clock,
      stop,
    });
  return reconnecting<MetricPoint, MetricEvent>({
    async *attempt(stop) {
      try {
        yield* attempt(stop);
      } catch (error) {
        if (!place.isLost(error)) throw error;
        yield* attempt(stop);
      }
    },
    eventsOf: (point) => {
      place.note(point);
      return eventsOf(point);
    },
    clock,
    random,
    retry: { ...retry, ...options.retry },
    signals: [closed, signal],
  });
}

/** MS1. */
class Place {
  readonly #given: string;
  #cursor: string;

  constructor(given: string) {
    this.#given = given;
    this.#cursor = given;
  }

  /** The request for what comes after it. */
  of(request: MessageInitShape<typeof MetricsRequestSchema>): MessageInitShape<typeof MetricsRequestSchema> {
    return this.#cursor === "" ? request : { ...request, resumeAfter: this.#cursor, startTimestamp: 0n };
  }

  note(point: MetricPoint): void {
    const kind = point.control?.kind;
    const cursor =
      kind?.case === "sync" ? kind.value.cursor : kind?.case === "heartbeat" ? kind.value.headCursor : point.cursor;
    if (cursor !== "") this.#cursor = cursor;
  }

  /** Whether the server does not know the place where it, or another one, has said that the reader is; then it is forgotten. */
  isLost(error: unknown): boolean {
    if (!(error instanceof RpcError) || this.#cursor === this.#given) return false;
    if (error.code !== Code.OUT_OF_RANGE && error.code !== Code.FAILED_PRECONDITION) return false;
    this.#cursor = "";
    return true;
  }
}

/** The fields that select series, as the server takes them. */
export function seriesRequestOf({ names = [], labels = {}, matchers = [] }: SeriesSelection) {
  return {
    metricNames: [...names],
    labels: { ...labels },
    matchers: matchers.map(({ label, operator, value }) => ({ name: label, kind: OPERATORS[operator], value })),
  };
}

function requestOf(query: MetricQuery): MessageInitShape<typeof MetricsRequestSchema> {
  const { intervalMs, mode = "sample", counters = "cumulative" } = query;
  return {
    ...seriesRequestOf(query),
    ...(intervalMs === undefined ? {} : { intervalMs }),
    mode: MODES[mode],
    counterMode: COUNTERS[counters],
    quantiles: [...(query.quantiles ?? [])],
    suppressRedundant: query.suppressRedundant ?? false,
    updatesOnly: query.updatesOnly ?? false,
    resendMs: query.resendMs ?? 0,
    maxSeries: query.maxSeries ?? 0,
    startTimestamp: query.startTimestamp ?? 0n,
    raw: query.raw ?? false,
  };
}

function eventsOf(point: MetricPoint): MetricEvent[] {
  const kind = point.control?.kind;
  switch (kind?.case) {
    case undefined:
      return [{ kind: "point", point }];
    case "sync":
      return [{ kind: "sync", cursor: kind.value.cursor }];
    case "gap":
      return [{ kind: "gap", gap: kind.value }];
    case "notice":
      return [{ kind: "notice", code: kind.value.code, text: kind.value.text }];
    default:
      return [];
  }
}
