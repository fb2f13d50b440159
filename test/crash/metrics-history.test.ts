// The history of metrics, whose process ends at any operation of the disk: while it writes points, seals, writes checkpoints and
// drops what they stand for.
import { describe, expect, inject, test } from "vitest";
import { crashHistory } from "../support/metrics-crashes.ts";
import type { Death } from "../support/queue-disk.ts";

const NEVER = Number.MAX_SAFE_INTEGER;
const HOWS = ["killed", "nothing-unsynced", "any-part-unsynced"] as const;
const STORIES = Math.ceil(25 * inject("propertyScale"));

async function findViolations(deaths: Iterable<Death>): Promise<string[]> {
  for (const death of deaths) {
    const { violations } = await crashHistory(death);
    if (violations.length > 0) return [`${death.how} at ${death.at}`, ...violations];
  }
  return [];
}

describe("a history of metrics", () => {
  test("that is closed and opened has every point, once, as it was, with the place where it came in", async () => {
    const stories = Array.from({ length: STORIES }, (_, i): Death => ({
      at: NEVER - i,
      isWithin: false,
      how: "killed",
    }));
    expect(await findViolations(stories)).toEqual([]);
  });

  test("loses nothing acknowledged, wherever the process or the power ends", async () => {
    const { operations } = await crashHistory({ at: NEVER, isWithin: false, how: "killed" });
    const step = Math.max(1, Math.floor(operations / STORIES));
    function* deaths(): Generator<Death> {
      for (let at = 1; at <= operations; at += step) yield { at, isWithin: at % 2 === 0, how: HOWS[at % 3]! };
    }
    expect(await findViolations(deaths())).toEqual([]);
  });

  test("goes on after a write that failed, and then has what was acknowledged", async () => {
    function* deaths(): Generator<Death> {
      for (let at = 10; at < 10 + STORIES; at++) {
        yield {
          at: NEVER - at,
          isWithin: false,
          how: "nothing-unsynced",
          fault: { at, code: at % 2 === 0 ? "EIO" : "ENOSPC" },
        };
      }
    }
    expect(await findViolations(deaths())).toEqual([]);
  });
});
