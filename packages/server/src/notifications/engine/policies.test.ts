import { create } from "@bufbuild/protobuf";
import { PolicySchema } from "@sluice/api";
import { expect, test } from "vitest";
import { QuietHoursWatch } from "./policies.ts";

const watch = new QuietHoursWatch();

function silentAt(iso: string, hours: { timeZone: string; start: string; end: string }, priority = 0): boolean {
  const policy = create(PolicySchema, { quietHours: { ...hours, breakingPriority: 5 } });
  return watch.isSilent(policy, priority, Date.parse(iso));
}

test("quiet hours are those of the user's zone, whatever the season", () => {
  const night = { timeZone: "Europe/Berlin", start: "22:00", end: "07:00" };
  // Winter: one hour ahead of UTC.
  expect(silentAt("2026-01-15T20:59:00Z", night)).toBe(false);
  expect(silentAt("2026-01-15T21:00:00Z", night)).toBe(true);
  expect(silentAt("2026-01-15T21:00:00Z", night, 5)).toBe(false);
  expect(silentAt("2026-01-16T05:59:00Z", night)).toBe(true);
  expect(silentAt("2026-01-16T06:00:00Z", night)).toBe(false);
  // Summer: two.
  expect(silentAt("2026-07-15T19:59:00Z", night)).toBe(false);
  expect(silentAt("2026-07-15T20:00:00Z", night)).toBe(true);
  expect(silentAt("2026-07-16T05:00:00Z", night)).toBe(false);
  // The night in which the clock goes from 2:00 to 3:00.
  expect(silentAt("2026-03-29T04:59:00Z", night)).toBe(true);
  expect(silentAt("2026-03-29T05:00:00Z", night)).toBe(false);
});

test("quiet hours may lie within a day; without a zone there are none, and an empty stretch is none", () => {
  const noon = { timeZone: "America/New_York", start: "12:00", end: "13:30" };
  expect(silentAt("2026-01-15T17:00:00Z", noon)).toBe(true);
  expect(silentAt("2026-01-15T18:29:00Z", noon)).toBe(true);
  expect(silentAt("2026-01-15T18:30:00Z", noon)).toBe(false);
  expect(silentAt("2026-01-15T17:00:00Z", { ...noon, timeZone: "" })).toBe(false);
  expect(silentAt("2026-01-15T17:00:00Z", { ...noon, end: "12:00" })).toBe(false);
});
