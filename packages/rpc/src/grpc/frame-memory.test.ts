import { expect, test } from "vitest";
import { FrameMemory } from "./frame-memory.ts";

const KIB = 1024;

test("a room is large enough, by half at most, or by the least there is", () => {
  const memory = new FrameMemory();
  for (const bytes of [1, 24 * KIB, 24 * KIB + 1, 32 * KIB, 65_549, 100_000, 3_000_000]) {
    const room = memory.take(bytes);
    expect(room.length).toBeGreaterThanOrEqual(bytes);
    expect(room.length).toBeLessThanOrEqual(Math.max(1.5 * bytes, 24 * KIB));
  }
});

test("a room is used again when its frame is freed, once, and not before", () => {
  const memory = new FrameMemory();
  const room = memory.take(65_549);
  const frame = memory.frameIn(room, 65_549);
  expect(frame).toHaveLength(65_549);
  expect(memory.take(65_549).buffer).not.toBe(room.buffer);
  memory.free(Uint8Array.from(frame));
  expect(memory.take(65_549).buffer).not.toBe(room.buffer);
  memory.free(frame);
  memory.free(frame);
  expect(memory.take(65_549).buffer).toBe(room.buffer);
  expect(memory.take(65_549).buffer).not.toBe(room.buffer);
});

test("only so much lies free", () => {
  const memory = new FrameMemory();
  const rooms = Array.from({ length: 40 }, () => memory.take(1024 * KIB));
  const buffers = new Set(rooms.map(({ buffer }) => buffer));
  rooms.push(memory.take(2048 * KIB));
  for (const room of rooms.toReversed()) memory.give(room);
  const again = Array.from({ length: 40 }, () => memory.take(1024 * KIB));
  expect(again.filter(({ buffer }) => buffers.has(buffer))).toHaveLength(16);
  expect(memory.take(2048 * KIB).buffer).not.toBe(rooms.at(-1)?.buffer);
});
