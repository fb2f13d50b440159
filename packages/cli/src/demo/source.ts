// One source of real lines for the demo, a file or stdin, read into the server's log.
//
// D1. Lines are appended in their order, one batch at a time; the source is read no faster than the log takes them.
// D2. What is read is counted and said; what the log refuses is counted as refused, never dropped in silence.
import { addAbortSignal, type Readable } from "node:stream";
import type { Clock, NewLogEntry } from "@sluice/client";
import { LineSplitter, type Piece } from "../ingest/line-splitter.ts";
import { readLine } from "../ingest/read-line.ts";
import { nearEnd, tailFile } from "../ingest/tail.ts";

/** Appends entries to the log and resolves, when they are durable, with how many it refused. */
export type Append = (entries: readonly NewLogEntry[]) => Promise<number>;

export interface SourceOptions {
  /** Whose lines these are, unless they say so themselves. */
  readonly application: string;
  readonly append: Append;
  readonly clock: Clock;
  /** Ends the source; what was read until then is appended. */
  readonly signal: AbortSignal;
}

/** How far a source has come. */
export interface SourceCounts {
  lines: number;
  refused: number;
  /** Of the last line. */
  application: string;
}

const BATCH_LINES = 512;
const BATCH_BYTES = 512 * 1024;
/** How much of a file's past is read: enough to see something, little enough to start at once. */
const HISTORY_BYTES_MAX = 1024 * 1024;
const POLL_MS = 1000;

/** Reads the end of a file and what is added to it, until the signal. `onHistory`: all that was there has been appended. */
export async function readFile(
  path: string,
  options: SourceOptions & { onHistory: (counts: SourceCounts) => void },
): Promise<void> {
  const batch = new LineBatch(options);
  const { clock, signal } = options;
  const events = tailFile(path, { follow: true, clock, signal, startOf: nearEnd(HISTORY_BYTES_MAX), pollMs: POLL_MS });
  let isHistory = true;
  /** When the history was last added to: the year of its times is found from it. Lines that are new are of now. */
  let historyMs: number | undefined;
  for await (const event of events) {
    if (event.kind === "opened") historyMs = (await event.source.facts()).modifiedMs;
    if (event.kind === "piece") await batch.add(event.piece, historyMs ?? nowMs(clock));
    if (event.kind !== "idle") continue;
    historyMs = undefined;
    await batch.flush();
    if (isHistory) options.onHistory(batch.counts);
    isHistory = false;
  }
  await batch.flush();
}

/** Reads a stream to its end, or until the signal. Each chunk's lines are appended at once. */
export async function readStream(stream: Readable, options: SourceOptions): Promise<SourceCounts> {
  const batch = new LineBatch(options);
  const splitter = new LineSplitter();
  const { signal, clock } = options;
  try {
    for await (const chunk of addAbortSignal(signal, stream)) {
      for (const piece of splitter.push(Buffer.from(chunk))) await batch.add(piece, nowMs(clock));
      await batch.flush();
    }
  } catch (error) {
    // Ended from outside while it waited for more: what it had is appended.
    if (!signal.aborted) throw error;
  }
  const rest = splitter.end();
  if (rest !== undefined) await batch.add(rest, nowMs(clock));
  await batch.flush();
  return batch.counts;
}

class LineBatch {
  readonly counts: SourceCounts;
  readonly #options: SourceOptions;
  #entries: NewLogEntry[] = [];
  #bytes = 0;

  constructor(options: SourceOptions) {
    this.#options = options;
    this.counts = { lines: 0, refused: 0, application: options.application };
  }

  /** @param nowMs when the line was written, as near as is known. */
  async add(piece: Piece, nowMs: number): Promise<void> {
    const { application } = this.#options;
    const line = readLine(piece, { application, isFixed: false, nowMs });
    if (line === undefined) return;
    this.#entries.push(line.entry);
    this.#bytes += piece.bytes.length;
    if (this.#entries.length >= BATCH_LINES || this.#bytes >= BATCH_BYTES) await this.flush();
  }

  async flush(): Promise<void> {
    const entries = this.#entries;
    if (entries.length === 0) return;
    this.#entries = [];
    this.#bytes = 0;
    this.counts.refused += await this.#options.append(entries);
    this.counts.lines += entries.length;
    this.counts.application = entries.at(-1)?.application ?? this.#options.application;
  }
}

function nowMs(clock: Clock): number {
  return Number(clock.nowNs() / 1_000_000n);
}
