import { expect, test } from "vitest";
import { parseRetryAfter } from "./retry-after.ts";

const NOW_MS = Date.parse("2026-03-01T12:00:00Z");

test.each([
  ["0", 0],
  ["90", 90_000],
  [" 5 ", 5000],
  ["Sun, 01 Mar 2026 12:00:30 GMT", 30_000],
  ["Sun, 01 Mar 2026 11:00:00 GMT", 0],
  ["999999999", 86_400_000],
  ["soon", undefined],
  ["-1x", undefined],
  ["", undefined],
  [null, undefined],
  [undefined, undefined],
])("%j is %j ms from now", (field, ms) => {
  expect(parseRetryAfter(field, NOW_MS)).toBe(ms);
});
