// A log stream that outlives its connections.
//
// S1. Between two attempts the position decides alone what is asked for next: nothing is repeated, nothing is missed.
// S2. One message is pulled at a time, and only when the reader has taken all of the last one: what waits, waits in the
//     stream's window.
// S3. When the reader leaves, by `return` or by its signal, the attempt, its timer and its listeners go in that turn.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Gap, LogEntry, LogStreamRequestSchema, StreamControl } from "@sluice/api";
import { type LogControl, LogPosition, type LogQuery, type Placed } from "./log-position.ts";
import { listenTo, SILENCE_IN_HEARTBEATS } from "./listen.ts";
import { type ConnectionEvent, reading, reconnecting } from "./reconnect.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Clock, Random } from "./time.ts";

/** What happens on a log stream, in order. */
export type LogEvent<M = LogEntry> =
  | { readonly kind: "entry"; readonly entry: M }
  | LogControl
  /** The connection is lost; the next attempt follows after `retryInMs`. `failures` counts those in a row. */
  | { readonly kind: "disconnected"; readonly error: unknown; readonly retryInMs: number; readonly failures: number }
  /** The stream goes on after `cursor` (empty: from where it was to begin). */
  | { readonly kind: "resumed"; readonly cursor: string };

/** How a log stream is read, besides what it holds (`LogQuery`). */
export interface LogStreamOptions {
  /** Ends the stream: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /**
   * Hears of missing entries when only entries are iterated. Without it a gap ends the iteration with LogGapError:
   * what is missing must not go unnoticed.
   */
  readonly onGap?: (gap: Gap) => void;
  /**
   * With `follow`: how often the server says that the stream lives, ms. One that is silent for two and a half times as
   * long is given up and opened anew. 0: never. Default: 15 s.
   */
  readonly heartbeatMs?: number;
  /**
   * How long the server may let a new entry wait for others, ms: fewer and larger messages where much is written.
   * Default: 0, what is there comes at once.
   */
  readonly batchDelayMs?: number;
  /** Deadline of one attempt, ms; after it the stream is opened anew. Absent: none. */
  readonly attemptTimeoutMs?: number;
  /** Default: goes on for ever, with up to 30 s between attempts. */
  readonly retry?: Partial<RetryPolicy>;
}

/** Entries are missing from a stream, and nobody had asked to hear of that. `gap.toCursor` is where to go on. */
export class LogGapError extends Error {
  override readonly name = "LogGapError";
  readonly gap: Gap;
  constructor(gap: Gap) {
    super(`${gap.count} log entries are missing here; give onGap to hear of gaps and read on`);
    this.gap = gap;
  }
}

/** One message of a stream: entries, or a control. */
export interface LogMessage<M = LogEntry> {
  readonly entries: readonly M[];
  readonly control?: StreamControl | undefined;
}

/** The one call that a stream needs. Entries come in batches: they cost a reader much less than one by one. */
export interface StreamLogsCall<M = LogEntry> {
  (
    request: MessageInitShape<typeof LogStreamRequestSchema>,
    options: { signal: AbortSignal; timeoutMs?: number },
  ): AsyncIterable<LogMessage<M>>;
}

/** What comes in one go: entries, of which none is delivered yet, or something else. */
type Delivery<M> = { readonly kind: "entries"; readonly entries: readonly M[] } | LogControl | ConnectionEvent;

const HEARTBEAT_MS = 15_000;

export interface LogStreamContext<M = LogEntry> {
  readonly call: StreamLogsCall<M>;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

/**
 * Entries that match a query, in the order of the log. Iterated once: either itself (entries only), `batches()` or
 * `events()`.
 */
export class LogStream<M extends Placed = LogEntry> implements AsyncIterable<M> {
  readonly #context: LogStreamContext<M>;
  readonly #options: LogStreamOptions;
  readonly #position: LogPosition;
  /** Undefined when silence is no sign of anything. */
  readonly #silenceMs: number | undefined;
  #isTaken = false;

  constructor(context: LogStreamContext<M>, query: LogQuery, options: LogStreamOptions) {
    const heartbeatMs = query.follow === true ? (options.heartbeatMs ?? HEARTBEAT_MS) : 0;
    this.#context = context;
    this.#options = options;
    this.#position = new LogPosition(query, { heartbeatMs: query.follow === true ? heartbeatMs : undefined });
    this.#silenceMs = heartbeatMs > 0 ? heartbeatMs * SILENCE_IN_HEARTBEATS : undefined;
  }

