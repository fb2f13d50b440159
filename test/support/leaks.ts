// Fails a test file that leaves something behind that keeps its process alive: a timer, a socket, a server, a watcher.
//
// It runs around every test file (vitest.config.ts, `setupFiles`), after the file's own hooks. To learn where a leaked
// thing was made: `npx vitest run --detect-async-leaks FILE`.

import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll } from "vitest";

/** What is closing does so within a few turns of the event loop; only a leak waits this long. */
const GRACE_MS = 1_000;

let before: ReadonlyMap<string, number>;

beforeAll(() => {
  before = countResources();
});

afterAll(async () => {
  let left = findLeft(before);
  const deadlineMs = performance.now() + GRACE_MS;
  while (left.length > 0 && performance.now() < deadlineMs) {
    await turn();
    left = findLeft(before);
  }
  if (left.length > 0) throw new Error(`Left behind when all tests of this file had ended: ${left.join(", ")}.`);
});

/** Kinds of resources that keep the process alive, by Node's own names, with how many there are of each. */
function countResources(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind !== "Immediate") counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

function findLeft(baseline: ReadonlyMap<string, number>): string[] {
  return [...countResources()]
    .map(([kind, count]) => ({ kind, count: count - (baseline.get(kind) ?? 0) }))
    .filter(({ count }) => count > 0)
    .map(({ kind, count }) => `${count} × ${kind}`);
}
