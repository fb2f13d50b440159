import { crc32 } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ByteStreamReadResponseSchema, FileChunkSchema } from "@sluice/api";
import fc from "fast-check";
import { expect, test } from "vitest";
import { BYTES_FORM, chunkFormOf, chunkOverheadMax, layOutChunk, putChecksum, putCrc32 } from "./chunk-frame.ts";

const SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

test("a frame is the message that protobuf-es reads, whatever its fields are", () => {
  const chunk = fc.record({
    path: fc.string({ unit: "grapheme", maxLength: 200 }),
    etag: fc.string({ maxLength: 22 }),
    hasCrc32: fc.boolean(),
    offset: fc.maxSafeNat(),
    length: fc.nat({ max: 70_000 }),
    totalSize: fc.maxSafeNat(),
    isLast: fc.boolean(),
    isEof: fc.boolean(),
    start: fc.nat({ max: 9 }),
  });
  fc.assert(
    fc.property(chunk, ({ path, etag, hasCrc32, start, ...plan }) => {
      fc.pre(plan.offset + plan.length <= Number.MAX_SAFE_INTEGER);
      const form = chunkFormOf(path, etag, { hasCrc32 });
      const memory = new Uint8Array(start + chunkOverheadMax(form) + plan.length).fill(0xff);
      const place = layOutChunk(memory, start, form, plan);
      const data = Uint8Array.from({ length: plan.length }, (_, i) => i * 7);
      memory.set(data, place.dataStart);
      if (hasCrc32) putCrc32(memory, place);
      if (plan.isLast) putChecksum(memory, place, SHA256);

      expect(place.dataEnd - place.dataStart).toBe(plan.length);
      const header = Buffer.from(memory.buffer, start, 5);
      expect([header[0], header.readUInt32BE(1)]).toEqual([0, place.end - start - 5]);
      const read = fromBinary(FileChunkSchema, memory.subarray(start + 5, place.end));
      const wanted = create(FileChunkSchema, {
        filePath: path,
        etag,
        offset: BigInt(plan.offset),
        data,
        totalSize: BigInt(plan.totalSize),
        isLastChunk: plan.isLast,
        eof: plan.isEof,
        nextOffset: BigInt(plan.offset + plan.length),
        ...(plan.isLast ? { checksum: SHA256 } : {}),
        ...(hasCrc32 ? { chunkCrc32: crc32(data) } : {}),
      });
      expect(Buffer.from(toBinary(FileChunkSchema, read))).toEqual(Buffer.from(toBinary(FileChunkSchema, wanted)));
    }),
  );
});

test("in the other form it is a ReadResponse", () => {
  for (const length of [0, 1, 127, 128, 70_000]) {
    const memory = new Uint8Array(chunkOverheadMax(BYTES_FORM) + length).fill(0xff);
    const plan = { offset: 5, length, totalSize: 100_000, isLast: true, isEof: true };
    const place = layOutChunk(memory, 0, BYTES_FORM, plan);
    const data = Uint8Array.from({ length }, (_, i) => i * 7);
    memory.set(data, place.dataStart);
    const header = Buffer.from(memory.buffer, 0, 5);
    expect([header[0], header.readUInt32BE(1)]).toEqual([0, place.end - 5]);
    const read = fromBinary(ByteStreamReadResponseSchema, memory.subarray(5, place.end));
    expect(Buffer.from(read.data)).toEqual(Buffer.from(data));
  }
});
