import { expect, test } from "vitest";
import { parseRange } from "./http-range.ts";

test.each([
  ["bytes=0-9", [[0, 10]]],
  ["bytes=90-", [[90, 100]]],
  ["bytes=-10", [[90, 100]]],
  ["bytes=-1000", [[0, 100]]],
  ["bytes=95-200", [[95, 100]]],
  ["BYTES = 5-5", [[5, 6]]],
  [
    "bytes=0-1, 10-11 ,, -1",
    [
      [0, 2],
      [10, 12],
      [99, 100],
    ],
  ],
  // One of several that the file does not have is left out.
  ["bytes=0-1,500-", [[0, 2]]],
])("%s", (field, wanted) => {
  expect(parseRange(field, 100)).toEqual(wanted.map(([start, end]) => ({ start, end })));
});

test.each([["bytes=100-"], ["bytes=500-600"], ["bytes=-0"]])("%s is not to be had", (field) => {
  expect(parseRange(field, 100)).toBe("unsatisfiable");
});

test.each([
  [undefined],
  ["bytes="],
  ["bytes=a-b"],
  ["bytes=9-0"],
  ["bytes=-"],
  ["bytes=--1"],
  ["lines=0-9"],
  ["bytes=0-59,40-99"],
  [`bytes=${Array.from({ length: 65 }, (_, i) => `${i}-${i}`).join(",")}`],
])("%s is answered by all", (field) => {
  expect(parseRange(field, 100)).toBeUndefined();
});
