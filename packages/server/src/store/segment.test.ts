// A segment whose file is replaced under its readers, and how much of one is read at once.
import { expect, test } from "vitest";
import type { FramesPlace } from "./frames-place.ts";
import { FilePool } from "./file-pool.ts";
import { nodeFileSystem } from "./file-system-node.ts";
import { History } from "./history.ts";
import { LabelDictionary } from "./labels.ts";
import { MemoryIndex } from "./memory-index.ts";
import { QueryPlan } from "./query.ts";
import { Segment } from "./segment.ts";
import { makeBatch, testCodec } from "./testing/frames.ts";
import { range } from "./testing/reading.ts";
import { makeEntry } from "./testing/writing.ts";

/** A segment of `count` entries and its frames, which `fill` gives. */
function makeSegment(count: number, payload: string, fill: (frames: Buffer) => FramesPlace["fill"]) {
  const labels = new LabelDictionary(10);
  const writer = { epoch: 1, next: 1, internLabel: (name: string) => labels.intern(name) };
  const batch = makeBatch(
    writer,
    range(1, count).map((number) => makeEntry(number, { payload })),
  );
  const index = new MemoryIndex(labels);
  index.append(batch);
  const pool = new FilePool(nodeFileSystem, { openMax: 1 });
  const host = { pool, nextOrdinal: () => 1, rebuild: () => Promise.resolve(), onTableLoaded: () => undefined };
  const frames = Buffer.from(batch.bytes);
  const place = placeOf("plain", fill(frames));
  const segment = new Segment(host, { folder: "/log", first: 1, index, frames: place });
  segment.sealedAtNs = 1n;
  return { segment, frames, labels };
}

function placeOf(path: string, fill: FramesPlace["fill"]): FramesPlace {
  return { path, storedBytes: undefined, fill, forgetTable: () => undefined };
}

const missing = () => Object.assign(new Error("ENOENT: plain"), { code: "ENOENT" });

test("a read that finds its file gone reads from the one that has taken its place", async () => {
  const { segment, frames } = makeSegment(3, "x", (bytes) => async () => {
    segment.attachFrames(
      placeOf("compressed", async (buffer, start) => {
        buffer.set(bytes.subarray(start, start + buffer.length));
        return true;
      }),
    );
    throw missing();
  });
  const buffer = Buffer.alloc(frames.length);
  await segment.readFrames(buffer, 0);
  expect(buffer.equals(frames)).toBe(true);
  expect(segment.frames.path).toBe("compressed");
});

test("a read of a file that is gone for good fails", async () => {
  const { segment } = makeSegment(3, "x", () => async () => {
    throw missing();
  });
  await expect(segment.readFrames(Buffer.alloc(10), 0)).rejects.toThrow("ENOENT");
});

test("what was proven of one file is no proof of another", () => {
  const { segment } = makeSegment(3, "x", () => async () => true);
  segment.setProof(0, true);
  expect(segment.isProven(0, 1)).toBe(true);
  segment.attachFrames(placeOf("compressed", async () => true));
  expect(segment.isProven(0, 1)).toBe(false);
});

test("of all blocks that many readers want, only some are read at once, and all come", async () => {
  let [open, most] = [0, 0];
  // Each entry is a page, and a block, of its own.
  const { segment, labels } = makeSegment(50, "x".repeat(600_000), (bytes) => async (buffer, start) => {
    open++;
    most = Math.max(most, open);
    await new Promise(setImmediate);
    open--;
    buffer.set(bytes.subarray(start, start + buffer.length));
    return true;
  });
  const history = new History({ bytesMax: 2 ** 22, codec: testCodec, onDamage: () => expect.unreachable() });
  const table = await segment.table();
  expect(table.count).toBe(50);
  const plan = new QueryPlan({}, labels);
  const blocks = await Promise.all(range(0, 49).map((page) => history.load(segment, table, page, plan)));
  expect(blocks.map(({ first }) => first)).toEqual(range(1, 50));
  expect(most).toBe(32);
  expect(history.bytes).toBeLessThanOrEqual(2 ** 22);
});
