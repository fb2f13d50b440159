// Holds what a log promised against what it has: after every crash, on whatever engine, in this process or another.
//
// Entries are told apart by their payload, which the test makes unique.
import type { GapRun, Position } from "../../packages/server/src/store/contract.ts";

/** An entry and where it stands. */
export interface PlacedEntry {
  readonly epoch: number;
  readonly sequence: number;
  readonly payload: string;
}

/** Everything a reader gets from the beginning to the head. */
export interface FoundLog {
  readonly first: number;
  readonly head: Position;
  readonly epochs: readonly Position[];
  readonly entries: readonly PlacedEntry[];
  readonly gaps: readonly GapRun[];
}

export interface Allowances {
  /** Entries before the first one may be gone. */
  readonly retention: boolean;
  /** Durable entries may be gone from the end, when a new epoch says so: the disk did not keep its word. */
  readonly loss: boolean;
}

export class CrashChecker {
  readonly #allowances: Allowances;
  readonly #attempted = new Set<string>();
  /** By payload: what was acknowledged to a writer, or seen by a reader. Each is a promise. */
  readonly #promised = new Map<string, PlacedEntry>();
  #epochs = 1;

  constructor(allowances: Allowances) {
    this.#allowances = allowances;
  }

  get acknowledgedCount(): number {
    return this.#promised.size;
  }

  attempt(payload: string): void {
    this.#attempted.add(payload);
  }

  /** A writer was answered, or a reader was handed the entry. Returns what is wrong with that. */
  promise(entry: PlacedEntry): string[] {
    const known = this.#promised.get(entry.payload);
    this.#promised.set(entry.payload, entry);
    if (known === undefined || known.sequence === entry.sequence) return [];
    return this.#allowances.loss ? [] : [`twin: ${describe(known)} came again as ${describe(entry)}`];
  }

  /** Returns what is wrong, in sentences; none when every promise was kept. */
  check(found: FoundLog): string[] {
    return [
      ...this.#checkOrder(found),
      ...this.#checkOrigin(found),
      ...this.#checkPromises(found),
      ...this.#checkEpochs(found),
    ];
  }

  /** In order, without a hole or a repeat. */
  #checkOrder({ first, head, entries, gaps }: FoundLog): string[] {
    const wrong = gaps
      .filter((gap) => gap.reason === "corruption")
      .map((gap) => `damage told of ${gap.first}..${gap.last}`);
    const covered = [...entries.map(({ sequence }) => ({ first: sequence, last: sequence })), ...gaps].sort(
      (a, b) => a.first - b.first,
    );
    let next = first;
    for (const range of covered) {
      if (range.first !== next) wrong.push(`hole or repeat: ${range.first} follows ${next - 1}`);
      next = range.last + 1;
    }
    if (next !== head.sequence + 1) wrong.push(`the log ends at ${next - 1}, its head is ${head.sequence}`);
    return wrong;
  }

  /** Nothing is there that nobody wrote, and nothing twice. */
  #checkOrigin({ entries }: FoundLog): string[] {
    const wrong: string[] = [];
    const seen = new Map<string, PlacedEntry>();
    for (const entry of entries) {
      const twin = seen.get(entry.payload);
      if (twin !== undefined) wrong.push(`twin: ${describe(twin)} and ${describe(entry)}`);
      if (!this.#attempted.has(entry.payload)) wrong.push(`invented: ${describe(entry)}`);
      seen.set(entry.payload, entry);
      wrong.push(...this.promise(entry));
    }
    return wrong;
  }

  /** What was acknowledged or seen is there, at its place; or the log says that it is not. */
  #checkPromises({ first, epochs, entries }: FoundLog): string[] {
    const bySequence = new Map(entries.map((entry) => [entry.sequence, entry]));
    const wrong: string[] = [];
    for (const promised of this.#promised.values()) {
      const { epoch, sequence, payload } = promised;
      const found = bySequence.get(sequence);
      if (found?.payload === payload && found.epoch === epoch) continue;
      if (sequence < first && this.#allowances.retention) continue;
      if (this.#allowances.loss && epochAt(epochs, sequence) !== epoch) continue;
      wrong.push(`lost: ${describe(promised)}; there is ${found === undefined ? "nothing" : describe(found)}`);
    }
    return wrong;
  }

  #checkEpochs({ epochs }: FoundLog): string[] {
    const wrong =
      epochs.length > this.#epochs && !this.#allowances.loss ? ["a new epoch, though nothing was lost"] : [];
    if (epochs.length < this.#epochs) wrong.push("an epoch is forgotten");
    this.#epochs = epochs.length;
    return wrong;
  }
}

/** The epoch that the table gives a sequence: an old position is valid only when it is its own. */
function epochAt(epochs: readonly Position[], sequence: number): number {
  return epochs.findLast((each) => each.sequence <= sequence)?.epoch ?? 0;
}

function describe({ epoch, sequence, payload }: PlacedEntry): string {
  return `${epoch}/${sequence} "${payload}"`;
}
