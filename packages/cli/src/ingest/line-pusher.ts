// Turns the lines of one source into entries of one producer, and knows up to which line the server has answered.
//
// U1. Record n of a source always becomes the producer's entry n, whenever and however often it is read: the server drops
//     what it has already. So reading goes on only from a clean place (R1 of record-joiner.ts).
// U2. `acknowledged` never runs ahead of the server.
import type { LogWriter, LogWriterOptions, RejectedLogEntry, SluiceClient } from "@sluice/client";
import type { StartPlace } from "./file-source.ts";
import type { JoinRule } from "./join-rule.ts";
import type { Piece } from "./line-splitter.ts";
import { type Fingerprint, tailFingerprint } from "./places.ts";
import type { PushCounts } from "./push-counts.ts";
import type { LineSource } from "./read-line.ts";
import { type JoinedRecord, RecordJoiner } from "./record-joiner.ts";

export interface LinePusherOptions {
  readonly client: SluiceClient;
  readonly writer: Pick<LogWriterOptions, "producer" | "bufferBytesMax" | "retry" | "log">;
  /** Where the first line lies, and what number its entry gets. */
  readonly start: StartPlace & { readonly nextSequence: number };
  readonly lines: LineSource;
  readonly rule: JoinRule;
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

/** A place from which reading may go on, once the entries before it are answered. */
interface CleanPlace extends StartPlace {
  readonly nextSequence: number;
  /** The piece before it, blank ones left out. */
  readonly before: Piece | undefined;
}

export class LinePusher {
  readonly #options: LinePusherOptions;
  readonly #writer: LogWriter;
  readonly #joiner: RecordJoiner;
  /** Places behind what was answered, in order. */
  #clean: CleanPlace[] = [];
  #answered: number;
  #acknowledged: Acknowledged;
  #lastPiece: Piece | undefined;
  /** The last one that was not blank. */
  #lastText: Piece | undefined;

  constructor(options: LinePusherOptions) {
    const { client, counts, lines, rule, start } = options;
    this.#options = options;
    this.#acknowledged = { ...start, tail: undefined };
    this.#answered = start.nextSequence - 1;
    this.#joiner = new RecordJoiner(rule, lines, counts);
    this.#writer = client.openLogWriter({
      ...options.writer,
      firstSequence: start.nextSequence,
      onRejected: (rejected) => {
        counts.rejected++;
        options.onRejected(rejected);
      },
      onDisconnected: (error, { retryInMs }) => options.onDisconnected(error, retryInMs),
      onAcknowledged: (through, { duplicates }) => this.#onAcknowledged(through, duplicates),
    });
  }

  get acknowledged(): Acknowledged {
    return this.#acknowledged;
  }

  /** Some lines wait for others that may belong to them. */
  get isOpen(): boolean {
    return this.#joiner.openSince !== undefined;
  }

  /** Behind the last piece that was taken. */
  get position(): StartPlace {
    return this.#lastPiece === undefined ? this.#options.start : placeAfter(this.#lastPiece);
  }

  /** Takes a line; resolves when there is room for the next one. @throws LogWriterFailed */
  push(piece: Piece): Promise<void> {
    const before = this.#lastText;
    this.#lastPiece = piece;
    if (piece.bytes.length > 0) this.#lastText = piece;
    const written = this.#write(this.#joiner.push(piece));
    const { openSince, isBetweenEntries } = this.#joiner;
    if (openSince === undefined) {
      if (isBetweenEntries) this.#addClean(placeAfter(piece), this.#lastText);
    } else if (openSince >= piece.start) this.#addClean({ offset: piece.start, part: 0 }, before);
    return written;
  }

  /** Ends what is open: no line that may follow belongs to it. @throws LogWriterFailed */
  cut(): Promise<void> {
    const written = this.#write(this.#joiner.cut());
    if (this.#joiner.isBetweenEntries) this.#addClean(this.position, this.#lastText);
    return written;
  }

  /** Resolves when everything is answered. @throws LogWriterFailed */
  flush(): Promise<void> {
    return this.#writer.flush();
  }

  /** Sends the rest and waits for the answers. @throws LogWriterFailed, also when the signal aborts before that. */
  close(signal?: AbortSignal): Promise<void> {
    return this.#writer.close(signal === undefined ? {} : { signal });
  }

  #write(records: readonly JoinedRecord[]): Promise<void> {
    const { counts } = this.#options;
    const writes = records.map(({ entry, format }) => {
      counts.entries++;
      counts.formats[format] = (counts.formats[format] ?? 0) + 1;
      return this.#writer.write(entry);
    });
    const [first = DONE, ...more] = writes;
    return more.length === 0 ? first : Promise.all(writes).then(() => {});
  }

  /** All records before the place are written. Of two with the same number the later one counts: blank lines lie between. */
  #addClean(place: StartPlace, before: Piece | undefined): void {
    const clean = { ...place, nextSequence: this.#writer.nextSequence, before };
    if (this.#clean.at(-1)?.nextSequence === clean.nextSequence) this.#clean.pop();
    this.#clean.push(clean);
    if (clean.nextSequence - 1 <= this.#answered) this.#moveOn();
  }

  #onAcknowledged(through: number, duplicates: number): void {
    const { counts } = this.#options;
    counts.duplicates += duplicates;
    counts.acknowledged += Math.max(0, through - this.#answered);
    this.#answered = Math.max(this.#answered, through);
    if (this.#moveOn()) this.#options.onProgress();
  }

  /** Goes to the last clean place behind which nothing is unanswered. */
  #moveOn(): boolean {
    const open = this.#clean.findIndex(({ nextSequence }) => nextSequence - 1 > this.#answered);
    const last = this.#clean.splice(0, open < 0 ? this.#clean.length : open).at(-1);
    if (last === undefined) return false;
    const { before, offset, part, nextSequence } = last;
    this.#options.counts.bytes += offset - this.#acknowledged.offset;
    const tail =
      before === undefined
        ? this.#acknowledged.tail
        : tailFingerprint(before.bytes, before.start + before.bytes.length);
    this.#acknowledged = { offset, part, nextSequence, tail };
    return true;
  }
}

function placeAfter(piece: Piece): StartPlace {
  return { offset: piece.end, part: piece.isLast ? 0 : piece.part };
}
