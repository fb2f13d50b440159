// Which entry of each idempotent producer came last: what makes a retry harmless.
//
// D1. What is appended and not durable yet is kept apart: it is forgotten when its group fails, remembered when it lands.
// D2. Bounded: beyond `countMax` the producer that was idle for longest is forgotten.
import type { ProducerState } from "./contract.ts";

export interface ProducerEntry extends ProducerState {
  readonly id: string;
}

export class ProducerTable {
  readonly #countMax: number;
  /** Longest idle first. */
  readonly #durable = new Map<string, ProducerEntry>();
  readonly #pending = new Map<string, ProducerEntry>();

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  /** Whether anything is ever remembered. */
  get isKept(): boolean {
    return this.#countMax > 0;
  }

  find(id: string): ProducerState | undefined {
    return this.#pending.get(id) ?? this.#durable.get(id);
  }

  /** A batch of this producer was appended and is not durable yet. */
  notePending(entry: ProducerEntry): void {
    this.#pending.set(entry.id, entry);
  }

  /** It is durable. */
  commit(entry: ProducerEntry): void {
    if (this.#pending.get(entry.id)?.lastSequence === entry.lastSequence) this.#pending.delete(entry.id);
    this.#durable.delete(entry.id);
    this.#durable.set(entry.id, entry);
    if (this.#durable.size > this.#countMax) {
      const [idlest] = this.#durable.keys();
      this.#durable.delete(idlest!);
    }
  }

  /** What was pending will never be there. */
  abandonPending(): void {
    this.#pending.clear();
  }

  /** Whether the last entry of any producer is before a sequence. Commits come in order, so the idlest one tells. */
  hasBefore(sequence: number): boolean {
    const [idlest] = this.#durable.values();
    return idlest !== undefined && idlest.lastSequence < sequence;
  }

  /** What is durable, longest idle first. Entries are never changed, so this is a snapshot. */
  durableEntries(): ProducerEntry[] {
    return [...this.#durable.values()];
  }
}
