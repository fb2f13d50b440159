import { expect, test } from "vitest";
import { parseRetryAfter } from "./push-request.ts";

const NOW_MS = Date.parse("2026-11-22T00:00:00Z");

test.for([
  ["120", 120_000],
  [" 0 ", 0],
  ["Sun, 22 Nov 2026 00:00:30 GMT", 30_000],
  ["Sat, 21 Nov 2026 00:00:00 GMT", 0],
  ["999999999", 24 * 3_600_000],
  ["soon", undefined],
  ["-5 apples", undefined],
  ["", undefined],
  [undefined, undefined],
] as const)("Retry-After: %s is %s ms", ([text, ms]) => {
  expect(parseRetryAfter(text, NOW_MS)).toBe(ms);
});
