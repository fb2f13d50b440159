import { expect, test } from "vitest";
import { findClfTimestamp, findLeadingIso, findLeadingSyslog, findTimestamp } from "./timestamp.ts";

const ns = (iso: string, extra = 0n): bigint => BigInt(Date.parse(iso)) * 1_000_000n + extra;
/** The same wall-clock time in this machine's zone. */
const local = (iso: string): bigint => BigInt(new Date(iso).getTime()) * 1_000_000n;

test.each([
  ["2026-11-21T08:43:01Z rest", ns("2026-11-21T08:43:01Z"), 20],
  ["2026-11-21T08:43:01.123456789Z", ns("2026-11-21T08:43:01Z", 123_456_789n), 30],
  ["2026-11-21T08:43:01.1234567891234Z", ns("2026-11-21T08:43:01Z", 123_456_789n), 34],
  ["2026-11-21 08:43:01,5+02:00 x", ns("2026-11-21T06:43:01.500Z"), 27],
  ["2026-11-21T08:43:01-0530", ns("2026-11-21T14:13:01Z"), 24],
  ["2026-11-21T08:43:01+02", ns("2026-11-21T06:43:01Z"), 22],
  ["2026/11/21 08:43:01 [error]", local("2026-11-21T08:43:01"), 19],
  ["2026-11-21 08:43:01 UTC x", ns("2026-11-21T08:43:01Z"), 23],
  ["2016-12-31T23:59:60Z", ns("2017-01-01T00:00:00Z"), 20],
])("%s begins with an ISO time", (text, expected, length) => {
  expect(findLeadingIso(text)).toMatchObject({ ns: expected, length });
});

test.each([
  "2026-02-30 08:43:01",
  "2026-13-01T00:00:00Z",
  "2026-11-21T25:00:00Z",
  "2026-11-21",
  "2026-11-21T08:43:011",
  "at 2026-11-21T08:43:01Z",
  "",
])("%j begins with no time", (text) => expect(findLeadingIso(text)).toBeUndefined());

test("a syslog time gets the year that does not put it into the future", () => {
  const now = new Date(2026, 0, 2, 12).getTime(); // 2 January 2026, in local time as syslog's is
  const yearOf = (text: string): number | undefined => {
    const found = findLeadingSyslog(text, now);
    return found === undefined ? undefined : new Date(Number(found.ns / 1_000_000n)).getFullYear();
  };
  expect(yearOf("Jan  2 11:00:00 host x: y")).toBe(2026);
  expect(yearOf("Jan  3 11:00:00 host x: y")).toBe(2026); // a clock that is ahead
  expect(yearOf("Dec 31 23:59:59 host x: y")).toBe(2025);
  expect(yearOf("Nov 21 08:43:01 host x: y")).toBe(2025);
  expect(findLeadingSyslog("Nov 21 08:43:01.25 host x", now)?.ns).toBe(local("2025-11-21T08:43:01.250"));
  expect(findLeadingSyslog("Nov 31 08:43:01 host x", now)).toBeUndefined();
  expect(findLeadingSyslog("November 21 08:43:01", now)).toBeUndefined();
});

test("29 February is looked for in a year that has one", () => {
  const found = findLeadingSyslog("Feb 29 01:00:00 h p: m", new Date(2025, 0, 5).getTime());
  expect(found?.ns).toBe(local("2024-02-29T01:00:00"));
});

test("an access line's time", () => {
  const line = '127.0.0.1 - - [21/Nov/2026:08:43:01 +0200] "GET / HTTP/1.1" 200 5';
  expect(findClfTimestamp(line)).toBe(ns("2026-11-21T06:43:01Z"));
  expect(findClfTimestamp("[21/Nov/2026 08:43:01]")).toBeUndefined();
});

test.each([
  [1_700_000_000, 1_700_000_000_000_000_000n],
  [1_700_000_000.25, 1_700_000_000_250_000_000n],
  [1_700_000_000_123, 1_700_000_000_123_000_000n],
  ["1700000000123.5", 1_700_000_000_123_500_000n],
  ["1700000000123456", 1_700_000_000_123_456_000n],
  ["1700000000123456789", 1_700_000_000_123_456_789n],
  ["2023-11-14T22:13:20Z", 1_700_000_000_000_000_000n],
  [12, undefined],
  [-5, undefined],
  ["yesterday", undefined],
  [null, undefined],
  ["9999999999999999999", undefined],
])("a logger's %j", (value, expected) => {
  expect(findTimestamp(value)).toBe(expected);
});
