// Chance, and turns of the event loop, in the hands of a test.
import type { Random } from "../time.ts";

/** Resolves when every promise that could go on has gone on. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Bytes that are all the same: 0 makes every chance the smallest, 255 the largest. */
export function constantRandom(byte: number): Random {
  return { bytes: (count) => new Uint8Array(count).fill(byte) };
}
