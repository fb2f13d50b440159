import { fromBinary } from "@bufbuild/protobuf";
import { UploadFileRequestSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeChunk } from "./encode-chunk.ts";

test("is the message that protobuf-es reads, whatever place, length and checksum are", () => {
  const place = fc.oneof(fc.nat(300), fc.maxSafeNat());
  const bytes = fc.uint8Array({ maxLength: 20_000 });
  fc.assert(
    fc.property(place, bytes, fc.nat(0xffff_ffff), (offset, data, crc32) => {
      const pieces = encodeChunk(offset, data, { crc32 }).map(({ bytes: piece }) => piece);
      const frame = Buffer.concat(pieces);
      expect(frame[0]).toBe(0);
      expect(frame.readUInt32BE(1)).toBe(frame.length - FRAME_HEADER_BYTES);
      const chunk = fromBinary(UploadFileRequestSchema, frame.subarray(FRAME_HEADER_BYTES));
      expect([Number(chunk.offset), chunk.chunkCrc32, chunk.uploadId]).toEqual([offset, crc32, ""]);
      expect(Buffer.from(chunk.data).equals(data)).toBe(true);
      expect(chunk.$unknown).toBeUndefined();
      expect(pieces.at(-1)).toBe(data);
    }),
    { numRuns: 300 },
  );
});
