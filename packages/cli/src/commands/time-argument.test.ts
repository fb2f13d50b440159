import { expect, test } from "vitest";
import { parseTimeArgument } from "./time-argument.ts";

const now = 1_700_000_000_000_000_000n;
const ns = (text: string): bigint => BigInt(new Date(text).getTime()) * 1_000_000n;

test.each([
  ["10m", now - 600_000_000_000n],
  ["1h30m", now - 5_400_000_000_000n],
  ["250ms", now - 250_000_000n],
  ["1w", now - 604_800_000_000_000n],
  ["2026-11-21T08:43:01Z", ns("2026-11-21T08:43:01Z")],
  ["2026-11-21T08:43:01.123456789+02:00", ns("2026-11-21T06:43:01Z") + 123_456_789n],
  ["2026-11-21 08:43", ns("2026-11-21T08:43:00")],
  ["2026-11-21", ns("2026-11-21T00:00:00")],
])("%s", (text, expected) => {
  expect(parseTimeArgument(text, now)).toBe(expected);
});

test.each(["", "10", "m", "yesterday", "2026-13-01", "2026-11-21T25:00:00Z", "-5m", "1h 30m"])(
  "%j is refused",
  (text) => {
    expect(() => parseTimeArgument(text, now)).toThrow("Give how long ago");
  },
);
