import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type LogBatch, LogBatchSchema, LogEntrySchema } from "@sluice/api";
import { frameOf } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StreamInterrupted } from "../errors.ts";
import { BATCH_BYTES_MAX, BatchEncoder, BatchSource, encodeBatch } from "./batches.ts";
import { ControlFrames } from "./control.ts";
import { formatCursor } from "./cursor.ts";
import type { FollowOptions } from "./follow-options.ts";
import { Followers } from "./followers.ts";
import { MemoryLog } from "./testing/memory-log.ts";
import { endingIn, openSource, settle } from "./testing/open-stream.ts";
import { entriesOf } from "./testing/pulled-stream.ts";

const sequenceOf = (bytes: Uint8Array, start: number, end: number): number =>
  Number(entriesOf(bytes.subarray(start, end))[0]!.sequence);

/** Reads a follow in batches, as the transport would, whenever `pull` is called. */
class BatchReader {
  readonly batches: LogBatch[] = [];
  readonly clock = new ManualClock();
  wakes = 0;
  ending: unknown = "open";
  readonly source: BatchSource;

  constructor(log: MemoryLog, batch: { entriesMax: number; delayMs?: number }, options: Partial<FollowOptions> = {}) {
    const { entriesMax, delayMs = 0 } = batch;
    const entryControls = new ControlFrames(12);
    const follow = openSource(log, {
      followers: new Followers({ clock: this.clock, max: 10 }),
      manner: {
        until: Number.POSITIVE_INFINITY,
        slowReader: undefined,
        batch: { entriesMax, delayMs },
        sequenceOf,
      },
      controls: entryControls,
      heartbeatMs: 0,
      ...options,
    });
    const batchControls = new ControlFrames(2);
    this.source = new BatchSource(follow, { entriesMax, encoder: new BatchEncoder(), entryControls, batchControls });
    this.source.attach({
      wake: () => this.wakes++,
      end: () => (this.ending = "ended"),
      fail: (error) => (this.ending = error),
    });
  }

  /** Takes what is there. Answers, message by message, how many entries it has, or its control. */
  pull(maxBytes = BATCH_BYTES_MAX): (number | string | undefined)[] {
    const before = this.batches.length;
    for (let bytes = this.source.pull(maxBytes); bytes !== undefined; bytes = this.source.pull(maxBytes)) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let at = 0; at < bytes.length; at += 5 + view.getUint32(at + 1)) {
        this.batches.push(fromBinary(LogBatchSchema, bytes.subarray(at + 5, at + 5 + view.getUint32(at + 1))));
      }
    }
    return this.batches.slice(before).map(({ entries, control }) => control?.kind.case ?? entries.length);
  }

  get sequences(): number[] {
    return this.batches.flatMap(({ entries }) => entries.map(({ sequence }) => Number(sequence)));
  }
}

async function logOf(count: number, runEntriesMax = 1000): Promise<MemoryLog> {
  const log = new MemoryLog();
  log.runEntriesMax = runEntriesMax;
  if (count > 0) await log.write(...Array.from({ length: count }, (_, i) => ({ message: `m${i + 1}` })));
  return log;
}

test("a batch repeats the entries' own bytes, whatever they are", () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.uint8Array({ maxLength: 400 }))), fc.uint8Array({ maxLength: 5 }), (runs, end) => {
      const pieces = runs.map((run) => Buffer.concat(run.map((message) => frameOf(message))));
      const batch = encodeBatch(pieces);
      expect(new DataView(batch.buffer, batch.byteOffset).getUint32(1)).toBe(batch.length - 5);
      const elements: Uint8Array[] = [];
      for (let at = 5; at < batch.length;) {
        expect(batch[at++]).toBe(0x0a);
        let length = 0;
        for (let shift = 0; ; shift += 7) {
          const byte = batch[at++]!;
          length |= (byte & 0x7f) << shift;
          if (byte < 0x80) break;
        }
        elements.push(batch.subarray(at, (at += length)));
      }
      expect(elements.map((each) => [...each])).toEqual(runs.flat().map((each) => [...each]));
      expect([...encodeBatch(pieces, end)].slice(5)).toEqual([...batch.subarray(5), ...end]);
    }),
  );
});

test("is the message that protobuf makes of the same entries", () => {
  const entries = ["", "x".repeat(127), "x".repeat(16_400)].map((message) => create(LogEntrySchema, { message }));
  const pieces = entries.map((entry) => frameOf(toBinary(LogEntrySchema, entry)));
  const expected = toBinary(LogBatchSchema, create(LogBatchSchema, { entries }));
  expect(Buffer.from(encodeBatch([Buffer.concat(pieces)]).subarray(5))).toEqual(Buffer.from(expected));
});

