import { crc32 } from "node:zlib";
import { create, fromBinary } from "@bufbuild/protobuf";
import { type LogEntry, LogEntrySchema } from "@sluice/api";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import type { Batch } from "../store/contract.ts";
import { parseCursor } from "../stream/cursor.ts";
import { EntryScanner } from "./entry-scan.ts";
import { entryFrameCodec } from "./frame-codec.ts";
import { severityOfLevel } from "./severity.ts";
import { BatchStamp, type StampOptions } from "./stamp.ts";
import { encodeEntry, producerEntry } from "./testing/arbitrary-entries.ts";

const RECEIVED = 1_765_432_109_876_543_210n;

interface StampedEntry {
  readonly entry: LogEntry;
  readonly label?: number;
  readonly producerSequence?: number;
  readonly observed?: readonly [low: number, high: number];
}

function stamp(entries: readonly StampedEntry[], options: Partial<StampOptions> = {}): Batch {
  const batch = new BatchStamp({
    log: "default",
    epoch: 3,
    first: 1,
    receivedNs: RECEIVED,
    producer: "",
    countMax: entries.length,
    bytesHint: 0,
    ...options,
  });
  const scanned = new EntryScanner(DEFAULT_LIMITS);
  for (const { entry, label = 0, producerSequence = 0, observed } of entries) {
    const bytes = encodeEntry(entry);
    expect(scanned.scan(bytes, 0, bytes.length)).toBe(true);
    batch.observe(observed?.[0] ?? 0, observed?.[1] ?? 0);
    batch.add(bytes, 0, bytes.length, { scanned, label, producerSequence });
  }
  return batch.finish(entries.at(-1)?.producerSequence ?? 0);
}

function messageOf(batch: Batch, i: number): Uint8Array {
  const start = batch.offsets[i]!;
  return Uint8Array.from(batch.bytes.subarray(start + 5, start + batch.lengths[i]!));
}

