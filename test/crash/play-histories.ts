// Plays the histories of some seeds, in a process of its own: all cores are used, and nothing of a test runner is in the way.
//
//   node --conditions=sluice-source test/crash/play-histories.ts FIRST LAST
//
// Prints each history that fails, made as short as possible, with what went wrong; stops after three. The exit code is 0 when
// there was none.
import { playHistory } from "../support/history-run.ts";
import { shrinkHistory } from "../support/history-shrink.ts";
import { describeHistory, drawHistory } from "../support/history-steps.ts";

const FAILURES_MAX = 3;
const VIOLATIONS_SHOWN = 5;

/** Returns how many failed. */
async function playSeeds(first: number, last: number): Promise<number> {
  let failed = 0;
  for (let seed = first; seed <= last && failed < FAILURES_MAX; seed++) {
    const history = drawHistory(seed);
    const violations = await playHistory(history);
    if (violations.length === 0) continue;
    failed++;
    const shortest = await shrinkHistory({ history, violations });
    const wrong = shortest.violations.slice(0, VIOLATIONS_SHOWN).map((text) => `  ${text}`);
    process.stdout.write(
      `${describeHistory(shortest.history)}\n${wrong.join("\n")}\nOf the whole history: ${violations[0]}\n` +
        `Again: node --conditions=sluice-source test/crash/play-histories.ts ${seed} ${seed}\n\n`,
    );
  }
  return failed;
}

const [first = 1, last = 1] = process.argv.slice(2).map(Number);
process.exitCode = (await playSeeds(first, last)) === 0 ? 0 : 1;
