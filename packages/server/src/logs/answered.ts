// How far idempotent producers were answered by a log beyond what is in it: their entries were rejected there, or went to
// other logs. Kept in memory, one per log: after a restart the producer says itself what is settled.
//
// A1. What was answered holds as long as what was pending then did not fail: a retry of that begins before it.
// A2. Of a producer that the log had never heard of, the first number is remembered. When its first batch fails, the second
//     must not become the first: the retry of the first one would count as duplicates.
// A3. Bounded: beyond `max` the producer that was noted first is forgotten.
import type { LogReader, LogWriter } from "../store/contract.ts";

interface Row {
  /** Holds, whatever happens; undefined: nothing does. */
  readonly settled: number | undefined;
  /** Holds if everything up to `sequence` becomes durable; undefined: nothing was answered beside the log. */
  readonly through: number | undefined;
  readonly sequence: number;
  /** `writer.undone` when it was noted. */
  readonly undone: number;
}

export class AnsweredNumbers {
  readonly #log: { readonly reader: LogReader; readonly writer: LogWriter };
  readonly #max: number;
  readonly #rows = new Map<string, Row>();

  constructor(log: { readonly reader: LogReader; readonly writer: LogWriter }, options: { readonly max: number }) {
    this.#log = log;
    this.#max = options.max;
  }

  /** The last number that was answered for certain, or will be when what is pending becomes durable; undefined: none. */
  find(producer: string): number | undefined {
    const row = this.#rows.get(producer);
    if (row === undefined) return undefined;
    return row.undone === this.#log.writer.undone ? row.through : row.settled;
  }

  /** Everything of the producer up to `through` is answered, beside what the log knows of it. */
  note(producer: string, through: number): void {
    const { reader, writer } = this.#log;
    const row = this.#rows.get(producer);
    const isDurable = row?.undone === writer.undone && row.sequence <= reader.head.sequence;
    const settled = isDurable && row.through !== undefined ? row.through : row?.settled;
    if (row?.undone === writer.undone && (row.through ?? 0) >= through) return;
    this.#set(producer, { settled, through, sequence: writer.next - 1, undone: writer.undone });
  }

  /** A producer that the log does not know begins with the number behind `before` (A2). */
  begin(producer: string, before: number): void {
    this.#set(producer, { settled: before, through: undefined, sequence: 0, undone: this.#log.writer.undone });
  }

  #set(producer: string, row: Row): void {
    this.#rows.delete(producer);
    this.#rows.set(producer, row);
    if (this.#rows.size <= this.#max) return;
    const [oldest = ""] = this.#rows.keys();
    this.#rows.delete(oldest);
  }
}
