// Lives and deaths of a log on a disk that keeps its word to the letter, and on one that does not. README.md says what is
// drawn, what is checked, and which defects this finds.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { rootFolder, runCommand } from "../../scripts/command.ts";
import { simulate } from "../support/crash-simulation.ts";
import type { Operation } from "../support/fake-file-system.ts";
import { playHistory } from "../support/history-run.ts";
import { drawHistory } from "../support/history-steps.ts";

/** SLUICE_CRASH_ROUNDS makes it longer, SLUICE_CRASH_SEED takes other histories. */
const ROUNDS = Number(process.env["SLUICE_CRASH_ROUNDS"] ?? 1);
const FIRST_SEED = Number(process.env["SLUICE_CRASH_SEED"] ?? 1);
const HISTORIES = Math.ceil(10_000 * ROUNDS);
const LOSSES = 40 * ROUNDS;
const PROCESSES_MAX = 4;
/** A minute or two on two quiet cores. */
const TIMEOUT_MS = 900_000;

describe("a log that is written, followed, searched, sealed, compressed, retired, on a disk that fails and fills up", () => {
  test(
    `keeps every promise over crashes at any step: ${HISTORIES} histories from seed ${FIRST_SEED}`,
    async () => {
      const processes = Math.min(PROCESSES_MAX, availableParallelism());
      const share = Math.ceil(HISTORIES / processes);
      const results = await Promise.all(
        Array.from({ length: processes }, (_, i) => {
          const first = FIRST_SEED + i * share;
          const last = Math.min(first + share, FIRST_SEED + HISTORIES) - 1;
          const script = join(rootFolder, "test/crash/play-histories.ts");
          const words = ["--conditions=sluice-source", script, String(first), String(last)];
          return runCommand([process.execPath, ...words], { timeoutMs: TIMEOUT_MS });
        }),
      );
      expect(results.map(({ output }) => output).join("")).toBe("");
      expect(results.map(({ code }) => code)).toEqual(results.map(() => 0));
    },
    TIMEOUT_MS,
  );

  test("does the same for the same seed, operation by operation", async () => {
    const trace = async (seed: number): Promise<string[]> => {
      const operations: string[] = [];
      const note = ({ kind, path }: Operation): void => void operations.push(`${kind} ${path}`);
      expect(await playHistory(drawHistory(seed), note)).toEqual([]);
      return operations;
    };
    let operations = 0;
    for (let seed = 1; seed <= 30; seed++) {
      const first = await trace(seed);
      operations += first.length;
      expect(await trace(seed), `seed ${seed}`).toEqual(first);
    }
    expect(operations).toBeGreaterThan(3000);
  });
});

test(`a disk that loses what it had synced is found out: no position ever leads to another entry, ${LOSSES} seeds`, async () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + LOSSES; seed++) {
    const options = { seed, lives: 8, allowances: { retention: false, loss: true } };
    expect(await simulate(options), `seed ${seed}`).toEqual([]);
  }
});
