import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import { BLOCK_BYTES, GorillaBlocks, GorillaReader } from "./gorilla.ts";

const runs = { numRuns: Math.ceil(300 * inject("propertyScale")) };

/** Any 64 bits, those of doubles that matter among them. */
const bits = fc.oneof(
  fc.tuple(fc.nat({ max: 0xffffffff }), fc.nat({ max: 0xffffffff })),
  fc.double().map((value) => halvesOf(value)),
  fc.integer({ min: -1000, max: 1000 }).map((value) => halvesOf(value)),
  // NaNs with a load, infinities, both zeros.
  fc.constantFrom(
    [0x7ff00000, 2],
    [0x7ff80000, 1],
    [0xfff80000, 0xdeadbeef],
    [0x7ff00000, 0],
    [0xfff00000, 0],
    [0x80000000, 0],
  ),
);
/** From one tick to the next. */
const step = fc.oneof(
  fc.constant(7),
  fc.integer({ min: 1, max: 20 }),
  fc.integer({ min: 1, max: 300 }),
  fc.integer({ min: 1, max: 2 ** 45 }),
);

function halvesOf(value: number): [high: number, low: number] {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return [view.getUint32(0), view.getUint32(4)];
}

function readAll(bytes: Uint8Array, at: number, { count, firstTick }: { count: number; firstTick: number }) {
  const reader = new GorillaReader();
  reader.open(bytes, at, { count, firstTick });
  const points: number[][] = [];
  while (reader.next()) points.push([reader.tick, reader.high, reader.low]);
  return points;
}

describe("a block of points", () => {
  test("gives back every tick and every bit of what went in, whatever it was", () => {
    const points = fc.array(fc.tuple(step, bits), { minLength: 1, maxLength: 200 });
    const property = fc.property(fc.nat(2 ** 40), points, fc.integer({ min: 0, max: 3000 }), (first, steps, id) => {
      const blocks = new GorillaBlocks();
      const expected: number[][] = [];
      let tick = first;
      for (const [ahead, [high, low]] of steps) {
        if (!blocks.hasRoom(id)) break;
        tick += ahead;
        blocks.append(id, tick, high, low);
        expected.push([tick, high, low]);
      }
      const place = { count: blocks.count(id), firstTick: blocks.firstTick(id) };
      const bytes = blocks.bytesOf(id);
      expect(bytes.length).toBeLessThanOrEqual(BLOCK_BYTES);
      // Where it lies among other bytes changes nothing.
      expect(readAll(Buffer.concat([Buffer.alloc(3, 0xff), bytes]), 3, place)).toEqual(expected);
    });
    fc.assert(property, runs);
  });

  test("does not touch its neighbours, and begins anew as if nothing had been", () => {
    const blocks = new GorillaBlocks();
    for (const round of [1, 2]) {
      for (let i = 0; i < 20; i++) for (const id of [0, 1, 1023, 1024]) blocks.append(id, i * id + round + i, i, id);
      for (const id of [0, 1, 1023, 1024]) {
        const place = { count: blocks.count(id), firstTick: blocks.firstTick(id) };
        const expected = Array.from({ length: 20 }, (_, i) => [i * id + round + i, i, id]);
        expect(readAll(blocks.bytesOf(id), 0, place)).toEqual(expected);
        blocks.reset(id);
        expect(blocks.count(id)).toBe(0);
      }
    }
  });

  test("takes a bit for the time of a point that comes in step, and one for a value that stays", () => {
    const blocks = new GorillaBlocks();
    for (let i = 0; i < 800; i++) blocks.append(0, 1000 + 3 * i, 0x40590000, 0);
    expect(blocks.bytesOf(0).length).toBeLessThanOrEqual((64 + 9 + 2 * 800) / 8 + 1);
  });
});
