// What is fuzzed: something that takes bytes, and what must be true of it whatever the bytes are.
import type { Grammar } from "./grammar.ts";

export interface Input {
  readonly bytes: Buffer;
  /** Decides whatever else a run chooses by chance: where the bytes are cut, which limits hold. */
  readonly salt: number;
}

export interface Target {
  readonly name: string;
  /** What it is, for `npm run fuzz -- --list`. */
  readonly about: string;
  /** Its part of the inputs of a whole run, beside the weights of the others. */
  readonly weight: number;
  open(): Promise<OpenTarget>;
}

export interface OpenTarget {
  readonly grammar: Grammar;
  /** Valid inputs, which mutations start from. */
  readonly corpus: readonly Buffer[];
  /** Whole units that no recording has, to be put anywhere. */
  readonly extras?: readonly Buffer[];
  /** Throws when something does not hold. */
  run(input: Input): void | Promise<void>;
  /** Ends what it holds besides memory. */
  close?(): Promise<void>;
}
