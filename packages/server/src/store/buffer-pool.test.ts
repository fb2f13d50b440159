import { expect, test } from "vitest";
import { BufferPools } from "./buffer-pool.ts";

test("a buffer has the size that was asked for, in memory of the smallest size that is large enough", () => {
  const pools = new BufferPools([100, 200], { freeBytesMax: 1000 });
  expect(
    [1, 100, 101, 200, 201].map((size) => pools.take(size)).map((each) => [each.length, each.buffer.byteLength]),
  ).toEqual([
    [1, 100],
    [100, 100],
    [101, 200],
    [200, 200],
    [201, 201],
  ]);
});

test("what is given is taken again, and what is of no size of the pool's is not kept", () => {
  const pools = new BufferPools([100, 200], { freeBytesMax: 1000 });
  const [small, large] = [pools.take(50), pools.take(300)];
  pools.give(small);
  pools.give(large);
  expect(pools.take(100).buffer).toBe(small.buffer);
  expect(pools.take(300).buffer).not.toBe(large.buffer);
});

test("of what is free beyond the bound, the size goes that there is most of", () => {
  const pools = new BufferPools([100, 200], { freeBytesMax: 500 });
  const small = Array.from({ length: 4 }, () => pools.take(100));
  const large = Array.from({ length: 2 }, () => pools.take(200));
  for (const buffer of [...small, ...large]) pools.give(buffer);
  expect([kept(pools, small), kept(pools, large)]).toEqual([3, 1]);
  pools.shrink(250);
  expect([kept(pools, small), kept(pools, large)]).toEqual([1, 0]);
  pools.shrink(0);
  expect([kept(pools, small), kept(pools, large)]).toEqual([0, 0]);
});

/** How many of these buffers are free. */
function kept(pools: BufferPools, buffers: readonly Buffer[]): number {
  const taken = buffers.map(({ length }) => pools.take(length));
  const own = taken.filter(({ buffer }) => buffers.some((each) => each.buffer === buffer));
  for (const buffer of own) pools.give(buffer);
  return own.length;
}
