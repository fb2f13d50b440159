import { describe, expect, test } from "vitest";
import { isRangeOf, parseHttpDate, preconditionStatus } from "./http-conditions.ts";

const LAST_MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER = "Sun, 06 Nov 1994 08:49:38 GMT";
const file = { etag: '"abc"', modifiedS: 784_111_777, lastModified: LAST_MODIFIED };
const status = (headers: Readonly<Record<string, string>>) =>
  preconditionStatus(new Map(Object.entries(headers)), file);

describe("If-Match and If-Unmodified-Since", () => {
  test.each<[Record<string, string>, 412 | undefined]>([
    [{ "if-match": '"abc"' }, undefined],
    [{ "if-match": '"x", "abc"' }, undefined],
    [{ "if-match": "*" }, undefined],
    [{ "if-match": '"x"' }, 412],
    // Weak ones never match here.
    [{ "if-match": 'W/"abc"' }, 412],
    [{ "if-unmodified-since": LAST_MODIFIED }, undefined],
    [{ "if-unmodified-since": AFTER }, undefined],
    [{ "if-unmodified-since": BEFORE }, 412],
    [{ "if-unmodified-since": "0" }, undefined],
    // The tag is the better question.
    [{ "if-match": '"abc"', "if-unmodified-since": BEFORE }, undefined],
    [{ "if-match": '"x"', "if-none-match": '"abc"' }, 412],
  ])("%j: %s", (headers, wanted) => {
    expect(status(headers)).toBe(wanted);
  });
});

describe("If-None-Match and If-Modified-Since", () => {
  test.each<[Record<string, string>, 304 | undefined]>([
    [{ "if-none-match": '"abc"' }, 304],
    [{ "if-none-match": '"x" ,W/"abc"' }, 304],
    [{ "if-none-match": "*" }, 304],
    [{ "if-none-match": '"x"' }, undefined],
    [{ "if-modified-since": LAST_MODIFIED }, 304],
    [{ "if-modified-since": AFTER }, 304],
    [{ "if-modified-since": BEFORE }, undefined],
    [{ "if-modified-since": "2038-01-01" }, undefined],
    [{ "if-none-match": '"x"', "if-modified-since": LAST_MODIFIED }, undefined],
  ])("%j: %s", (headers, wanted) => {
    expect(status(headers)).toBe(wanted);
  });
});

test.each([
  ['"abc"', true],
  [LAST_MODIFIED, true],
  ['W/"abc"', false],
  ['"x"', false],
  [AFTER, false],
])("If-Range: %s: %s", (field, wanted) => {
  expect(isRangeOf(new Map([["if-range", field]]), file)).toBe(wanted);
});

test("without If-Range a range counts", () => {
  expect(isRangeOf(new Map(), file)).toBe(true);
});

test.each([
  [LAST_MODIFIED, 784_111_777],
  ["Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777],
  ["Sun Nov  6 08:49:37 1994", 784_111_777],
  ["Sun, 06 Nov 1994 08:49:37 +0100", undefined],
  ["1994-11-06T08:49:37Z", undefined],
  ["784111777", undefined],
  ["Xxx, 99 Xxx 1994 08:49:37 GMT", undefined],
  ["", undefined],
])("the date %s: %s", (text, wanted) => {
  expect(parseHttpDate(text)).toBe(wanted);
});
