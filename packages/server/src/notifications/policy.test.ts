import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { PolicySchema } from "@sluice/api";
import { expect, test } from "vitest";
import { InvalidRequest } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { checkPolicy, QuietClock } from "./policy.ts";

function fieldsOf(policy: MessageInitShape<typeof PolicySchema>): string[] {
  try {
    checkPolicy(create(PolicySchema, policy), DEFAULT_LIMITS);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidRequest);
    return ((error as InvalidRequest).facts.violations ?? []).map(({ field }) => field);
  }
}

const night = { timeZone: "Europe/Berlin", start: "22:30", end: "07:00" };

test("a policy that makes sense is taken", () => {
  expect(fieldsOf({})).toEqual([]);
  expect(
    fieldsOf({ maxItems: 10, maxBytes: 1000n, ttlMsByPriority: [0n, 5n], overflow: 2, quietHours: night }),
  ).toEqual([]);
  expect(fieldsOf({ quietHours: {} })).toEqual([]);
});

test("each part that makes none is named, all at once", () => {
  expect(
    fieldsOf({
      maxItems: 100_001,
      maxBytes: 1n << 40n,
      ttlMsByPriority: [0n, -1n, 1n << 60n, 0n, 0n, 0n, 0n, 0n, 0n],
      overflow: 9 as never,
      quietHours: { timeZone: "Europe/Bärlin", start: "24:00", end: "7:00", breakingPriority: 8 },
    }),
  ).toEqual([
    "policy.max_items",
    "policy.max_bytes",
    "policy.ttl_ms_by_priority",
    "policy.ttl_ms_by_priority[1]",
    "policy.ttl_ms_by_priority[2]",
    "policy.overflow",
    "policy.quiet_hours.time_zone",
    "policy.quiet_hours.start",
    "policy.quiet_hours.end",
    "policy.quiet_hours.breaking_priority",
  ]);
  expect(fieldsOf({ quietHours: { ...night, end: night.start } })).toEqual(["policy.quiet_hours.end"]);
});

test.for([
  ["2026-01-10T21:29:00Z", false],
  ["2026-01-10T21:30:00Z", true],
  ["2026-01-11T05:59:00Z", true],
  ["2026-01-11T06:00:00Z", false],
  // An hour earlier by UTC in summer.
  ["2026-07-10T20:30:00Z", true],
  ["2026-07-10T20:29:00Z", false],
] as const)("the night in Berlin, at %s: %s", ([time, isQuiet]) => {
  const hours = create(PolicySchema, { quietHours: night }).quietHours;
  expect(new QuietClock().isQuiet(hours, Date.parse(time), 0)).toBe(isQuiet);
});

test("hours within a day; a breaking priority is never quiet; without hours nothing is", () => {
  const clock = new QuietClock();
  const noon = create(PolicySchema, {
    quietHours: { timeZone: "UTC", start: "12:00", end: "13:00", breakingPriority: 5 },
  });
  const at = Date.parse("2026-01-10T12:30:00Z");
  expect([0, 4, 5, 7].map((priority) => clock.isQuiet(noon.quietHours, at, priority))).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect(clock.isQuiet(noon.quietHours, Date.parse("2026-01-10T13:00:00Z"), 0)).toBe(false);
  expect(clock.isQuiet(undefined, at, 0)).toBe(false);
  const usual = create(PolicySchema, { quietHours: { timeZone: "UTC", start: "12:00", end: "13:00" } }).quietHours;
  expect([6, 7].map((priority) => clock.isQuiet(usual, at, priority))).toEqual([true, false]);
});
