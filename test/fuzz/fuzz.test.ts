// The short run: what was found once is played again, and every target gets some thousand inputs of a known seed.
// `npm run fuzz` is the long one.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Finding, inputOf, runCampaign, runInput, StrayErrors } from "./campaign.ts";
import type { OpenTarget, Target } from "./target.ts";
import { targets } from "./targets.ts";

const SEED = 20_261_121;
/** Inputs of a target for each unit of its weight, and the least: together some twenty seconds. */
const INPUTS_PER_WEIGHT = 300;
const INPUTS_MIN = 50;

const regressions = join(import.meta.dirname, "regressions");
const files = (await readdir(regressions)).filter((name) => name.endsWith(".json"));

async function openForTest(target: Target): Promise<{ readonly target: OpenTarget } & AsyncDisposable> {
  const opened = await target.open();
  return { target: opened, [Symbol.asyncDispose]: async () => opened.close?.() };
}

test.each(files)("what was found once: %s", async (name) => {
  const finding = JSON.parse(await readFile(join(regressions, name), "utf8")) as Finding;
  const target = targets.find((each) => each.name === finding.target);
  expect(target).toBeDefined();
  using strays = new StrayErrors();
  await using opened = await openForTest(target!);
  await runInput(opened.target, inputOf(finding), strays);
});

describe.each(targets.map((target) => [target.name, target] as const))("%s", (name, target) => {
  test("every recording goes well as it is", async () => {
    await using opened = await openForTest(target);
    using strays = new StrayErrors();
    for (const bytes of opened.target.corpus) {
      await expect(runInput(opened.target, { bytes, salt: 0 }, strays)).resolves.toBeUndefined();
    }
  });

  test("damaged recordings", async () => {
    using strays = new StrayErrors();
    const request = { name, seed: SEED, inputs: Math.max(INPUTS_MIN, Math.round(INPUTS_PER_WEIGHT * target.weight)) };
    await using opened = await openForTest(target);
    expect(await runCampaign(opened.target, request, strays)).toBeUndefined();
  });
});
