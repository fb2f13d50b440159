import { BinaryWriter } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { bigintOf, WireReader } from "./wire.ts";

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

function open(bytes: Uint8Array): WireReader {
  const wire = new WireReader();
  wire.open(bytes, 0, bytes.length);
  return wire;
}

test("64-bit values, alone and in packed lists, are read as protobuf-es wrote them", () => {
  fc.assert(
    fc.property(int64, uint64, fc.array(int64), fc.array(uint64), (one, other, some, others) => {
      const writer = new BinaryWriter().int64(one).uint64(other).fork();
      for (const value of some) writer.int64(value);
      writer.join().fork();
      for (const value of others) writer.uint64(value);
      const wire = open(writer.join().finish());
      expect([wire.int64(), wire.uint64(), wire.int64s(), wire.uint64s()]).toEqual([one, other, some, others]);
      expect([wire.hasFailed, wire.pos === wire.end]).toEqual([false, true]);
    }),
  );
});

test("a list that is cut off fails the reader, which then stands at the end of what it had", () => {
  const bytes = new BinaryWriter().fork().uint64(1n).uint64(300n).join().uint64(7n).finish();
  for (let size = 1; size < 4; size++) {
    const wire = open(bytes.subarray(0, size));
    expect([wire.uint64s().length, wire.hasFailed, wire.pos]).toEqual([0, true, size]);
  }
  const torn = open(Uint8Array.of(1, 0x80, 7));
  torn.uint64s();
  expect([torn.hasFailed, torn.pos]).toEqual([true, 3]);
});

test("halves make a signed value", () => {
  expect(bigintOf(0xffff_ffff, 0xffff_ffff)).toBe(-1n);
  expect(bigintOf(-1, 0)).toBe(0xffff_ffffn);
  expect(bigintOf(1, 0x8000_0000)).toBe(-(2n ** 63n) + 1n);
});