describe("batches", () => {
  test("are cut at their number of entries, across runs, and controls are messages of their own", async () => {
    const log = await logOf(25, 4);
    log.damaged.add(13);
    const reader = new BatchReader(log, { entriesMax: 10 });
    expect(reader.pull()).toEqual([10, 2, "gap", 10, 2, "sync"]);
    expect(reader.sequences).toEqual(Array.from({ length: 25 }, (_, i) => i + 1).filter((i) => i !== 13));
  });

  test("have what is there, at once", async () => {
    const log = await logOf(0);
    const reader = new BatchReader(log, { entriesMax: 10 });
    expect(reader.pull()).toEqual(["sync"]);
    await log.write({}, {}, {});
    await settle();
    expect(reader.wakes).toBe(1);
    expect(reader.pull()).toEqual([3]);
  });

  test("are no larger than their bound, but for an entry that is", async () => {
    const log = new MemoryLog();
    log.runEntriesMax = 1;
    const large = "x".repeat(BATCH_BYTES_MAX + 5);
    await log.write({ message: "x".repeat(200_000) }, { message: "x".repeat(50_000) }, { message: large }, {}, {});
    const reader = new BatchReader(log, { entriesMax: 1000 });
    expect(reader.pull()).toEqual([2, 1, 2, "sync"]);
    expect(reader.pull(100)).toEqual([]);
  });

  test("have more than one entry also when the transport has little room", async () => {
    const reader = new BatchReader(await logOf(100, 10), { entriesMax: 1000 });
    expect(reader.pull(1)).toEqual([100, "sync"]);
  });

  test("end with the stream, after what was gathered, and at the limit", async () => {
    const reader = new BatchReader(await logOf(7), { entriesMax: 5 }, { isFollowing: false, limit: 6 });
    expect(reader.pull()).toEqual([5, 1]);
    expect(reader.ending).toBe("ended");
  });

  test("fail after what was gathered", async () => {
    const log = await logOf(7, 3);
    log.damaged.add(7);
    const reader = new BatchReader(log, { entriesMax: 100 }, { controls: undefined });
    const first = reader.source.pull(1000);
    expect(reader.ending).toBe("open");
    expect(first).toBeDefined();
    expect(reader.source.pull(1000)).toBeUndefined();
    expect(reader.ending).toMatchObject({ kind: "data-loss" });
  });

  test("are the same bytes for all who wait at the head", async () => {
    const log = await logOf(0);
    const encoder = new BatchEncoder();
    const frames = frameOf(toBinary(LogEntrySchema, create(LogEntrySchema, { message: "m" })));
    expect(encoder.encode([frames])).toBe(encoder.encode([frames]));
    expect(log.head.sequence).toBe(0);
  });
});

describe("a delay", () => {
  test("lets the first new entry wait for others, and no longer", async () => {
    const log = await logOf(2);
    const reader = new BatchReader(log, { entriesMax: 10, delayMs: 50 });
    expect(reader.pull()).toEqual([2, "sync"]);
    await log.write({});
    await settle();
    await log.write({}, {});
    await settle();
    expect(reader.wakes).toBe(0);
    reader.clock.advance(49);
    expect(reader.wakes).toBe(0);
    reader.clock.advance(1);
    expect(reader.wakes).toBe(1);
    expect(reader.pull()).toEqual([3]);
    expect(reader.clock.timers).toBe(0);
  });

  test("is over when the batch is full", async () => {
    const log = await logOf(0);
    const reader = new BatchReader(log, { entriesMax: 3, delayMs: 50 });
    expect(reader.pull()).toEqual(["sync"]);
    await log.write({}, {});
    await settle();
    expect(reader.wakes).toBe(0);
    await log.write({}, {});
    await settle();
    expect(reader.wakes).toBe(1);
    expect(reader.pull()).toEqual([3, 1]);
    expect(reader.clock.timers).toBe(0);
  });

  test("of a filter that lets little through is not over before its time", async () => {
    const log = await logOf(0);
    const reader = new BatchReader(log, { entriesMax: 3, delayMs: 50 }, { filter: endingIn("5") });
    expect(reader.pull()).toEqual(["sync"]);
    await log.write(...Array.from({ length: 20 }, (_, i) => ({ message: `m${i}` })));
    await settle();
    expect(reader.wakes).toBe(0);
    reader.clock.advance(50);
    expect(reader.pull()).toEqual([2]);
  });

  test("holds nothing that an interruption would lose, and its timer ends with the stream", async () => {
    const log = await logOf(2);
    const reader = new BatchReader(log, { entriesMax: 10, delayMs: 50 });
    reader.pull();
    await log.write({}, {});
    await settle();
    const error = reader.source.farewell(new Error("age") as never) as StreamInterrupted;
    expect(error).toBeInstanceOf(StreamInterrupted);
    const resumed = new BatchReader(log, { entriesMax: 10 }, { after: 2 });
    expect(error.facts.metadata?.["cursor"]).toBe(formatCursor("default", { epoch: 1, sequence: 2 }));
    resumed.pull();
    expect(resumed.sequences).toEqual([3, 4]);
  });
});
