// Takes entries into one log: check, stamp, append. Whatever the entrance (WriteLogs, WriteLogStream, OTLP, in process),
// entries come through here, as bytes.
//
// I1. A bad entry is rejected by its place and the others are kept. Checking comes before idempotence, so a retry hears
//     the same rejections again.
// I2. Between reading `next` and `append` nothing is awaited: the sequences in the stamps are right.
// I3. An entry of an idempotent producer is appended at most once: its number is above the last one that the log knows.
//     A jump over numbers that the producer may still send is refused; they would count as duplicates when they came.
// I4. The event loop is held for a slice of entries at a time, never for a whole request.
import { LimitExceeded, SluiceError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { Clock, LogReader, LogWriter, ProducerState } from "../store/contract.ts";
import { nextTurn } from "../stream/turn.ts";
import { AnsweredNumbers } from "./answered.ts";
import { BytesTable } from "./bytes-table.ts";
import type { Rejection } from "./entry-scan.ts";
import { EntryScanner } from "./entry-scan.ts";
import type { LogName } from "./log-name.ts";
import type { StampRow } from "./stamp.ts";
import { BatchStamp, stampBytesMax } from "./stamp.ts";
import type { EntrySpans } from "./write-request.ts";

/** About 3 ms of checking and stamping. */
const SLICE_BYTES = 512 * 1024;
const SLICE_ENTRIES = 4096;

/** Where entries go: one log, or several by routes. */
export interface WriteTarget {
  /**
   * Appends all entries, slice by slice, each as soon as there is room for it. Each outcome must be used before the next
   * is asked for. At the bound of what waits for the disk a stream waits; who can be told to come again is refused, before
   * anything of it was appended. @throws ProducerGap, LogReadOnly, …: what came before stays appended
   */
  append(spans: EntrySpans, numbering: Numbering | undefined, options: AppendOptions): AsyncGenerator<SliceOutcome>;
}

export interface AppendOptions {
  readonly atBound: "wait" | "refuse";
}

/** Who numbers the entries of a write. */
export interface Numbering {
  readonly producer: string;
  /** Number of entry 0 of the spans. */
  readonly first: number;
  readonly settled: number;
}

/** Entries from..to (exclusive) of a request. */
export interface Slice {
  readonly spans: EntrySpans;
  readonly from: number;
  readonly to: number;
  /** Those of them that are for this log, ascending; undefined: all. */
  readonly places?: readonly number[];
}

/** With the fields that say where each entry comes from, by place in the spans. */
interface OriginatedSlice extends Slice {
  readonly origins: readonly Uint8Array[] | undefined;
}

/** What became of a slice of entries. */
export interface SliceOutcome {
  /** Entries of the slice. */
  readonly count: number;
  /** Taken now or before. */
  readonly accepted: number;
  /** Of them, taken before. */
  readonly duplicates: number;
  /** By place in the spans, ascending. */
  readonly rejected: readonly RejectedPlace[];
  /** Place of the last accepted one; -1 when none was. */
  readonly lastPlace: number;
  /** Its sequence in the log of `reader`; 0 when none was accepted. */
  readonly lastSequence: number;
  readonly reader: LogReader;
  /** Settles when the accepted ones are durable, or cannot become so. Its failure needs no further handler. */
  readonly durable: Promise<unknown>;
}

export interface RejectedPlace extends Rejection {
  readonly index: number;
}

/** A batch of an idempotent producer that leaves out what it may still send. To recover: send what is missing first. */
export class ProducerGap extends SluiceError {
  override readonly name = "ProducerGap";
  constructor(producer: string, first: number, expected: number) {
    super(
      "failed-precondition",
      `Cannot take entry ${first} of producer "${producer}": entry ${expected} comes first; send it, or say in ` +
        `settled_producer_sequence that it will never come`,
      { reason: "PRODUCER_GAP", metadata: { producer, expected: String(expected) } },
    );
  }
}

export interface IngestOptions {
  readonly log: LogName;
  readonly reader: LogReader;
  readonly writer: LogWriter;
  readonly clock: Clock;
  readonly limits: Limits;
}

export class Ingest implements WriteTarget {
  readonly log: LogName;
  readonly #options: IngestOptions;
  readonly #writer: LogWriter;
  readonly #scanner: EntryScanner;
  readonly #labels: BytesTable;
  readonly #row: StampRow;
  readonly #answered: AnsweredNumbers;

  constructor(options: IngestOptions) {
    this.log = options.log;
    this.#options = options;
    this.#writer = options.writer;
    this.#scanner = new EntryScanner(options.limits);
    this.#labels = new BytesTable((name) => options.writer.internLabel(name));
    this.#row = { scanned: this.#scanner, label: 0, producerSequence: 0 };
    this.#answered = new AnsweredNumbers(options, { max: options.limits.producersMax });
  }

  async *append(
    spans: EntrySpans,
    numbering: Numbering | undefined,
    { atBound }: AppendOptions,
  ): AsyncGenerator<SliceOutcome> {
    for (let from = 0; from < spans.starts.length;) {
      const to = endOfSlice(spans, from);
      if (from > 0) await nextTurn();
      const slice = { spans, from, to };
      if (from === 0 && atBound === "refuse") this.assertRoom(slice, numbering);
      yield await this.take(slice, numbering);
      from = to;
    }
  }

  /** @throws LimitExceeded with a time to retry when the slice would have to wait; what `append` of a log throws */
  assertRoom(slice: Slice, numbering: Numbering | undefined): void {
    const bytes = bytesOf(slice, numbering);
    if (this.#writer.hasRoom(bytes)) return;
    throw new LimitExceeded(
      `Cannot append to log "${this.log}": too much waits for the disk; the limit is ${this.#options.limits.pendingBytesMax} bytes`,
      "bytes waiting for the disk",
      { retryAfterMs: RETRY_AFTER_MS },
    );
  }

  /** @throws what `append` of a log throws, but for want of room */
  assertWritable(slice: Slice, numbering: Numbering | undefined): void {
    this.#writer.hasRoom(bytesOf(slice, numbering));
  }

  /** Appends the entries of a slice that are for this log, as soon as there is room for them. */
  async take(slice: Slice, numbering: Numbering | undefined): Promise<SliceOutcome> {
    const origins = await slice.spans.originsIn?.(this.log);
    const originated = { ...slice, origins };
    let outcome = this.#takeIfRoom(originated, numbering, { isAdmitted: false });
    while (outcome instanceof Promise) {
      await outcome;
      outcome = this.#takeIfRoom(originated, numbering, { isAdmitted: true });
    }
    return outcome;
  }

  /**
   * Nothing of a slice is for this log: its numbers are answered elsewhere. Without a word when numbers before it are
   * missing here: what comes for this log will be refused for that.
   */
  pass({ from, to }: Slice, { producer, first, settled }: Numbering): void {
    const known = this.#writer.producer(producer)?.lastProducerSequence;
    const answered = this.#answered.find(producer);
    const isKnown = known !== undefined || answered !== undefined;
    if (isKnown && first + from > Math.max(known ?? 0, answered ?? 0, settled) + 1) return;
    this.#answered.note(producer, first + to - 1);
  }

  /**
   * Appends now, or answers what to wait for. Whoever has waited is let in without asking again: that would put it behind
   * those who wait. Somebody may still have been quicker in the same turn; then it waits once more.
   */
  #takeIfRoom(
    slice: OriginatedSlice,
    numbering: Numbering | undefined,
    options: { readonly isAdmitted: boolean },
  ): SliceOutcome | Promise<void> {
    const bytes = bytesOf(slice, numbering);
    const wait = options.isAdmitted ? undefined : this.#writer.room(bytes);
    if (wait !== undefined) return wait;
    try {
      return this.#takeNow(slice, numbering);
    } catch (error) {
      const next = error instanceof LimitExceeded ? this.#writer.room(bytes) : undefined;
      if (next === undefined) throw error;
      return next;
    }
  }

  #takeNow(slice: OriginatedSlice, numbering: Numbering | undefined): SliceOutcome {
    const { spans, from, to, places, origins } = slice;
    const known = numbering === undefined ? undefined : this.#knownTo(numbering, from);
    const count = places?.length ?? to - from;
    const stamp = new BatchStamp({
      log: this.#options.log,
      epoch: this.#writer.epoch,
      first: this.#writer.next,
      receivedNs: this.#options.clock.nowNs(),
      producer: numbering?.producer ?? "",
      countMax: count,
      bytesHint: payloadBytesOf(slice),
    });
    const knownNumber = known?.lastProducerSequence ?? 0;
    const rejected: RejectedPlace[] = [];
    let duplicates = 0;
    let lastPlace = -1;
    for (let n = 0; n < count; n++) {
      const i = places === undefined ? from + n : places[n]!;
      const origin = origins?.[i];
      const rejection = this.#check(spans, i, stamp.overheadMax + (origin?.length ?? 0));
      const number = numbering === undefined ? 0 : numbering.first + i;
      if (rejection !== undefined) {
        rejected.push({ index: i, reason: rejection.reason, text: rejection.text });
        continue;
      }
      lastPlace = i;
      if (numbering !== undefined && number <= knownNumber) {
        duplicates++;
      } else {
        this.#row.producerSequence = number;
        if (spans.observed !== undefined) stamp.observe(spans.observed[2 * i]!, spans.observed[2 * i + 1]!);
        if (origin !== undefined) stamp.originate(origin);
        stamp.add(spans.bytes, spans.starts[i]!, spans.ends[i]!, this.#row);
      }
    }
    const last = numbering === undefined ? undefined : { ...numbering, last: numbering.first + to - 1 };
    const lastKnown = duplicates > 0 ? (known?.lastSequence ?? 0) : 0;
    const durable = this.#commit(stamp, last) ?? (lastKnown > 0 ? this.#writer.durable(lastKnown) : DONE);
    durable.catch(heardByWaiters);
    return {
      count,
      accepted: stamp.count + duplicates,
      duplicates,
      rejected,
      lastPlace,
      lastSequence: stamp.count > 0 ? this.#writer.next - 1 : lastKnown,
      reader: this.#options.reader,
      durable,
    };
  }

  /** Checks entry `i`; when it passes, its label is in the row. */
  #check(spans: EntrySpans, i: number, overheadMax: number): Rejection | undefined {
    const start = spans.starts[i]!;
    const end = spans.ends[i]!;
    const max = this.#options.limits.entryBytesMax - overheadMax;
    if (end - start > max) {
      return { reason: "ENTRY_TOO_LARGE", text: `the entry has ${end - start} bytes: the limit is ${max}` };
    }
    const scanned = this.#scanner;
    if (!scanned.scan(spans.bytes, start, end)) return scanned.rejection;
    try {
      this.#row.label = this.#labels.get(spans.bytes, scanned.applicationStart, scanned.applicationEnd);
    } catch (error) {
      if (error instanceof LimitExceeded) return { reason: "TOO_MANY_APPLICATIONS", text: error.message };
      throw error;
    }
    return undefined;
  }

  /** What the log knows of the producer. @throws ProducerGap when entry `from` leaves out what may still come (I3) */
  #knownTo(numbering: Numbering, from: number): ProducerState | undefined {
    const { producer, settled } = numbering;
    const first = numbering.first + from;
    const known = this.#writer.producer(producer);
    const answered = this.#answered.find(producer);
    if (known === undefined && answered === undefined) {
      this.#answered.begin(producer, Math.max(first - 1, settled));
      return undefined;
    }
    const expected = Math.max(known?.lastProducerSequence ?? 0, answered ?? 0, settled) + 1;
    if (first > expected) throw new ProducerGap(producer, first, expected);
    return known;
  }

  /** Appends what was stamped, if anything was, and remembers how far the producer was answered. */
  #commit(stamp: BatchStamp, numbering: (Numbering & { last: number }) | undefined): Promise<unknown> | undefined {
    if (stamp.count > 0) return this.#writer.append(this.#writer.next, stamp.finish(numbering?.last ?? 0));
    if (numbering !== undefined) this.#answered.note(numbering.producer, numbering.last);
    return undefined;
  }
}