describe("a stamped entry", () => {
  test("is the producer's entry with the server's fields, in a frame that proves itself", () => {
    const firsts = fc.integer({ min: 1, max: 2 ** 48 - 100 });
    fc.assert(
      fc.property(
        fc.array(producerEntry, { minLength: 1, maxLength: 5 }),
        firsts,
        fc.boolean(),
        (entries, first, isProducer) => {
          const rows = entries.map((entry, i) => ({
            entry,
            label: i + 7,
            producerSequence: isProducer ? 2 ** 40 + i : 0,
          }));
          const batch = stamp(rows, { first, producer: isProducer ? "prodücer" : "" });
          expect(batch.count).toBe(entries.length);
          for (const [i, sent] of entries.entries()) {
            const message = messageOf(batch, i);
            const stored = fromBinary(LogEntrySchema, message);
            expect(stored).toEqual(
              create(LogEntrySchema, {
                ...sent,
                timestamp: sent.timestamp === 0n ? RECEIVED : sent.timestamp,
                severityNumber: sent.severityNumber || severityOfLevel(sent.level),
                sequence: BigInt(first + i),
                cursor: stored.cursor,
                observedTimestamp: RECEIVED,
                producer: isProducer ? "prodücer" : "",
                producerSequence: isProducer ? BigInt(2 ** 40 + i) : 0n,
                checksum: crc32(message.subarray(0, -5)),
              }),
            );
            expect(parseCursor("default", stored.cursor, "")).toEqual({ epoch: 3, sequence: first + i });
            expect([batch.timestamps[i], batch.severities[i], batch.labels[i]]).toEqual([
              stored.timestamp,
              stored.severityNumber,
              i + 7,
            ]);
            expect(
              entryFrameCodec.describe(batch.bytes, batch.offsets[i]!, batch.offsets[i]! + batch.lengths[i]!),
            ).toEqual({
              epoch: 3,
              sequence: first + i,
              timestamp: stored.timestamp,
              severity: stored.severityNumber,
              label: sent.application,
              producer: stored.producer,
              producerSequence: Number(stored.producerSequence),
            });
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("begins with the producer's bytes as they came", () => {
    fc.assert(
      fc.property(producerEntry, (entry) => {
        const sent = encodeEntry(entry);
        expect(Buffer.from(messageOf(stamp([{ entry }]), 0).subarray(0, sent.length))).toEqual(Buffer.from(sent));
      }),
    );
  });

  test("frames lie one after the other, from the first byte to the last", () => {
    const entry = create(LogEntrySchema, { message: "m".repeat(100) });
    const batch = stamp(Array.from({ length: 50 }, () => ({ entry })));
    let at = 0;
    for (let i = 0; i < batch.count; i++) {
      expect(batch.offsets[i]).toBe(at);
      expect(Buffer.from(batch.bytes).readUInt32BE(at + 1)).toBe(batch.lengths[i]! - 5);
      at += batch.lengths[i]!;
    }
    expect(batch.bytes.length).toBe(at);
  });

  test("keeps the observed time that its source knows, and takes it for a missing event time", () => {
    const observed: [number, number] = [0x1234_5678, 0x1800_0000];
    const batch = stamp([{ entry: create(LogEntrySchema), observed }, { entry: create(LogEntrySchema) }]);
    const stored = [0, 1].map((i) => fromBinary(LogEntrySchema, messageOf(batch, i)));
    expect(stored.map((entry) => entry.observedTimestamp)).toEqual([0x1800_0000_1234_5678n, RECEIVED]);
    expect(stored.map((entry) => entry.timestamp)).toEqual([0x1800_0000_1234_5678n, RECEIVED]);
  });

  test("the batch says whose it is and how far the producer was answered", () => {
    const entry = create(LogEntrySchema);
    expect(stamp([{ entry, producerSequence: 8 }], { producer: "p" }).producer).toEqual({ id: "p", lastSequence: 8 });
    expect(stamp([{ entry }]).producer).toBeUndefined();
  });
});

describe("reading a frame back", () => {
  const batch = stamp([{ entry: create(LogEntrySchema, { message: "hello", application: "a", level: "WARN" }) }]);
  const frame = Uint8Array.from(batch.bytes);

  test("no changed bit passes", () => {
    for (let at = 0; at < frame.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = frame.slice();
        changed[at]! ^= 1 << bit;
        expect(entryFrameCodec.describe(changed, 0, changed.length), `byte ${at}, bit ${bit}`).toBeUndefined();
      }
    }
  });

  test("no cut or lengthened frame passes, and never throws", () => {
    for (let end = 0; end < frame.length; end++) expect(entryFrameCodec.describe(frame, 0, end)).toBeUndefined();
    expect(entryFrameCodec.describe(Buffer.concat([frame, Buffer.alloc(1)]), 0, frame.length + 1)).toBeUndefined();
    expect(entryFrameCodec.describe(frame, 0, frame.length)).toMatchObject({ sequence: 1, label: "a", severity: 13 });
  });

  test("a checksum that is not the last field is no proof", () => {
    const moved = Buffer.concat([frame, Uint8Array.of(0x20, 0x01)]);
    moved.writeUInt32BE(moved.length - 5, 1);
    expect(entryFrameCodec.describe(moved, 0, moved.length)).toBeUndefined();
  });

  test("a message with a right checksum that no server has stamped is none", () => {
    const message = Uint8Array.of(0x08, 0x01);
    const forged = Buffer.alloc(5 + message.length + 5);
    forged.writeUInt32BE(message.length + 5, 1);
    forged.set(message, 5);
    forged[7] = 0x7d;
    forged.writeUInt32LE(crc32(message), 8);
    expect(entryFrameCodec.describe(forged, 0, forged.length)).toBeUndefined();
  });

  test("a frame somewhere in a segment is found where it is", () => {
    const segment = Buffer.concat([frame, frame, frame]);
    expect(entryFrameCodec.describe(segment, frame.length, 2 * frame.length)).toMatchObject({ epoch: 3, sequence: 1 });
  });
});
