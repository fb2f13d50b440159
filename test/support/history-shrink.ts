// Makes a history that fails shorter: leaves out steps as long as something is still wrong.
import type { History } from "./history-steps.ts";
import { playHistory } from "./history-run.ts";

/** Plays at most. */
const ATTEMPTS_MAX = 400;

export interface Failure {
  readonly history: History;
  readonly violations: readonly string[];
}

/** The shortest history that was found in which something is wrong, and what. */
export async function shrinkHistory(failure: Failure): Promise<Failure> {
  let shortest = failure;
  let attempts = 0;
  for (let part = Math.ceil(failure.history.steps.length / 2); part >= 1; part = part === 1 ? 0 : Math.ceil(part / 2)) {
    for (let at = 0; at < shortest.history.steps.length && attempts < ATTEMPTS_MAX;) {
      attempts++;
      const history = { ...shortest.history, steps: shortest.history.steps.toSpliced(at, part) };
      const violations = await playHistory(history);
      if (violations.length > 0) shortest = { history, violations };
      else at += part;
    }
  }
  return shortest;
}
