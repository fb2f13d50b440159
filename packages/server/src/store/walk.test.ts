import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FrameDescription } from "./contract.ts";
import type { File } from "./file-system.ts";
import { DAMAGED } from "./columns.ts";
import { encodeFrame, testCodec } from "./testing/frames.ts";
import { range } from "./testing/reading.ts";
import { makeEntry } from "./testing/writing.ts";
import { walkFrames } from "./walk.ts";

/** Bytes as a file that can only be read. */
function fileOf(bytes: Uint8Array): File {
  const read = (buffer: Uint8Array, position: number) => {
    const part = bytes.subarray(position, position + buffer.length);
    buffer.set(part);
    return part.length;
  };
  const refuse = () => Promise.reject(new Error("This file is only read"));
  return {
    read: (buffer, position) => Promise.resolve(read(buffer, position)),
    readSync: read,
    size: () => Promise.resolve(bytes.length),
    close: () => Promise.resolve(),
    write: refuse,
    sync: refuse,
    truncate: refuse,
  };
}

/** What a walk handed on: of each entry its sequence, undefined for a damaged one, and its bytes. */
interface Handed {
  readonly sequences: (number | undefined)[];
  readonly bytes: Buffer;
}

async function walk(bytes: Uint8Array, options: { first?: number; searchUntil?: number } = {}) {
  const handed: (FrameDescription | undefined)[] = [];
  const pieces: Buffer[] = [];
  const result = await walkFrames({
    file: fileOf(bytes),
    size: bytes.length,
    codec: testCodec,
    first: options.first ?? 1,
    isExpected: (epoch) => epoch === 1,
    label: () => 0,
    searchUntil: options.searchUntil ?? bytes.length,
    onEntries(batch) {
      for (let i = 0; i < batch.count; i++) {
        handed.push(batch.descriptions[i]);
        expect(batch.severities[i] === DAMAGED).toBe(batch.descriptions[i] === undefined);
        const start = batch.offsets[i]!;
        pieces.push(Buffer.from(batch.bytes.subarray(start, start + batch.lengths[i]!)));
      }
    },
  });
  const seen: Handed = { sequences: handed.map((each) => each?.sequence), bytes: Buffer.concat(pieces) };
  return { ...result, ...seen };
}

function frames(low: number, high: number, payload = "x".repeat(50)): Buffer[] {
  return range(low, high).map((sequence) =>
    encodeFrame(makeEntry(sequence, { payload }), { epoch: 1, sequence, producer: "", producerSequence: 0 }),
  );
}

describe("a walk through frames", () => {
  test("hands on every entry, and every byte once", async () => {
    const bytes = Buffer.concat(frames(1, 10_000));
    const found = await walk(bytes);
    expect(found).toMatchObject({ end: bytes.length, next: 10_001, damagedEntries: 0, epochMax: 1 });
    expect(found.sequences).toEqual(range(1, 10_000));
    expect(found.bytes.equals(bytes)).toBe(true);
  });

  test("takes frames longer than what is read at once", async () => {
    const bytes = Buffer.concat([...frames(1, 3), ...frames(4, 5, "y".repeat(3_000_000)), ...frames(6, 8)]);
    const found = await walk(bytes);
    expect(found.sequences).toEqual(range(1, 8));
    expect(found.bytes.equals(bytes)).toBe(true);
  });

  test("goes on behind damage, and counts what it covers", async () => {
    const all = frames(1, 100);
    const bytes = Buffer.concat(all);
    // Entries 11 to 30, headers and all.
    bytes.fill(0xee, all[0]!.length * 10, all[0]!.length * 30);
    const found = await walk(bytes);
    expect(found).toMatchObject({ end: bytes.length, next: 101, damagedEntries: 20 });
    expect(found.sequences).toEqual([...range(1, 10), ...range(1, 20).map(() => undefined), ...range(31, 100)]);
    expect(found.bytes.equals(bytes)).toBe(true);
  });

  test("searches nothing behind the place from which it may be torn", async () => {
    const all = frames(1, 100);
    const bytes = Buffer.concat(all);
    const at = all[0]!.length * 10;
    bytes[at + 40]! ^= 0xff;
    expect(await walk(bytes, { searchUntil: at })).toMatchObject({ end: at, next: 11 });
    expect(await walk(bytes, { searchUntil: at + 1 })).toMatchObject({ end: bytes.length, next: 101 });
  });

  test("ends where nothing proves itself any more", async () => {
    const good = Buffer.concat(frames(1, 10));
    for (const rest of [
      Buffer.alloc(3),
      Buffer.alloc(10_000),
      Buffer.alloc(5000, 0xff),
      frames(11, 11)[0]!.subarray(0, 30),
    ]) {
      const found = await walk(Buffer.concat([good, rest]));
      expect(found).toMatchObject({ end: good.length, next: 11, damagedEntries: 0 });
    }
  });

  test("believes no frame whose sequence cannot stand where it is found", async () => {
    const [first] = frames(1, 1);
    const bytes = Buffer.concat([first!, Buffer.alloc(30, 0xff), ...frames(9, 9)]);
    expect(await walk(bytes)).toMatchObject({ end: first!.length, next: 2 });
  });

  test("never invents, reorders or repeats, whatever is done to the bytes", async () => {
    const spoil = fc.record({
      at: fc.nat(),
      length: fc.integer({ min: 1, max: 300 }),
      value: fc.integer({ min: 0, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(spoil, { maxLength: 4 }), async (spoils) => {
        const bytes = Buffer.concat(frames(1, 60));
        for (const { at, length, value } of spoils) {
          const start = at % bytes.length;
          bytes.fill(value, start, Math.min(bytes.length, start + length));
        }
        const found = await walk(bytes);
        const expected = found.sequences.map((sequence, i) => (sequence === undefined ? undefined : i + 1));
        expect(found.sequences).toEqual(expected);
        expect(found.bytes.equals(bytes.subarray(0, found.end))).toBe(true);
        expect(found.next).toBe(found.sequences.length + 1);
        // Whole frames that nothing was done to are found, unless they are behind the last that proves itself.
        expect(found.sequences.filter((sequence) => sequence !== undefined).length).toBeGreaterThanOrEqual(60 - 4 * 6);
      }),
      { numRuns: 100 },
    );
  });
});
