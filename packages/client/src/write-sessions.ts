// What writers have in common: session after session while there is something to write, with a pause after each that was lost.
import { abortWith } from "./abort.ts";
import type { EntryQueue } from "./entry-queue.ts";
import type { Gate } from "./gate.ts";
import { judge, Retrier, type RetryPolicy } from "./retry.ts";
import { type Clock, type Random, sleep } from "./time.ts";

/** One call that writes what waits in the queue. */
interface RunnableSession {
  /** Whether the server has answered something. */
  readonly hasProgress: boolean;
  /** Ends when the writer is closing and nothing waits. @throws when the call is lost */
  run(signal: AbortSignal): Promise<void>;
}

export interface WriteSessionsContext<Session extends RunnableSession> {
  readonly clock: Clock;
  readonly random: Random;
  readonly policy: RetryPolicy;
  readonly queue: EntryQueue;
  /** Opened when something was pushed, or the end is near. */
  readonly work: Gate;
  readonly stop: AbortController;
  /** What else ends it. */
  readonly signals: readonly (AbortSignal | undefined)[];
  isClosing(): boolean;
  open(): Session;
  /** The session that runs; undefined: none does. */
  onSession(session: Session | undefined): void;
  readonly onDisconnected:
    | ((error: unknown, next: { readonly retryInMs: number; readonly failures: number }) => void)
    | undefined;
}

/** Resolves when the writer is closing and nothing is left. @throws what cannot be tried again, and the reason of `stop` */
export async function runWriteSessions<Session extends RunnableSession>(
  context: WriteSessionsContext<Session>,
): Promise<void> {
  const { clock, queue, work, stop } = context;
  const retrier = new Retrier(context.policy, context.random);
  const unlink = abortWith(stop, context.signals);
  const wake = (): void => work.open();
  stop.signal.addEventListener("abort", wake, { once: true });
  try {
    for (;;) {
      while (queue.length === 0 && !context.isClosing() && !stop.signal.aborted) await work.wait();
      if (queue.length === 0) return;
      stop.signal.throwIfAborted();
      const session = context.open();
      context.onSession(session);
      try {
        await session.run(stop.signal);
      } catch (error) {
        stop.signal.throwIfAborted();
        if (session.hasProgress) retrier.succeeded();
        // When nobody waits for anything, the next call can wait for something to send.
        if (queue.length === 0 && judge(error).kind === "retry") continue;
        const retryInMs = retrier.failed(error);
        context.onDisconnected?.(error, { retryInMs, failures: retrier.failures });
        await sleep(clock, retryInMs, stop.signal);
      } finally {
        context.onSession(undefined);
      }
    }
  } finally {
    unlink();
  }
}
