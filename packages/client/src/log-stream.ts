// A log stream that outlives its connections.
//
// S1. Between two attempts the position decides alone what is asked for next: nothing is repeated, nothing is missed.
// S2. One message is pulled at a time, and only when the reader wants one: what waits, waits in the stream's window.
// S3. When the reader leaves, by `return` or by its signal, the attempt, its timer and its listeners go in that turn.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Gap, LogEntry, LogStreamRequestSchema } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { abortWith } from "./abort.ts";
import { type LogControl, LogPosition, type LogQuery } from "./log-position.ts";
import { Retrier, type RetryPolicy } from "./retry.ts";
import { SilenceAlarm } from "./silence-alarm.ts";
import { type Clock, type Random, sleep } from "./time.ts";

/** What happens on a log stream, in order. */
export type LogEvent =
  | { readonly kind: "entry"; readonly entry: LogEntry }
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

/** The one call that a stream needs. */
export interface StreamLogsCall {
  (
    request: MessageInitShape<typeof LogStreamRequestSchema>,
    options: { signal: AbortSignal; timeoutMs?: number },
  ): AsyncIterable<LogEntry>;
}

const HEARTBEAT_MS = 15_000;
const SILENCE_IN_HEARTBEATS = 2.5;
/** Why a stream stops whose reader called `return`: an end, no error. */
const READER_LEFT = new DOMException("The reader left", "AbortError");

export interface LogStreamContext {
  readonly call: StreamLogsCall;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

/** Entries that match a query, in the order of the log. Iterated once: either itself (entries only) or `events()`. */
export class LogStream implements AsyncIterable<LogEntry> {
  readonly #context: LogStreamContext;
  readonly #options: LogStreamOptions;
  readonly #position: LogPosition;
  /** Undefined when silence is no sign of anything. */
  readonly #silenceMs: number | undefined;
  #isTaken = false;

  constructor(context: LogStreamContext, query: LogQuery, options: LogStreamOptions) {
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
  events(): AsyncIterableIterator<LogEvent> {
    if (this.#isTaken) throw new Error("Cannot iterate a log stream twice: open another with resumeAfter");
    this.#isTaken = true;
    const stop = new AbortController();
    const generator = this.#run(stop);
    return {
      next: () => generator.next(),
      return: () => {
        stop.abort(READER_LEFT); // S3: a generator that waits for the server hears of nothing else
        return generator.return(undefined);
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<LogEntry> {
    const events = this.events();
    const onGap = this.#options.onGap;
    return {
      async next() {
        for (;;) {
          const event = await events.next();
          if (event.done === true) return { done: true, value: undefined };
          if (event.value.kind === "entry") return { done: false, value: event.value.entry };
          if (event.value.kind !== "gap") continue;
          if (onGap !== undefined) {
            onGap(event.value.gap);
            continue;
          }
          await events.return?.();
          throw new LogGapError(event.value.gap);
        }
      },
      async return() {
        await events.return?.();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Attempt after attempt, until the stream ends well or for good. */
  async *#run(stop: AbortController): AsyncGenerator<LogEvent> {
    const { clock, random } = this.#context;
    const policy = { ...this.#context.retry, ...this.#options.retry };
    const retrier = new Retrier(policy, random);
    const unlink = abortWith(stop, [this.#context.closed, this.#options.signal]);
    let isResuming = false;
    try {
      while (!this.#position.isFull) {
        stop.signal.throwIfAborted();
        const startedMs = clock.monotonicMs();
        try {
          for await (const message of this.#attempt(stop.signal)) {
            if (isResuming) yield { kind: "resumed", cursor: this.#position.cursor };
            isResuming = false;
            const control = this.#position.advance(message);
            if (control === undefined) retrier.succeeded();
            yield control ?? { kind: "entry", entry: message };
          }
          return;
        } catch (error) {
          stop.signal.throwIfAborted();
          this.#position.interrupt(error);
          if (this.#position.isFull) return; // all was delivered: how the stream ended does not matter
          // An attempt that lived for long was a good one even if nothing was logged meanwhile.
          if (clock.monotonicMs() - startedMs > policy.maxMs) retrier.succeeded();
          const retryInMs = retrier.failed(error);
          isResuming = true;
          yield { kind: "disconnected", error, retryInMs, failures: retrier.failures };
          await sleep(clock, retryInMs, stop.signal);
        }
      }
    } catch (error) {
      if (error !== READER_LEFT) throw error;
    } finally {
      unlink();
      stop.abort();
    }
  }

  /** One call, from where the stream stands. A silent one fails with UNAVAILABLE. */
  async *#attempt(stop: AbortSignal): AsyncGenerator<LogEntry> {
    const { call, clock } = this.#context;
    const silenceMs = this.#silenceMs;
    const attempt = new AbortController();
    const unlink = abortWith(attempt, [stop]);
    const alarm =
      silenceMs === undefined
        ? undefined
        : new SilenceAlarm(clock, silenceMs, () => {
            const text = `The log stream was silent for ${silenceMs} ms: not even a heartbeat came`;
            attempt.abort(new RpcError(Code.UNAVAILABLE, text));
          });
    const timeoutMs = this.#options.attemptTimeoutMs;
    try {
      const options = { signal: attempt.signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
      const messages = call(this.#position.request(), options)[Symbol.asyncIterator]();
      for (;;) {
        alarm?.listen();
        const next = await messages.next();
        attempt.signal.throwIfAborted();
        if (next.done === true) return;
        alarm?.heard();
        yield next.value;
      }
    } catch (error) {
      attempt.signal.throwIfAborted(); // the reason says more than the cancellation that it caused
      throw error;
    } finally {
      alarm?.stop();
      unlink();
      attempt.abort();
    }
  }
}
