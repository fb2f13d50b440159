import { beforeEach, describe, expect, test } from "vitest";
import { CanaryLedger } from "./canary-ledger.ts";

const GRACE_MS = 1000;
let ledger: CanaryLedger;

/** Ten entries written at 0 ms and acknowledged at 10 ms, to a reader that is connected. */
beforeEach(() => {
  ledger = new CanaryLedger({ graceMs: GRACE_MS });
  ledger.readerIsConnected(0);
  for (let number = 1; number <= 10; number++) expect(ledger.write(0)).toBe(number);
  ledger.acknowledge(10, 10);
});

const see = (...numbers: number[]): void => {
  for (const number of numbers) ledger.see(number, 20);
};

test("every entry once and in order: nothing to say", () => {
  see(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
  const wrong = { missing: 0, duplicates: 0, outOfOrder: 0, unknown: 0, gaps: 0, gapEntries: 0n };
  expect(ledger.counts(20)).toEqual({ written: 10, acknowledged: 10, seen: 10, onTheWay: 0, ...wrong });
  expect(ledger.pending).toBe(0);
});

describe("missing", () => {
  test("is what a later entry has overtaken, at once", () => {
    see(1, 2, 4);
    expect(ledger.counts(20)).toMatchObject({ missing: 1, onTheWay: 6 });
  });

  test("is what a connected reader did not get in time, to the millisecond", () => {
    see(1, 2, 3, 4, 5, 6, 7, 8, 9);
    expect(ledger.counts(10 + GRACE_MS)).toMatchObject({ missing: 0, onTheWay: 1 });
    expect(ledger.counts(11 + GRACE_MS)).toMatchObject({ missing: 1, onTheWay: 0 });
  });

  test("is not what a reader that is cut off cannot get", () => {
    ledger.readerIsDisconnected();
    expect(ledger.counts(1e9)).toMatchObject({ missing: 0, onTheWay: 10 });
    ledger.readerIsConnected(1e9);
    expect(ledger.counts(1e9 + GRACE_MS)).toMatchObject({ missing: 0 });
    expect(ledger.counts(1e9 + GRACE_MS + 1)).toMatchObject({ missing: 10 });
  });

  test("is not what was never acknowledged", () => {
    expect(ledger.write(20)).toBe(11);
    expect(ledger.write(20)).toBe(12);
    see(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12);
    expect(ledger.counts(1e9)).toMatchObject({ missing: 0 });
    ledger.acknowledge(12, 1e9);
    expect(ledger.counts(1e9)).toMatchObject({ missing: 1 });
  });

  test("is no longer what comes after all: that is out of order", () => {
    see(1, 3, 2);
    expect(ledger.counts(20)).toMatchObject({ missing: 0, outOfOrder: 1, seen: 3 });
  });
});

describe("a duplicate", () => {
  test("is an entry that had come before, acknowledged or not", () => {
    see(1, 1);
    ledger.write(20);
    see(11, 11, 1);
    expect(ledger.counts(20)).toMatchObject({ duplicates: 3, seen: 2 });
  });
});

test("an entry that nobody wrote is unknown", () => {
  see(0, 11, Number.NaN, 1.5);
  expect(ledger.counts(20)).toMatchObject({ unknown: 4, seen: 0 });
});

test("gaps are added up", () => {
  ledger.noteGap(5n);
  ledger.noteGap(7n);
  expect(ledger.counts(20)).toMatchObject({ gaps: 2, gapEntries: 12n });
});

test("latencies count from writing; an entry may be seen before it is acknowledged", () => {
  ledger = new CanaryLedger({ graceMs: GRACE_MS });
  ledger.write(100);
  ledger.see(1, 103);
  expect(ledger.pending).toBe(1);
  ledger.acknowledge(1, 105);
  expect(ledger.pending).toBe(0);
  expect(ledger.takeRecent()).toMatchObject({
    acknowledgement: { count: 1, maxMs: 5 },
    delivery: { count: 1, maxMs: 3 },
  });
  expect(ledger.takeRecent()).toMatchObject({ delivery: { count: 0, maxMs: 0 } });
  expect(ledger.latencies()).toMatchObject({ delivery: { count: 1, maxMs: 3, sumMs: 3 } });
});
