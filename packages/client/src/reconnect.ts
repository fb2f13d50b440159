// A stream of messages that is opened again and again, for as long as somebody reads it.
//
// RC1. When the reader leaves, by `return` or by its signal, the attempt, its timer and its listeners go in that turn.
import { abortWith } from "./abort.ts";
import { Retrier, type RetryPolicy } from "./retry.ts";
import { type Clock, type Random, sleep } from "./time.ts";

/** What happens between messages. */
export type ConnectionEvent =
  /** The connection is lost; the next attempt follows after `retryInMs`. `failures` counts those in a row. */
  | { readonly kind: "disconnected"; readonly error: unknown; readonly retryInMs: number; readonly failures: number }
  | { readonly kind: "resumed" };

export interface ReconnectOptions<M, E> {
  readonly attempt: (stop: AbortSignal) => AsyncIterable<M>;
  /**
   * Whether all that was asked for is there; asked before each attempt, and with its error when one has failed: how it
   * ended does not matter then. Absent: there is always more.
   */
  readonly isDone?: (error?: unknown) => boolean;
  /** Whether a message shows that the attempt was a good one. Absent: each does. */
  readonly isProgress?: (message: M) => boolean;
  /** What the reader gets of a message; iterated as the reader takes it. */
  readonly eventsOf: (message: M) => Iterable<E>;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Each of them ends the stream: the iteration throws its reason. */
  readonly signals: readonly (AbortSignal | undefined)[];
}

/** Why a stream stops whose reader called `return`: an end, no error. */
const READER_LEFT = new DOMException("The reader left", "AbortError");

/** What attempt after attempt brings, until one ends well. @throws RpcError; a signal's reason */
export function reconnecting<M, E>(options: ReconnectOptions<M, E>): AsyncIterableIterator<E | ConnectionEvent> {
  const stop = new AbortController();
  const generator = run(options, stop);
  return {
    next: () => generator.next(),
    return: () => {
      stop.abort(READER_LEFT); // RC1: a generator that waits for the server hears of nothing else
      return generator.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** What `form` makes of what comes. Who leaves it leaves both at once, also while it waits for the server (RC1). */
export function reading<E, T>(
  events: AsyncIterableIterator<E>,
  form: (events: AsyncIterable<E>) => AsyncGenerator<T>,
): AsyncIterableIterator<T> {
  const generator = form(events);
  return {
    next: () => generator.next(),
    return: async () => {
      await events.return!(); // a generator that waits hears of nothing else
      return generator.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

async function* run<M, E>(
  { attempt, isDone, isProgress, eventsOf, clock, random, retry, signals }: ReconnectOptions<M, E>,
  stop: AbortController,
): AsyncGenerator<E | ConnectionEvent> {
  const retrier = new Retrier(retry, random);
  const unlink = abortWith(stop, signals);
  let isResuming = false;
  try {
    while (isDone?.() !== true) {
      stop.signal.throwIfAborted();
      const startedMs = clock.monotonicMs();
      try {
        for await (const message of attempt(stop.signal)) {
          if (isResuming) yield { kind: "resumed" };
          isResuming = false;
          if (isProgress?.(message) !== false) retrier.succeeded();
          yield* eventsOf(message);
        }
        return;
      } catch (error) {
        stop.signal.throwIfAborted();
        if (isDone?.(error) === true) return;
        // An attempt that lived for long was a good one even if nothing happened meanwhile.
        if (clock.monotonicMs() - startedMs > retry.maxMs) retrier.succeeded();
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
