import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import type { Sought } from "../store/contract.ts";
import { TurnShares } from "../stream/turn-shares.ts";
import { parseFilters } from "./filter.ts";
import { soughtBy } from "./sought-texts.ts";

const shares = new TurnShares();

function soughtFor(filters: readonly string[], clock = new ManualClock()): Sought | undefined {
  return soughtBy(parseFilters(filters, DEFAULT_LIMITS), { clock, shares });
}

/** The answer, and how often it was not known yet. */
async function ask(sought: Sought, frames: Uint8Array): Promise<{ isIn: boolean; turns: number }> {
  for (let turns = 0; ; turns++) {
    const answer = sought.mayBeIn(frames);
    if (typeof answer === "boolean") return { isIn: answer, turns };
    await answer;
  }
}

test.each([
  [["-refused"], undefined],
  [["status>=500"], undefined],
  [["level=error"], undefined],
  [["refused"], true],
  [["refused", "status>=500"], true],
  [["refused", "timeout"], false],
  [["user=alice"], true],
  [["user=bob17"], false],
  [["message~conn[a-z]+ refused"], true],
  [["message~abo[a-z]+ by"], false],
])("%j in a text: %s", async (filters, expected) => {
  const sought = soughtFor(filters);
  const frames = Buffer.from("\0connection refused by peer\0user\0alice\0");
  expect(sought && (await ask(sought, frames)).isIn).toBe(expected);
});

test("a search that takes longer than its share goes on in the next turn, where it was", async () => {
  const clock = new ManualClock();
  // Each look at the clock is a millisecond later.
  clock.monotonicMs = () => {
    clock.skip(1);
    return clock.passedMs;
  };
  const frames = Buffer.alloc(2_000_000, "hay ");
  frames.write("needle", 1_999_000);
  const sought = soughtFor(["needle"], clock)!;
  const { isIn, turns } = await ask(sought, frames);
  expect([isIn, turns > 3, turns < 40]).toEqual([true, true, true]);
  // Others may be asked about in between.
  expect(sought.mayBeIn(frames)).toBeInstanceOf(Promise);
  expect((await ask(sought, Buffer.from("no such thing"))).isIn).toBe(false);
  expect((await ask(sought, frames)).isIn).toBe(true);
});

test("it finds what is there, whatever is looked for where", async () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "é"), minLength: 1, maxLength: 6 });
  const bytes = fc.string({ unit: fc.constantFrom("a", "b", "é"), maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 3 }), bytes, async (texts, within) => {
      const expected = texts.every((each) => within.includes(each));
      expect((await ask(soughtFor(texts)!, Buffer.from(within))).isIn).toBe(expected);
    }),
    { numRuns: Math.ceil(500 * inject("propertyScale")) },
  );
});
