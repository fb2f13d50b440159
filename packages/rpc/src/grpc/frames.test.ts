import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { lentBuffer } from "../reading/testing/lent-buffer.ts";
import { countFrames, frameOf, MessageReader } from "./frames.ts";
import { Code } from "./status.ts";

/** Cuts `bytes` at the given places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = [0, ...places.map((place) => Math.min(place, bytes.length)).toSorted((a, b) => a - b), bytes.length];
  return cuts.slice(1).map((end, at) => bytes.subarray(cuts[at], end));
}

function takeAll(reader: MessageReader): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let message = reader.take(); message !== undefined; message = reader.take()) messages.push(message);
  return messages;
}

describe("MessageReader", () => {
  test("returns what went in, however it was cut and whenever it was asked", () => {
    const sizes = fc.oneof(fc.nat(3000), fc.nat(30_000));
    const messages = fc.array(
      sizes.map((size) => new Uint8Array(size).map((_, at) => at ^ size)),
      { maxLength: 20 },
    );
    const places = fc.array(fc.nat(60_000), { maxLength: 200 });
    fc.assert(
      fc.property(messages, places, fc.array(fc.boolean(), { minLength: 1 }), (sent, cuts, asks) => {
        const reader = new MessageReader(30_000);
        const received: Uint8Array[] = [];
        cut(Buffer.concat(sent.map((message) => frameOf(message))), cuts).forEach((piece, at) => {
          reader.push(piece, 0, piece.length);
          if (asks[at % asks.length] === true) received.push(...takeAll(reader));
        });
        received.push(...takeAll(reader));
        expect(received.map((each) => Buffer.from(each).toString("hex"))).toEqual(
          sent.map((each) => Buffer.from(each).toString("hex")),
        );
        expect(reader.available).toBe(0);
      }),
    );
  });

  test("keeps nothing in memory that is lent", () => {
    const lent = lentBuffer();
    const messages = fc.array(fc.oneof(fc.nat(3000), fc.nat(30_000)), { maxLength: 20 });
    const places = fc.array(fc.nat(60_000), { maxLength: 20 });
    fc.assert(
      fc.property(messages, places, fc.array(fc.nat(3), { minLength: 1 }), (sizes, cuts, asks) => {
        const sent = sizes.map((size) => new Uint8Array(size).map((_, at) => at ^ size));
        const reader = new MessageReader(30_000);
        const received: Uint8Array[] = [];
        cut(Buffer.concat(sent.map((message) => frameOf(message))), cuts).forEach((piece, at) => {
          for (let from = 0; from < piece.length; from += lent.length) {
            const length = piece.copy(lent, 0, from);
            reader.push(lent, 0, length);
            for (let ask = asks[at % asks.length]!; ask > 0; ask--) {
              const message = reader.take();
              if (message !== undefined) received.push(message);
            }
            reader.keep();
            lent.fill(0xee);
          }
        });
        received.push(...takeAll(reader));
        expect(Buffer.compare(Buffer.concat(received), Buffer.concat(sent))).toBe(0);
        expect(received.map(({ length }) => length)).toEqual(sizes);
      }),
    );
  });

  test("a small part of a large buffer is copied, so that the rest of it is free", () => {
    const reader = new MessageReader(100_000);
    for (const [size, kept] of [
      [1000, 1005],
      [2000, 2005],
      [40_000, 65_536],
    ] as const) {
      const arrived = Buffer.from(new ArrayBuffer(65_536));
      arrived.writeUInt32BE(size, 1);
      reader.push(arrived, 0, size + 5);
      const message = reader.take();
      expect(message?.length).toBe(size);
      expect(message?.buffer.byteLength).toBeLessThanOrEqual(Math.max(kept, 4096));
    }
  });

  test("what was handed out does not change when more arrives", () => {
    const reader = new MessageReader(100);
    const buffer = Buffer.from(frameOf(Uint8Array.of(1, 2, 3)));
    for (const byte of buffer) reader.push(Buffer.of(byte), 0, 1);
    const first = reader.take();
    for (let round = 0; round < 2000; round++) reader.push(Buffer.of(9), 0, 1);
    expect(first).toEqual(Uint8Array.of(1, 2, 3));
  });

  test("a trickle of single bytes is not kept as a buffer for each", () => {
    const reader = new MessageReader(1_000_000);
    const frame = frameOf(new Uint8Array(100_000).map((_, at) => at));
    for (const byte of frame) {
      const buffer = Buffer.alloc(64);
      buffer[7] = byte;
      reader.push(buffer, 7, 8);
    }
    const message = reader.take();
    expect(message).toEqual(Uint8Array.from(frame.subarray(5)));
  });

  test("a message gets its place when a quarter of it is there, and goes there whole", () => {
    using allocations = vi.spyOn(Buffer, "allocUnsafeSlow");
    const reader = new MessageReader(1_000_000);
    const message = new Uint8Array(1_000_000).map((_, at) => at * 31);
    const bytes = Buffer.concat([frameOf(message), frameOf(Uint8Array.of(7))]);
    const sizes: number[] = [];
    for (let at = 0; at < bytes.length; at += 16_384) {
      expect(reader.take()).toBeUndefined();
      sizes.push(...allocations.mock.calls.splice(0).map(([size]) => size));
      if (at < 240_000) expect(sizes).toEqual([]);
      reader.push(bytes, at, Math.min(at + 16_384, bytes.length));
    }
    expect(sizes).toEqual([1_000_000]);
    expect(reader.available).toBe(bytes.length);
    const taken = reader.take();
    expect(Buffer.compare(taken!, message)).toBe(0);
    expect(reader.take()).toEqual(Uint8Array.of(7));
  });

  test("the limit is checked as soon as the length is there", () => {
    const reader = new MessageReader(10);
    reader.push(Buffer.of(0, 0, 0, 0, 11), 0, 5);
    expect(() => reader.take()).toThrow(expect.objectContaining({ code: Code.RESOURCE_EXHAUSTED }));
    const largest = new MessageReader(10);
    largest.push(Buffer.of(0, 0xff, 0xff, 0xff, 0xff), 0, 5);
    expect(() => largest.take()).toThrow(/4294967295 bytes/);
  });

  test("a flag other than 0 and 1 is refused, before its length is believed", () => {
    const reader = new MessageReader(10);
    reader.push(Buffer.of(2, 0xff, 0xff, 0xff, 0xff), 0, 5);
    expect(() => reader.take()).toThrow(expect.objectContaining({ code: Code.INTERNAL }));
  });

  test("the flag of the message taken last", () => {
    const reader = new MessageReader(10);
    const bytes = Buffer.concat([frameOf(Uint8Array.of(1), 1), frameOf(Uint8Array.of(2))]);
    reader.push(bytes, 0, bytes.length);
    const flags = [reader.take(), reader.flag, reader.take(), reader.flag];
    expect(flags).toEqual([Uint8Array.of(1), 1, Uint8Array.of(2), 0]);
  });

  test("clear forgets", () => {
    const reader = new MessageReader(10);
    reader.push(Buffer.of(0, 0, 0), 0, 3);
    reader.clear();
    const bytes = Buffer.from(frameOf(Uint8Array.of(5)));
    reader.push(bytes, 0, bytes.length);
    expect(takeAll(reader)).toEqual([Uint8Array.of(5)]);
  });
});

test("frames are counted without being copied", () => {
  const frames = Buffer.concat([
    frameOf(new Uint8Array(0)),
    frameOf(new Uint8Array(70_000)),
    frameOf(Uint8Array.of(1)),
  ]);
  expect(countFrames(frames)).toBe(3);
  expect(countFrames(new Uint8Array(0))).toBe(0);
});
