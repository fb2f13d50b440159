// Pushes what comes through a pipe: no place to remember, and an end only when the other side says so.
import { addAbortSignal, type Readable } from "node:stream";
import type { Timer } from "@sluice/client";
import { beginsJournalExport, JournalSplitter } from "./journal-export.ts";
import { LinePusher } from "./line-pusher.ts";
import { LineSplitter, type Piece, type Splitter } from "./line-splitter.ts";
import type { PushContext } from "./push-file.ts";
import type { LineFormat } from "./read-line.ts";
import { untilStopped } from "./until-stopped.ts";

/** Ctrl-C reaches the program before the pipe too: its last words are still to come. */
const LAST_WORDS_MS = 500;
/** What could go on is sent when nothing came for so long. */
const QUIET_MS = 100;

/** Pushes the lines of a stream until it ends or is told to stop. @throws LogWriterFailed */
export async function pushStream(
  stream: Readable,
  options: { readonly name: string },
  context: PushContext,
): Promise<void> {
  const { client, clock, counts, application, format, log, rule, bufferBytesMax, attemptsMax, stop, patienceMs } =
    context;
  const pusher = new LinePusher({
    client,
    counts,
    rule,
    lines: {
      application: application ?? options.name,
      isFixed: application !== undefined,
      nowMs: Number(clock.nowNs() / 1_000_000n),
      format,
    },
    start: { offset: 0, part: 0, nextSequence: 1 },
    writer: { bufferBytesMax, retry: { attemptsMax }, ...(log === undefined ? {} : { log }) },
    onRejected: (rejected) => context.onRejected(options.name, rejected),
    onDisconnected: (error, retryInMs) => context.onDisconnected(error, retryInMs),
    onProgress: () => context.onProgress(),
  });
  const cutter = new Cutter(format);
  const over = new AbortController();
  const onStop = (): void => void timers.push(clock.setTimer(() => over.abort(), LAST_WORDS_MS));
  const timers: Timer[] = [];
  let quiet: Timer | undefined;
  if (stop.aborted) onStop();
  stop.addEventListener("abort", onStop, { once: true });
  try {
    for await (const chunk of addAbortSignal(over.signal, stream)) {
      quiet?.cancel();
      for (const piece of cutter.push(Buffer.from(chunk))) await untilStopped(pusher.push(piece), over.signal);
      // A failure of the writer is heard of by whoever closes it.
      if (pusher.isOpen) quiet = clock.setTimer(() => void pusher.cut().catch(() => {}), QUIET_MS);
    }
  } catch (error) {
    if (!over.signal.aborted) throw error; // aborted: what came until then is sent
  } finally {
    quiet?.cancel();
    stop.removeEventListener("abort", onStop);
    for (const piece of cutter.end()) await untilStopped(pusher.push(piece), over.signal);
    await untilStopped(pusher.cut(), over.signal);
    const patience = new AbortController();
    const giveUp = (): void => patience.abort(new Error(`${patienceMs} ms were not enough to send the rest`));
    if (stop.aborted) timers.push(clock.setTimer(giveUp, patienceMs));
    await pusher.close(patience.signal).finally(() => timers.forEach((timer) => timer.cancel()));
  }
}

/** Cuts a stream into lines, or into a journal's entries when it begins like one. */
class Cutter {
  readonly #format: LineFormat;
  #splitter: Splitter | undefined;
  /** What came before it was clear which of them it is. */
  #beginning: Uint8Array = new Uint8Array(0);

  constructor(format: LineFormat) {
    this.#format = format;
  }

  push(chunk: Uint8Array): Iterable<Piece> {
    if (this.#splitter !== undefined) return this.#splitter.push(chunk);
    this.#beginning = Buffer.concat([this.#beginning, chunk]);
    const isJournal =
      this.#format === "auto" || this.#format === "journal" ? beginsJournalExport(this.#beginning) : false;
    if (isJournal === undefined) return [];
    this.#splitter = isJournal ? new JournalSplitter() : new LineSplitter();
    return this.#splitter.push(this.#beginning);
  }

  end(): Piece[] {
    const splitter = this.#splitter ?? new LineSplitter();
    const pieces = this.#splitter === undefined ? Array.from(splitter.push(this.#beginning)) : [];
    const rest = splitter.end();
    return rest === undefined ? pieces : [...pieces, rest];
  }
}
