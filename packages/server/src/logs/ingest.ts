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
import type { Clock, LogWriter, ProducerState } from "../store/contract.ts";
import { nextTurn } from "../stream/turn.ts";
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

/** Who numbers the entries of a write. */
export interface Numbering {
  readonly producer: string;
  /** Number of entry 0 of the spans. */
  readonly first: number;
  readonly settled: number;
}

/** What became of a slice of entries. */
export interface SliceOutcome {
  /** Entries of the slice. */
  readonly count: number;
  /** Taken now or before. */
  readonly accepted: number;
  /** Of them, taken before. */
  readonly duplicates: number;
  /** By place in the spans. */
  readonly rejected: readonly RejectedPlace[];
  /** Sequence of the last accepted one; 0 when none was. */
  readonly lastSequence: number;
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
  readonly writer: LogWriter;
  readonly clock: Clock;
  readonly limits: Limits;
}

export class Ingest {
  readonly #options: IngestOptions;
  readonly #writer: LogWriter;
  readonly #scanner: EntryScanner;
  readonly #labels: BytesTable;
  readonly #row: StampRow;
  /** Numbers of producers that were answered by a rejection after the last entry that the log knows of them. */
  readonly #answered = new Map<string, number>();

  constructor(options: IngestOptions) {
    this.#options = options;
    this.#writer = options.writer;
    this.#scanner = new EntryScanner(options.limits);
    this.#labels = new BytesTable((name) => options.writer.internLabel(name));
    this.#row = { scanned: this.#scanner, label: 0, producerSequence: 0 };
  }

  /**
   * Appends all entries, slice by slice, each as soon as there is room for it. Each outcome must be used before the next
   * is asked for. @throws ProducerGap, LogReadOnly, …: what came before stays appended
   */
  async *append(spans: EntrySpans, numbering: Numbering | undefined): AsyncGenerator<SliceOutcome> {
    for (let from = 0; from < spans.starts.length;) {
      const to = endOfSlice(spans, from);
      if (from > 0) await nextTurn();
      let outcome = this.#appendIfRoom(spans, from, to, numbering, { isAdmitted: false });
      while (outcome instanceof Promise) {
        await outcome;
        outcome = this.#appendIfRoom(spans, from, to, numbering, { isAdmitted: true });
      }
      yield outcome;
      from = to;
    }
  }

  /**
   * Appends now, or answers what to wait for. Whoever has waited is let in without asking again: that would put it behind
   * those who wait. Somebody may still have been quicker in the same turn; then it waits once more.
   */
  #appendIfRoom(
    spans: EntrySpans,
    from: number,
    to: number,
    numbering: Numbering | undefined,
    options: { readonly isAdmitted: boolean },
  ): SliceOutcome | Promise<void> {
    const stampMax = stampBytesMax(Buffer.byteLength(numbering?.producer ?? ""));
    const bytes = spans.ends[to - 1]! - spans.starts[from]! + (to - from) * stampMax;
    const wait = options.isAdmitted ? undefined : this.#writer.room(bytes);
    if (wait !== undefined) return wait;
    try {
      return this.#appendSlice(spans, from, to, numbering);
    } catch (error) {
      const next = error instanceof LimitExceeded ? this.#writer.room(bytes) : undefined;
      if (next === undefined) throw error;
      return next;
    }
  }

  #appendSlice(spans: EntrySpans, from: number, to: number, numbering: Numbering | undefined): SliceOutcome {
    const known = numbering === undefined ? undefined : this.#knownTo(numbering, from);
    const stamp = new BatchStamp({
      log: this.#options.log,
      epoch: this.#writer.epoch,
      first: this.#writer.next,
      receivedNs: this.#options.clock.nowNs(),
      producer: numbering?.producer ?? "",
      countMax: to - from,
      bytesHint: spans.ends[to - 1]! - spans.starts[from]!,
    });
    const knownNumber = known?.lastProducerSequence ?? 0;
    const rejected: RejectedPlace[] = [];
    let duplicates = 0;
    for (let i = from; i < to; i++) {
      const rejection = this.#check(spans, i, stamp.overheadMax);
      const number = numbering === undefined ? 0 : numbering.first + i;
      if (rejection !== undefined) {
        rejected.push({ index: i, reason: rejection.reason, text: rejection.text });
      } else if (numbering !== undefined && number <= knownNumber) {
        duplicates++;
      } else {
        this.#row.producerSequence = number;
        if (spans.observed !== undefined) stamp.observe(spans.observed[2 * i]!, spans.observed[2 * i + 1]!);
        stamp.add(spans.bytes, spans.starts[i]!, spans.ends[i]!, this.#row);
      }
    }
    const last = numbering === undefined ? undefined : { ...numbering, last: numbering.first + to - 1 };
    const lastKnown = duplicates > 0 ? (known?.lastSequence ?? 0) : 0;
    const durable = this.#commit(stamp, last) ?? (lastKnown > 0 ? this.#writer.durable(lastKnown) : DONE);
    durable.catch(heardByWaiters);
    return {
      count: to - from,
      accepted: stamp.count + duplicates,
      duplicates,
      rejected,
      lastSequence: stamp.count > 0 ? this.#writer.next - 1 : lastKnown,
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
    const known = this.#writer.producer(producer);
    const answered = this.#answered.get(producer) ?? 0;
    if (known === undefined && answered === 0) return undefined;
    const expected = Math.max(known?.lastProducerSequence ?? 0, answered, settled) + 1;
    if (numbering.first + from > expected) throw new ProducerGap(producer, numbering.first + from, expected);
    return known;
  }

  /** Appends what was stamped, if anything was, and remembers how far the producer was answered. */
  #commit(stamp: BatchStamp, numbering: (Numbering & { last: number }) | undefined): Promise<unknown> | undefined {
    if (stamp.count > 0) {
      const durable = this.#writer.append(this.#writer.next, stamp.finish(numbering?.last ?? 0));
      if (numbering !== undefined) this.#answered.delete(numbering.producer);
      return durable;
    }
    if (numbering !== undefined && numbering.last > (this.#answered.get(numbering.producer) ?? 0)) {
      this.#answered.delete(numbering.producer);
      if (this.#answered.size >= this.#options.limits.producersMax) {
        for (const oldest of this.#answered.keys()) {
          this.#answered.delete(oldest);
          break;
        }
      }
      this.#answered.set(numbering.producer, numbering.last);
    }
    return undefined;
  }
}

const DONE: Promise<unknown> = Promise.resolve();

/** A failed append is heard by whoever awaits its promise; who asked for less than durability awaits none. */
function heardByWaiters(): void {}

function endOfSlice(spans: EntrySpans, from: number): number {
  const end = Math.min(spans.starts.length, from + SLICE_ENTRIES);
  const start = spans.starts[from]!;
  let to = from + 1;
  while (to < end && spans.ends[to]! - start <= SLICE_BYTES) to++;
  return to;
}
