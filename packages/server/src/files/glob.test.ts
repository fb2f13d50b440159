import { expect, test } from "vitest";
import { InvalidRequest } from "../errors.ts";
import { parseGlobs } from "./glob.ts";

test.each([
  ["*.txt", ["a.txt", ".txt", "a b.txt"], ["a.txt.gz", "d/a.txt", "atxt"]],
  ["**/*.txt", ["a.txt", "d/a.txt", "d/e/a.txt"], ["d/a.tx"]],
  ["d/**", ["d/a", "d/e/a"], ["d", "da", "e/a"]],
  ["d/**/a", ["d/a", "d/x/a", "d/x/y/a"], ["da", "d/xa"]],
  ["a?c", ["abc", "a-c", "aéc"], ["ac", "abbc", "a/c"]],
  ["[a-c]x", ["ax", "cx"], ["dx", "x"]],
  ["[!a-c]x", ["dx", "-x"], ["ax", "/x"]],
  ["[]]x", ["]x"], ["x"]],
  ["{a,b*}/c", ["a/c", "bcd/c"], ["c/c", "{a,b*}/c"]],
  ["\\*\\{a", ["*{a"], ["x{a"]],
  ["a.b(c)+$^|", ["a.b(c)+$^|"], ["axb(c)+$^|"]],
  ["a,b}", ["a,b}"], ["a"]],
  ["**", ["a", "a/b"], []],
])("%s", (glob, matching, others) => {
  const matches = parseGlobs([glob]);
  expect(matching.filter((path) => !matches(path))).toEqual([]);
  expect(others.filter((path) => matches(path))).toEqual([]);
});

test("one of several globs is enough; none is everything", () => {
  const matches = parseGlobs(["*.a", "*.b"]);
  expect(["x.a", "x.b", "x.c"].filter(matches)).toEqual(["x.a", "x.b"]);
  expect(parseGlobs([])("anything/at all")).toBe(true);
});

test.each([[""], ["[a"], ["{a"], ["{a/b}"], ["a\\"], ["x".repeat(4097)]])("%j is none", (glob) => {
  expect(() => parseGlobs(["ok", glob])).toThrow(InvalidRequest);
  expect(() => parseGlobs(["ok", glob])).toThrow(/^globs\[1\]: /u);
});

test("stars behind stars take linear time", () => {
  expect(parseGlobs([`${"*a".repeat(1000)}b`])("a".repeat(4000))).toBe(false);
});
