// One place in which our HTTP/2 and Node's do not do the same.
import type { State } from "../steps.ts";

export interface KnownDifference {
  /** What the client sends, for people. */
  readonly what: string;
  /** The same as names of steps. */
  readonly steps: readonly string[];
  readonly states: readonly State[];
  readonly ours: string;
  readonly node: string;
  /** Who does what RFC 9113 says: "both" when it leaves the choice. */
  readonly follows: "ours" | "node" | "both";
  /** The place in RFC 9113, unless another RFC is named. */
  readonly section: string;
  readonly why: string;
}
