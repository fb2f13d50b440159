import fc from "fast-check";
import { expect, test } from "vitest";
import { findNearest } from "./nearest.ts";
import { formatBytes, formatDuration, parseBytes, parseDuration } from "./units.ts";

test.each([
  ["0", 0],
  ["65536", 65_536],
  ["64KiB", 65_536],
  ["64 kib", 65_536],
  ["1.5GiB", 1.5 * 2 ** 30],
  ["2GB", 2e9],
  ["10kB", 10_000],
  ["7B", 7],
])("size %s is %d bytes", (text, bytes) => expect(parseBytes(text)).toBe(bytes));

test.each(["", "KiB", "-1KiB", "1e3", "1 000", "64KiBs", "99999999TiB"])("%j is no size", (text) => {
  expect(() => parseBytes(text)).toThrow(/allowed is a number of bytes/u);
});

test.each([
  ["0", 0],
  ["250ms", 250],
  ["30s", 30_000],
  ["1h30m", 5_400_000],
  ["1.5s", 1500],
  ["2w", 14 * 86_400_000],
])("duration %s is %d ms", (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each(["", "30", "s", "-1s", "1S", "1h 30m", "1y", "99999999999w"])("%j is no duration", (text) => {
  expect(() => parseDuration(text)).toThrow(/allowed is a number with a unit/u);
});

test("a duration survives being written and read", () => {
  expect([0, 250, 30_000, 90_500].map(formatDuration)).toEqual(["0s", "250ms", "30s", "90500ms"]);
  fc.assert(
    fc.property(fc.nat(), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }),
  );
});

test("a size survives being written and read", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (bytes) => {
      expect(parseBytes(formatBytes(bytes))).toBe(bytes);
    }),
  );
});

test("the nearest name is found, unless nothing is near", () => {
  const names = ["listen", "data", "logLevel", "heartbeat"];
  expect(findNearest("lsiten", names)).toBe("listen");
  expect(findNearest("log-level", names)).toBe("logLevel");
  expect(findNearest("heartbeats", names)).toBe("heartbeat");
  expect(findNearest("port", names)).toBeUndefined();
});
