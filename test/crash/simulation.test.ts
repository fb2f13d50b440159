// Lives and deaths of a log on a disk that keeps its word to the letter, and on one that does not.
import { describe, expect, test } from "vitest";
import { simulate } from "../support/crash-simulation.ts";

/** Seeds of each kind; SLUICE_CRASH_ROUNDS makes it longer. */
const SEEDS = 40 * Number(process.env["SLUICE_CRASH_ROUNDS"] ?? 1);
const LIVES = 8;

const KINDS = {
  "an acknowledged entry is there once and in order, after any crash": { retention: false, loss: false },
  "so it is when the oldest segments are retired meanwhile": { retention: true, loss: false },
  "a disk that loses what it had synced is found out: no position ever leads to another entry": {
    retention: false,
    loss: true,
  },
};

describe.each(Object.entries(KINDS))("%s", (_, allowances) => {
  test(`${SEEDS} seeds`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      expect(await simulate({ seed, lives: LIVES, allowances }), `seed ${seed}`).toEqual([]);
    }
  });
});
