// What a log tells its owner, beside what it answers to readers and writers.

export type LogEvent =
  | { readonly kind: "segment-sealed"; readonly first: number; readonly last: number; readonly bytes: number }
  | {
      readonly kind: "segment-removed";
      readonly first: number;
      readonly last: number;
      readonly bytes: number;
      readonly reason: "bytes" | "age" | "space";
    }
  /** Entries whose stored bytes do not prove themselves; readers are told of a gap. */
  | { readonly kind: "damage-found"; readonly first: number; readonly last: number }
  | { readonly kind: "index-rebuilt"; readonly first: number }
  | {
      readonly kind: "segment-compressed";
      readonly first: number;
      readonly last: number;
      /** Of the frames, and what they take now. */
      readonly bytes: number;
      readonly storedBytes: number;
    }
  | { readonly kind: "disk-full" }
  | { readonly kind: "read-only"; readonly cause: string }
  /** The log was read-only, and is no longer. */
  | { readonly kind: "writable" }
  /** Background work failed; what it makes can be derived, and it is tried again. */
  | { readonly kind: "fault"; readonly text: string };

export interface DamagedRange {
  readonly first: number;
  readonly last: number;
}

const RANGES_MAX = 1000;
const FAULTS_MAX = 100;

/** Remembers what went wrong, bounded, and passes on what happens. */
export class Incidents {
  readonly damage: DamagedRange[] = [];
  readonly faults: string[] = [];
  readonly #onEvent: (event: LogEvent) => void;

  constructor(onEvent: (event: LogEvent) => void = () => undefined) {
    this.#onEvent = onEvent;
  }

  tell(event: LogEvent): void {
    this.#onEvent(event);
  }

  /** What fails again and again in the same words is told once. */
  fault(text: string): void {
    if (this.faults.at(-1) === text) return;
    if (this.faults.length >= FAULTS_MAX) this.faults.shift();
    this.faults.push(text);
    this.tell({ kind: "fault", text });
  }

  /** Entries were found damaged, perhaps not for the first time. Ranges that touch become one. */
  readonly noteDamage = (first: number, last: number): void => {
    const { damage } = this;
    if (damage.some((range) => first >= range.first && last <= range.last)) return;
    this.tell({ kind: "damage-found", first, last });
    const near = damage.findIndex((range) => first <= range.last + 1 && last >= range.first - 1);
    if (near >= 0) {
      const range = damage[near]!;
      damage[near] = { first: Math.min(first, range.first), last: Math.max(last, range.last) };
    } else if (damage.length < RANGES_MAX) {
      damage.push({ first, last });
    }
  };
}
