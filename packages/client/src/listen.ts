// One call of a stream that promised to be heard of.
import { Code, RpcError } from "@sluice/rpc";
import { abortWith } from "./abort.ts";
import { SilenceAlarm } from "./silence-alarm.ts";
import type { Clock } from "./time.ts";

/** A stream that says nothing for so many of its heartbeats is given up. */
export const SILENCE_IN_HEARTBEATS = 2.5;

/**
 * What a call answers. A silent one fails with UNAVAILABLE.
 * @param options `what`: "log stream"; `silenceMs`: undefined where silence is no sign of anything
 */
export async function* listenTo<M>(
  call: (options: { readonly signal: AbortSignal }) => AsyncIterable<M>,
  options: {
    readonly what: string;
    readonly silenceMs: number | undefined;
    readonly clock: Clock;
    readonly stop: AbortSignal;
  },
): AsyncGenerator<M> {
  const { what, silenceMs, clock, stop } = options;
  const attempt = new AbortController();
  const unlink = abortWith(attempt, [stop]);
  const alarm =
    silenceMs === undefined
      ? undefined
      : new SilenceAlarm(clock, silenceMs, () => {
          const text = `The ${what} was silent for ${silenceMs} ms: not even a heartbeat came`;
          attempt.abort(new RpcError(Code.UNAVAILABLE, text));
        });
  try {
    const messages = call({ signal: attempt.signal })[Symbol.asyncIterator]();
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
