// Where our HTTP/2 and Node's (nghttp2) do not do the same, and which of them follows RFC 9113.
//
// K1. The list is exact: frames.test.ts fails on a difference that is not here, and on one that is here and no longer occurs.
// K2. `docs/guides/http2-differences.md` is made from it (differences-page.ts).
// K3. Sections were looked up in the text of the RFCs.
import { CONNECTION_DIFFERENCES } from "./known/connection.ts";
import type { KnownDifference } from "./known/difference.ts";
import { FRAME_DIFFERENCES } from "./known/frames.ts";
import { REQUEST_DIFFERENCES } from "./known/requests.ts";
import { type State, STEPS } from "./steps.ts";

export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  ...FRAME_DIFFERENCES,
  ...CONNECTION_DIFFERENCES,
  ...REQUEST_DIFFERENCES,
];

/** One key for a step in a state. */
export function situation(step: string, state: State): string {
  return `${step} @ ${state}`;
}

/** Every difference by its situation. @throws Error when a situation is listed twice, or names a step that is none */
export function knownBySituation(): ReadonlyMap<string, KnownDifference> {
  const names = new Set(STEPS.map(({ name }) => name));
  const bySituation = new Map<string, KnownDifference>();
  for (const known of KNOWN_DIFFERENCES) {
    for (const step of known.steps) {
      if (!names.has(step)) throw new Error(`There is no step "${step}"`);
      for (const state of known.states) {
        const key = situation(step, state);
        if (bySituation.has(key)) throw new Error(`Listed twice: ${key}`);
        bySituation.set(key, known);
      }
    }
  }
  return bySituation;
}