const DONE: Promise<unknown> = Promise.resolve();
/** Groups take milliseconds. */
const RETRY_AFTER_MS = 100;

/** A failed append is heard by whoever awaits its promise; who asked for less than durability awaits none. */
function heardByWaiters(): void {}

/** The end of the slice that begins with entry `from` (I4). */
export function endOfSlice(spans: EntrySpans, from: number): number {
  const end = Math.min(spans.starts.length, from + SLICE_ENTRIES);
  const start = spans.starts[from]!;
  let to = from + 1;
  while (to < end && spans.ends[to]! - start <= SLICE_BYTES) to++;
  return to;
}

/** At most so many bytes are the frames of a slice. */
function bytesOf(slice: Slice & Partial<OriginatedSlice>, numbering: Numbering | undefined): number {
  const { from, to, places, origins } = slice;
  const count = places?.length ?? to - from;
  const originBytes = origins?.slice(from, to).reduce((sum, { length }) => sum + length, 0) ?? 0;
  return payloadBytesOf(slice) + originBytes + count * stampBytesMax(Buffer.byteLength(numbering?.producer ?? ""));
}

/** Of the entries as they came, or a little more. */
function payloadBytesOf({ spans, from, to, places }: Slice): number {
  if (places === undefined) return spans.ends[to - 1]! - spans.starts[from]!;
  return places.reduce((sum, i) => sum + spans.ends[i]! - spans.starts[i]!, 0);
}
