// Tells whether a stored entry matches filter terms, on its bytes: nothing is decoded but the few values that are asked
// for, and of those most are compared in place.
//
// M1. Answers as if the entry had been decoded and the terms applied to the object (the tests compare the two).
// M2. Linear in the bytes: a text is searched through a run once (Finder), and entries without it are not looked at; an
//     expression goes by automaton, over a bounded part of a value (ExpressionSearch).
// M3. Nothing holds the event loop, whatever the terms and the entry are: every part of the work is charged to the
//     effort, stops when that is spent, and goes on where it stopped.
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import type { FrameFilter } from "../stream/frame-filter.ts";
import { Effort } from "./effort.ts";
import type { FilterTerm } from "./filter.ts";
import { sequenceOf } from "./frame-fields.ts";
import type { Finder } from "./finder.ts";
import type { ExpressionSearch } from "./matcher-expression.ts";
import { compileTerm, soughtIn } from "./matcher-terms.ts";
import { EntryValues } from "./matcher-values.ts";

type FrameTest = (bytes: Uint8Array, start: number, end: number) => boolean | undefined;

/** Matches entries. One per reader: it remembers where in a run it has searched, and where in an entry it stopped. */
export class EntryMatcher implements FrameFilter {
  readonly #effort = new Effort();
  /** Texts without which an entry cannot match. */
  readonly #sought: readonly Finder[];
  /** All must hold, in this order: the entry is read, then each term asked. */
  readonly #tests: readonly FrameTest[];
  readonly #expressions: readonly ExpressionSearch[];
  readonly #values: EntryValues;
  /** Where to go on with the entry at `#pausedAt`; 0: with the first test. */
  #next = 0;
  /** What was being looked at when the effort was spent: an entry, or a search for candidates. */
  #pausedIn: Uint8Array | undefined = undefined;
  /** Where that entry begins; -1: no entry. */
  #pausedAt = -1;
  /** The frame where that search goes on; -1: no search. */
  #searched = -1;

  /** @param terms all of them must hold */
  constructor(terms: readonly FilterTerm[]) {
    const effort = this.#effort;
    const values = new EntryValues(effort);
    const expressions: ExpressionSearch[] = [];
    const sought = terms.map((term) => soughtIn(term));
    this.#sought = sought.filter((finder) => finder !== undefined);
    this.#tests = [
      (bytes, start, end) => values.read(bytes, start + FRAME_HEADER_BYTES, end),
      ...terms.map((term, i) => compileTerm(term, values, { effort, expressions, sought: sought[i] })),
    ];
    this.#values = values;
    this.#expressions = expressions;
  }

  /**
   * The first of frames `from..to` of a run that may match; `to` when none does. Where each text that is sought comes
   * next, the others are looked for, until all of them are in one frame.
   */
  candidate(bytes: Uint8Array, starts: Uint32Array, from: number, to: number): number | undefined {
    const effort = this.#effort;
    const sought = this.#sought;
    if (effort.isSpent) effort.renew();
    if (this.#pausedAt >= 0) {
      // An entry that is half judged stays the one to go on with: its searches are where they are.
      if (this.#pausedIn === bytes) return from;
      this.#giveUp();
    }
    let at = this.#pausedIn === bytes ? Math.max(from, this.#searched) : from;
    for (let agreed = 0, i = 0; agreed < sought.length && at < to; i = i + 1 === sought.length ? 0 : i + 1) {
      const place = sought[i]!.next(bytes, starts[at]!, starts[to]!, effort);
      if (place === undefined) {
        this.#pause(bytes, { entry: -1, search: at });
        return undefined;
      }
      if (place < 0) at = to;
      else {
        const frame = frameAt(starts, place, at, to);
        agreed = frame === at ? agreed + 1 : 1;
        at = frame;
      }
    }
    this.#pausedIn = undefined;
    return at;
  }

  /** Whether the entry in the frame `bytes[start..end)` matches. */
  matches(bytes: Uint8Array, start: number, end: number): boolean | undefined {
    const effort = this.#effort;
    const tests = this.#tests;
    if (effort.isSpent) effort.renew();
    if (this.#pausedAt >= 0 && (this.#pausedAt !== start || this.#pausedIn !== bytes)) this.#giveUp();
    this.#pausedAt = -1;
    for (let i = this.#next; i < tests.length; i++) {
      const holds = tests[i]!(bytes, start, end);
      if (holds === true) continue;
      this.#next = holds === undefined ? i : 0;
      if (holds === undefined) this.#pause(bytes, { entry: start, search: -1 });
      return holds;
    }
    this.#next = 0;
    return true;
  }

  #pause(bytes: Uint8Array, at: { entry: number; search: number }): void {
    this.#pausedIn = bytes;
    this.#pausedAt = at.entry;
    this.#searched = at.search;
  }

  /** Forgets the entry that is half judged: another one is asked for. */
  #giveUp(): void {
    this.#pausedIn = undefined;
    this.#pausedAt = -1;
    this.#next = 0;
    this.#values.giveUp();
    for (const expression of this.#expressions) expression.giveUp();
  }

  sequenceOf(bytes: Uint8Array, start: number, end: number): number {
    return sequenceOf(bytes, start, end);
  }
}

/** The frame of from..to that holds a byte; most often it is near. */
function frameAt(starts: Uint32Array, place: number, from: number, to: number): number {
  let low = from;
  let step = 1;
  while (low + step < to && starts[low + step]! <= place) {
    low += step;
    step *= 2;
  }
  let high = Math.min(low + step, to);
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (starts[middle]! <= place) low = middle;
    else high = middle;
  }
  return low;
}
