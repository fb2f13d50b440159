// A journal in memory, for tests of the engine: it keeps what was appended as bytes, gives it to another engine, and cleans
// its oldest records as the real one does.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { JournalRecordSchema } from "@sluice/api";
import { DiskFull } from "../../../errors.ts";
import type { Journal, JournalOwner, NewRecord, Place } from "../../contract.ts";

export class MemoryJournal implements Journal {
  /** By place, from `first` on. */
  #records: Uint8Array[] = [];
  /** The place of the first record that is there. */
  #first = 1;
  appendedBytes = 0;
  /** Appends are refused from now on. */
  isFull = false;

  get diskBytes(): number {
    return this.#records.reduce((sum, each) => sum + each.length, 0);
  }

  get length(): number {
    return this.#records.length;
  }

  append(record: NewRecord): Place {
    if (this.isFull) throw new DiskFull("test");
    const bytes = toBinary(JournalRecordSchema, create(JournalRecordSchema, record));
    this.appendedBytes = bytes.length;
    this.#records.push(bytes);
    return this.#first + this.#records.length - 1;
  }

  durable(): undefined {
    return undefined;
  }

  admit(): void {
    if (this.isFull) throw new DiskFull("test");
  }

  room(): undefined {
    return undefined;
  }

  body(place: Place): Uint8Array {
    return this.#records[place - this.#first]!;
  }

  onFailure(): void {
    // Memory does not fail.
  }

  /** Gives all records to an engine, in order. */
  replayTo(owner: JournalOwner): void {
    for (const [index, bytes] of this.#records.entries()) {
      owner.replay(fromBinary(JournalRecordSchema, bytes), this.#first + index, bytes.length);
    }
  }

  /**
   * Carries the oldest records forward, and removes them.
   * @param options.keepOld the process ends before they are removed
   */
  clean(owner: JournalOwner, count: number, options: { readonly keepOld: boolean } = { keepOld: false }): void {
    const oldest = this.#records.slice(0, count);
    for (const [index, bytes] of oldest.entries()) {
      const carried = owner.carry(fromBinary(JournalRecordSchema, bytes), this.#first + index);
      if (carried instanceof Promise) throw new Error("A queue's engine knows at once what becomes of a record");
      for (const record of carried) {
        const place = this.append(record);
        owner.carried(record, place, this.appendedBytes);
      }
    }
    if (options.keepOld) return;
    this.#records.splice(0, oldest.length);
    this.#first += oldest.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing is open.
  }
}
