// Turns the lines of one source into entries of one producer, and knows up to which line the server has answered.
//
// U1. Line n of a source always becomes the producer's entry n, whenever and however often it is read: the server drops
//     what it has already.
// U2. `acknowledged` never runs ahead of the server.
import type { LogWriter, LogWriterOptions, RejectedLogEntry, SluiceClient } from "@sluice/client";
import type { StartPlace } from "./file-source.ts";
import type { Piece } from "./line-splitter.ts";
import { type Fingerprint, tailFingerprint } from "./places.ts";
import type { PushCounts } from "./push-counts.ts";
import { type LineSource, readLine } from "./read-line.ts";

export interface LinePusherOptions {
  readonly client: SluiceClient;
  readonly writer: Pick<LogWriterOptions, "producer" | "bufferBytesMax" | "retry" | "log">;
  /** Where the first line lies, and what number its entry gets. */
  readonly start: StartPlace & { readonly nextSequence: number };
  readonly counts: PushCounts;
  onRejected(rejected: RejectedLogEntry): void;
  onDisconnected(error: unknown, retryInMs: number): void;
  /** More was acknowledged. */
  onProgress(): void;
}

const DONE = Promise.resolve();

/** Up to where everything was answered. */
export interface Acknowledged extends StartPlace {
  readonly nextSequence: number;
  /** The last line before `offset`; undefined: none was pushed yet. */
  readonly tail: Fingerprint | undefined;
}

/** A line that is under way. */
interface Mark {
  readonly sequence: number;
  readonly piece: Piece;
  /** Where the next line begins: behind this one, and behind blank lines that follow it. */
  next: StartPlace;
}

export class LinePusher {
  readonly #options: LinePusherOptions;
  readonly #writer: LogWriter;
  #marks: Mark[] = [];
  #acknowledged: Acknowledged;

  constructor(options: LinePusherOptions) {
    this.#options = options;
    this.#acknowledged = { ...options.start, tail: undefined };
    this.#writer = options.client.openLogWriter({
      ...options.writer,
      firstSequence: options.start.nextSequence,
      onRejected: (rejected) => {
        options.counts.rejected++;
        options.onRejected(rejected);
      },
      onDisconnected: (error, { retryInMs }) => options.onDisconnected(error, retryInMs),
      onAcknowledged: (through, { duplicates }) => this.#onAcknowledged(through, duplicates),
    });
  }

  get acknowledged(): Acknowledged {
    return this.#acknowledged;
  }

  /** Takes a line; resolves when there is room for the next one. @throws LogWriterFailed */
  push(piece: Piece, source: LineSource): Promise<void> {
    const { counts } = this.#options;
    const line = readLine(piece, source);
    if (line === undefined) {
      counts.blank++;
      this.#skip(piece);
      return DONE;
    }
    counts.lines++;
    counts.replaced += line.replaced;
    if (line.format === "json") counts.json++;
    if (piece.part > 0) counts.pieces++;
    this.#marks.push({ sequence: this.#writer.nextSequence, piece, next: placeAfter(piece) });
    return this.#writer.write(line.entry);
  }

  /** Resolves when everything is answered. @throws LogWriterFailed */
  flush(): Promise<void> {
    return this.#writer.flush();
  }

  /** Sends the rest and waits for the answers. @throws LogWriterFailed, also when the signal aborts before that. */
  close(signal?: AbortSignal): Promise<void> {
    return this.#writer.close(signal === undefined ? {} : { signal });
  }

  /** A blank line is behind us as soon as the line before it is. */
  #skip(piece: Piece): void {
    const last = this.#marks.at(-1);
    if (last !== undefined) last.next = placeAfter(piece);
    else this.#acknowledged = { ...this.#acknowledged, ...placeAfter(piece) };
  }

  #onAcknowledged(through: number, duplicates: number): void {
    const { counts } = this.#options;
    const open = this.#marks.findIndex(({ sequence }) => sequence > through);
    const answered = this.#marks.splice(0, open < 0 ? this.#marks.length : open);
    const last = answered.at(-1);
    counts.duplicates += duplicates;
    if (last === undefined) return;
    counts.acknowledged += answered.length;
    for (const { piece, next } of answered) counts.bytes += next.offset - piece.start;
    const { piece } = last;
    this.#acknowledged = {
      ...last.next,
      nextSequence: last.sequence + 1,
      tail: tailFingerprint(piece.bytes, piece.start + piece.bytes.length),
    };
    this.#options.onProgress();
  }
}

function placeAfter(piece: Piece): StartPlace {
  return { offset: piece.end, part: piece.isLast ? 0 : piece.part };
}
