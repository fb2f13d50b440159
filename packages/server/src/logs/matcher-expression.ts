// Looks for an expression in values, as far as the effort lasts.
//
// E1. Each character costs one transition of a deterministic automaton. Those that were met are kept, up to the memory
//     that the expression was given (filter-expression.ts); one that is new costs some steps for each instruction of
//     the program. Nothing else is tried when states do not come again: the search is as long as it is, and stops
//     whenever the effort is spent. re2js's own search tries two further engines then, and cannot be stopped.
import type { RE2JS } from "re2js";
import type { Effort } from "./effort.ts";

/** Of re2js's automaton what a search needs. States are made by `step` and kept in the tables of those before them. */
interface Automaton {
  readonly latin1Class: Int32Array;
  readonly numClasses: number;
  runeClass(rune: number): number;
  start(input: { context(pos: number): number }, pos: number): State | null;
  /** The state behind a character; null when its memory is full. */
  step(state: State, characterClass: number, rune: number, anchor: number): State | null;
  /** Forgets all states but a copy of this one. */
  resetCache(state: State): State | null;
}

interface State {
  readonly nfaStates: readonly number[];
  readonly isMatch: boolean;
  /** By the class of the next character; null where nobody came along yet. */
  readonly next: readonly (State | null)[] | null;
}

// Numbers that re2js keeps to itself; the tests compare with its own search.
const UNANCHORED = 0;
const END_TEXT = -1;
const AT_BEGIN = { context: (): number => 1 | 4 };

/** A transition that is known, one that is made, and for each instruction and class of character in it. */
const KNOWN_STEPS = 4;
const NEW_STEPS = 1000;
const INSTRUCTION_STEPS = 150;
const CLASS_STEPS = 3;

/** What everything begins with that the expression finds: of that a run can be searched. Often empty. */
export function literalOf(expression: RE2JS): string {
  return expression.re2().prefix as string;
}

export class ExpressionSearch {
  readonly #automaton: Automaton;
  /** Where the search stopped; undefined: none is under way. */
  #state: State | undefined;
  #at = 0;

  constructor(expression: RE2JS) {
    this.#automaton = expression.re2().dfa;
  }

  /** Forgets the value that is half searched. */
  giveUp(): void {
    this.#state = undefined;
  }

  /**
   * Whether `bytes[start..end)`, valid UTF-8, holds the expression; undefined when the effort is spent: the next call
   * goes on, and must be for the same value.
   */
  test(bytes: Uint8Array, start: number, end: number, effort: Effort): boolean | undefined {
    const automaton = this.#automaton;
    const { latin1Class } = automaton;
    let at = this.#state === undefined ? start : this.#at;
    let state = this.#state ?? automaton.start(AT_BEGIN, 0)!;
    let left = effort.left;
    while (at < end && !state.isMatch && left > 0) {
      let rune = bytes[at]!;
      const width = widthOf(rune);
      if (width > 1) rune = runeAt(bytes, at, width);
      const characterClass = rune < 0x80 ? latin1Class[rune]! : automaton.runeClass(rune);
      let next = state.next === null ? null : state.next[characterClass]!;
      left -= KNOWN_STEPS;
      if (next === null) {
        next = this.#makeNext(state, characterClass, rune);
        left -= this.#costOf(state, next);
      }
      state = next;
      at += width;
    }
    effort.left = left;
    if (at < end && !state.isMatch) {
      this.#state = state;
      this.#at = at;
      return undefined;
    }
    this.#state = undefined;
    return state.isMatch || this.#makeNext(state, automaton.numClasses, END_TEXT).isMatch;
  }

  #makeNext(state: State, characterClass: number, rune: number): State {
    const next = this.#automaton.step(state, characterClass, rune, UNANCHORED);
    if (next !== null) return next;
    const kept = this.#automaton.resetCache(state);
    const behind = kept === null ? null : this.#automaton.step(kept, characterClass, rune, UNANCHORED);
    if (behind === null) throw new Error("An expression was given less memory than two of its states take");
    return behind;
  }

  #costOf(state: State, next: State): number {
    const instructions = state.nfaStates.length + next.nfaStates.length;
    return NEW_STEPS + instructions * INSTRUCTION_STEPS + this.#automaton.numClasses * CLASS_STEPS;
  }
}

/** Bytes of the character that begins with `first`. */
function widthOf(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}

function runeAt(bytes: Uint8Array, at: number, width: number): number {
  let rune = bytes[at]! & (0x7f >> width);
  for (let i = 1; i < width; i++) rune = (rune << 6) | (bytes[at + i]! & 0x3f);
  return rune;
}
