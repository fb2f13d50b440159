// Pushes what comes through a pipe: no place to remember, and an end only when the other side says so.
import { addAbortSignal, type Readable } from "node:stream";
import type { Timer } from "@sluice/client";
import { LinePusher } from "./line-pusher.ts";
import { LineSplitter, type Piece } from "./line-splitter.ts";
import type { PushContext } from "./push-file.ts";
import { untilStopped } from "./until-stopped.ts";

/** Ctrl-C reaches the program before the pipe too: its last words are still to come. */
const LAST_WORDS_MS = 500;

/** Pushes the lines of a stream until it ends or is told to stop. @throws LogWriterFailed */
export async function pushStream(
  stream: Readable,
  options: { readonly name: string },
  context: PushContext,
): Promise<void> {
  const { client, clock, counts, application, log, bufferBytesMax, attemptsMax, stop, patienceMs } = context;
  const pusher = new LinePusher({
    client,
    counts,
    start: { offset: 0, part: 0, nextSequence: 1 },
    writer: { bufferBytesMax, retry: { attemptsMax }, ...(log === undefined ? {} : { log }) },
    onRejected: (rejected) => context.onRejected(options.name, rejected),
    onDisconnected: (error, retryInMs) => context.onDisconnected(error, retryInMs),
    onProgress: () => context.onProgress(),
  });
  const splitter = new LineSplitter();
  const push = (piece: Piece): Promise<void> =>
    pusher.push(piece, {
      application: application ?? options.name,
      isFixed: application !== undefined,
      nowMs: Number(clock.nowNs() / 1_000_000n),
    });
  const over = new AbortController();
  const onStop = (): void => void timers.push(clock.setTimer(() => over.abort(), LAST_WORDS_MS));
  const timers: Timer[] = [];
  if (stop.aborted) onStop();
  stop.addEventListener("abort", onStop, { once: true });
  try {
    for await (const chunk of addAbortSignal(over.signal, stream)) {
      for (const piece of splitter.push(Buffer.from(chunk))) await untilStopped(push(piece), over.signal);
    }
  } catch (error) {
    if (!over.signal.aborted) throw error; // aborted: what came until then is sent
  } finally {
    stop.removeEventListener("abort", onStop);
    const rest = splitter.end();
    if (rest !== undefined) await untilStopped(push(rest), over.signal);
    const patience = new AbortController();
    const giveUp = (): void => patience.abort(new Error(`${patienceMs} ms were not enough to send the rest`));
    if (stop.aborted) timers.push(clock.setTimer(giveUp, patienceMs));
    await pusher.close(patience.signal).finally(() => timers.forEach((timer) => timer.cancel()));
  }
}
