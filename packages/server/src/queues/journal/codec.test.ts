// Records as they lie on disk: what protobuf-es writes and reads, byte for byte, by hand.
import { crc32 } from "node:zlib";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { JobSchema, JournalRecordSchema } from "@sluice/api";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { NewRecord } from "../contract.ts";
import { CHECKSUM_BYTES, FRAME_HEADER_BYTES } from "../../journal/layout.ts";
import { RecordBatch } from "../../journal/record-batch.ts";
import { findJob, QueueRecordReader } from "./decode.ts";
import { KindEncoder } from "./encode.ts";
import { queueFrameCodec } from "./queue-journal.ts";
import { arbitraryAdded, arbitraryRecord, stored } from "./testing/arbitrary-records.ts";

const EPOCH = 3;
const FIRST = 2 ** 31;

function frameOf(record: NewRecord, jobBytes?: Uint8Array): Buffer {
  const batch = new RecordBatch(new KindEncoder());
  batch.begin(FIRST, EPOCH);
  batch.add(record, Number.POSITIVE_INFINITY, jobBytes);
  return Buffer.from(batch.frame(FIRST));
}

describe("a record", () => {
  test("is stored as protobuf-es writes it, then its checksum", () => {
    fc.assert(
      fc.property(arbitraryRecord, (record) => {
        const frame = frameOf(record);
        const message = frame.subarray(FRAME_HEADER_BYTES);
        const proven = message.subarray(0, -CHECKSUM_BYTES);
        expect(proven).toEqual(Buffer.from(toBinary(JournalRecordSchema, stored(record, FIRST, EPOCH))));
        expect(frame[0]).toBe(0);
        expect(frame.readUInt32BE(1)).toBe(message.length);
        expect(fromBinary(JournalRecordSchema, message).checksum).toBe(crc32(proven));
      }),
      { numRuns: 500 },
    );
  });

  test("is read as protobuf-es reads it, without body and headers", () => {
    const reader = new QueueRecordReader();
    fc.assert(
      fc.property(arbitraryRecord, (record) => {
        const frame = frameOf(record);
        const expected = fromBinary(JournalRecordSchema, frame.subarray(FRAME_HEADER_BYTES));
        if (expected.kind.case === "added" && expected.kind.value.job !== undefined) {
          expected.kind.value.job.body = new Uint8Array(0);
          expected.kind.value.job.headers = {};
        }
        const found = reader.read(frame, FRAME_HEADER_BYTES, frame.length);
        expect(toBinary(JournalRecordSchema, found)).toEqual(toBinary(JournalRecordSchema, expected));
        expect(found.kind.case).toBe(expected.kind.case);
      }),
      { numRuns: 500 },
    );
  });

  test("says where its job lies, which can be stored again without being read", () => {
    const reader = new QueueRecordReader();
    fc.assert(
      fc.property(arbitraryAdded, (record) => {
        if (record.kind?.case !== "added" || record.kind.value.job === undefined) return;
        const frame = frameOf(record);
        const job = findJob(frame);
        const { kind } = fromBinary(JournalRecordSchema, frame.subarray(FRAME_HEADER_BYTES));
        expect(kind).toMatchObject({ case: "added", value: { job: fromBinary(JobSchema, job!) } });
        reader.read(frame, FRAME_HEADER_BYTES, frame.length);
        expect(frame.subarray(reader.bodyStart, reader.bodyEnd)).toEqual(job);
        const again = { kind: { case: "added", value: { ...record.kind.value, job: {} } } } as NewRecord;
        expect(frameOf(again, job)).toEqual(frame);
      }),
      { numRuns: 300 },
    );
  });

  test("that is no job's has no job", () => {
    expect(findJob(frameOf({ kind: { case: "ended", value: { numbers: [7n], kind: 1 } } }))).toBeUndefined();
    expect(findJob(frameOf({ kind: { case: "added", value: { number: 7n } } }))).toBeUndefined();
    expect(findJob(new Uint8Array(0))).toBeUndefined();
  });

  test("without a kind is refused, and changes nothing", () => {
    const batch = new RecordBatch(new KindEncoder());
    batch.begin(1, 1);
    expect(() => batch.add({}, 1000)).toThrow("it is of no kind");
    expect(batch.count).toBe(0);
    expect(batch.bytes).toBe(0);
  });

  test("that is too large is not added", () => {
    const batch = new RecordBatch(new KindEncoder());
    batch.begin(1, 1);
    const record = { kind: { case: "added" as const, value: { number: 1n, job: { body: new Uint8Array(1000) } } } };
    expect(batch.add(record, 1000)).toBe(0);
    expect(batch.count).toBe(0);
    expect(batch.add(record, 1100)).toBeGreaterThan(1000);
    expect(batch.count).toBe(1);
  });
});

describe("a stored frame", () => {
  test("proves itself, and says where it belongs", () => {
    fc.assert(
      fc.property(arbitraryRecord, (record) => {
        const frame = frameOf(record);
        const place = queueFrameCodec.describe(Buffer.concat([Buffer.alloc(9), frame]), 9, 9 + frame.length);
        expect(place).toMatchObject({ sequence: FIRST, epoch: EPOCH, severity: 0, label: "", producer: "" });
      }),
      { numRuns: 200 },
    );
  });

  test("proves nothing when any bit of it is another", () => {
    fc.assert(
      fc.property(arbitraryRecord, fc.nat(), (record, bit) => {
        const frame = frameOf(record);
        frame[Math.floor(bit / 8) % frame.length]! ^= 1 << (bit % 8);
        expect(queueFrameCodec.describe(frame, 0, frame.length)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  test("proves nothing when its end is missing, or it has other fields", () => {
    const frame = frameOf({ kind: { case: "returned", value: { number: 5n } } });
    for (let end = 0; end < frame.length; end++) expect(queueFrameCodec.describe(frame, 0, end)).toBeUndefined();
    for (const fields of [
      [],
      [104, 1],
      [10, 0, 104, 1],
      [10, 0, 104, 0, 112, 1],
      [10, 0, 112, 1, 104, 1],
      [82, 0, 104, 1, 112, 1],
      [10, 0, 104, 1, 112, 1, 112, 1],
    ]) {
      expect(queueFrameCodec.describe(proven(fields), 0, proven(fields).length), fields.join()).toBeUndefined();
    }
    const good = proven([10, 0, 104, 1, 112, 1]);
    expect(queueFrameCodec.describe(good, 0, good.length)).toMatchObject({ sequence: 1, epoch: 1 });
  });
});

/** A frame of these bytes with the checksum that belongs to them. */
function proven(fields: readonly number[]): Buffer {
  const frame = Buffer.alloc(5 + fields.length + 5);
  frame.writeUInt32BE(fields.length + 5, 1);
  frame.set(fields, 5);
  frame[5 + fields.length] = 125;
  frame.writeUInt32LE(crc32(Buffer.from(fields)), 6 + fields.length);
  return frame;
}