  /** Everything up to here was delivered: `resumeAfter` of a later stream. Empty: nothing yet. */
  get cursor(): string {
    return this.#position.cursor;
  }

  /** Everything that happens on the stream. */
  events(): AsyncIterableIterator<LogEvent<M>> {
    return this.#open((deliveries) => this.#eventsOf(deliveries));
  }

  /** Only the entries, as many as came together: the fastest way to read many. Gaps are told as to who iterates entries. */
  batches(): AsyncIterableIterator<readonly M[]> {
    return this.#open((deliveries) => this.#batchesOf(deliveries));
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<M> {
    return this.#open((deliveries) => this.#entriesOf(deliveries));
  }

  #open<T>(form: (deliveries: AsyncIterable<Delivery<M>>) => AsyncGenerator<T>): AsyncIterableIterator<T> {
    if (this.#isTaken) throw new Error("Cannot iterate a log stream twice: open another with resumeAfter");
    this.#isTaken = true;
    return reading(this.#deliveries(), form); // S3
  }

  async *#eventsOf(deliveries: AsyncIterable<Delivery<M>>): AsyncGenerator<LogEvent<M>> {
    for await (const delivery of deliveries) {
      if (delivery.kind !== "entries") {
        yield delivery.kind === "resumed" ? { ...delivery, cursor: this.#position.cursor } : delivery;
        continue;
      }
      for (const entry of delivery.entries) {
        this.#position.pass(entry);
        yield { kind: "entry", entry };
      }
    }
  }

  async *#entriesOf(deliveries: AsyncIterable<Delivery<M>>): AsyncGenerator<M> {
    for await (const delivery of deliveries) {
      if (delivery.kind === "gap") this.#tellGap(delivery.gap);
      if (delivery.kind !== "entries") continue;
      for (const entry of delivery.entries) {
        this.#position.pass(entry);
        yield entry;
      }
    }
  }

  async *#batchesOf(deliveries: AsyncIterable<Delivery<M>>): AsyncGenerator<readonly M[]> {
    for await (const delivery of deliveries) {
      if (delivery.kind === "gap") this.#tellGap(delivery.gap);
      if (delivery.kind !== "entries") continue;
      for (const entry of delivery.entries) this.#position.pass(entry);
      yield delivery.entries;
    }
  }

  /** @throws LogGapError */
  #tellGap(gap: Gap): void {
    if (this.#options.onGap === undefined) throw new LogGapError(gap);
    this.#options.onGap(gap);
  }

  /** Attempt after attempt, until the stream ends well or for good. */
  #deliveries(): AsyncIterableIterator<Delivery<M>> {
    const { clock, random, retry, closed } = this.#context;
    const position = this.#position;
    return reconnecting<LogMessage<M>, Delivery<M>>({
      attempt: (stop) => this.#attempt(stop),
      isDone(error) {
        if (error !== undefined) position.interrupt(error);
        return position.isFull;
      },
      isProgress: ({ entries }) => entries.length > 0,
      *eventsOf({ entries, control }) {
        if (control !== undefined) yield position.hear(control);
        if (entries.length > 0) yield { kind: "entries", entries };
      },
      clock,
      random,
      retry: { ...retry, ...this.#options.retry },
      signals: [closed, this.#options.signal],
    });
  }

  /** One call, from where the stream stands. */
  #attempt(stop: AbortSignal): AsyncGenerator<LogMessage<M>> {
    const { call, clock } = this.#context;
    const { batchDelayMs: batchMaxDelayMs = 0, attemptTimeoutMs: timeoutMs } = this.#options;
    const request = { ...this.#position.request(), ...(batchMaxDelayMs > 0 ? { batchMaxDelayMs } : {}) };
    return listenTo((options) => call(request, { ...options, ...(timeoutMs === undefined ? {} : { timeoutMs }) }), {
      what: "log stream",
      silenceMs: this.#silenceMs,
      clock,
      stop,
    });
  }
}

/** Messages of one entry each, or of a control. */
export async function* oneByOne<M extends { readonly control?: StreamControl | undefined }>(
  messages: AsyncIterable<M>,
): AsyncGenerator<LogMessage<M>> {
  for await (const message of messages) {
    yield message.control === undefined ? { entries: [message] } : { entries: [], control: message.control };
  }
}
