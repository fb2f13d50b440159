import { expect, test } from "vitest";
import type { Batch } from "./contract.ts";
import { Tail } from "./tail.ts";
import { decodeRun, makeBatch } from "./testing/frames.ts";
import { range } from "./testing/reading.ts";
import { makeEntry } from "./testing/writing.ts";

const KIB = 1024;

/** Entries from..to with payloads of so many bytes. */
function batch(from: number, to: number, payloadBytes = 100): Batch {
  const writer = { epoch: 1, next: from, internLabel: () => 0 };
  return makeBatch(
    writer,
    range(from, to).map((number) => makeEntry(number, { payload: "x".repeat(payloadBytes) })),
  );
}

/** Everything from a sequence on. */
function readFrom(tail: Tail, sequence: number, last: number): number[] {
  const found: number[] = [];
  while (found.length < last - sequence + 1) {
    const run = tail.run(sequence + found.length, 10 * KIB);
    found.push(...decodeRun(run).map((entry) => entry.sequence));
  }
  return found;
}

test("the tail holds the newest entries, from any of them on", () => {
  const tail = new Tail(1, { bytesMax: 1024 * KIB });
  expect(tail.first).toBe(1);
  tail.append(batch(1, 1000));
  tail.append(batch(1001, 1001));
  for (const sequence of [1, 500, 1000, 1001]) expect(readFrom(tail, sequence, 1001)).toEqual(range(sequence, 1001));
});

test("the tail lets the oldest go, and never holds less than its bound while it has more to hold", () => {
  const bytesMax = 1024 * KIB;
  const tail = new Tail(1, { bytesMax });
  for (const i of range(0, 99)) tail.append(batch(i * 100 + 1, i * 100 + 100, 1000));
  const entryBytes = batch(1, 1, 1000).bytes.length;
  const held = (10_000 - tail.first + 1) * entryBytes;
  expect(tail.first).toBeGreaterThan(1);
  expect(held).toBeGreaterThan(bytesMax - 300 * KIB);
  expect(held).toBeLessThan(bytesMax + 300 * KIB);
  expect(readFrom(tail, tail.first, 10_000)).toEqual(range(tail.first, 10_000));
});

test("the tail takes an entry larger than its blocks, and than its bound", () => {
  const tail = new Tail(1, { bytesMax: 100 * KIB });
  tail.append(batch(1, 5));
  tail.append(batch(6, 6, 900 * KIB));
  expect(readFrom(tail, 6, 6)).toEqual([6]);
  tail.append(batch(7, 9));
  expect(readFrom(tail, 7, 9)).toEqual([7, 8, 9]);
});

test("a run is made once for all who ask at the same place, and anew when there is more", () => {
  const tail = new Tail(1, { bytesMax: 1024 * KIB });
  tail.append(batch(1, 10));
  const run = tail.run(3, 10 * KIB);
  expect(tail.run(3, 10 * KIB)).toBe(run);
  expect(tail.run(3, 20 * KIB)).toBe(run);
  const small = tail.run(3, 300);
  expect(small.count).toBeLessThan(run.count);
  expect(tail.run(3, 300)).toBe(small);
  tail.append(batch(11, 12));
  expect(tail.run(3, 10 * KIB)).toMatchObject({ first: 3, last: 12 });
  expect(run.last).toBe(10);
});

test("the tail keeps no batch alive, nor sees what becomes of it", () => {
  const tail = new Tail(1, { bytesMax: 1024 * KIB });
  const taken = batch(1, 3);
  tail.append(taken);
  taken.bytes.fill(0);
  expect(readFrom(tail, 1, 3)).toEqual([1, 2, 3]);
});
