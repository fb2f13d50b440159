// UploadFile: a stream of chunks in, a stream of durable offsets out.
//
// UF1. A chunk is looked at before anything of it is taken: its checksum, and that it begins where the bytes so far end, or
//      before: then what was received already is left out.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { crc32 } from "node:zlib";
import type { UploadFileRequest, UploadFileResponseSchema } from "@sluice/api";
import type { Call } from "@sluice/rpc";
import { InvalidRequest } from "../../errors.ts";
import { ChecksumMismatch, UploadOffsetOutOfRange, uploadTooLong } from "../file-errors.ts";
import { WINDOW_BYTES } from "./received-bytes.ts";
import { Receiving, type ReceivingSurroundings } from "./receiving.ts";
import type { Throttle } from "./throttle.ts";
import type { Upload } from "./upload.ts";

export interface UploadStreamOptions extends Omit<ReceivingSurroundings, "throttle"> {
  /** Finds an upload by the id of the first message, when the caller may write to it. */
  readonly find: (id: string) => Upload;
  /** undefined: as fast as it goes. */
  readonly openThrottle: (bytesPerSecond: number | undefined) => Throttle;
}

/** @throws what is wrong with a chunk; NoSpaceForUpload, UploadInUse, UploadStalled, NotFound */
export async function* uploadFile(
  requests: AsyncIterable<UploadFileRequest>,
  call: Call,
  options: UploadStreamOptions,
): AsyncGenerator<MessageInitShape<typeof UploadFileResponseSchema>> {
  const incoming = requests[Symbol.asyncIterator]();
  const first = await incoming.next();
  if (first.done === true) {
    throw new InvalidRequest("EMPTY_STREAM", [{ field: "upload_id", description: "the first message must have it" }]);
  }
  const bytesPerSecond = parseRate(first.value.maxBytesPerSecond);
  const upload = options.find(first.value.uploadId);
  const release = upload.use("another call is writing to it");
  const receiving = new Receiving<UploadFileRequest>(upload, {
    ...options,
    incoming,
    throttle: options.openThrottle(bytesPerSecond),
    bytesOf: (chunk, end) => bytesOf(upload, chunk, end),
  });
  call.onEnd(() => {
    receiving.stop(new DOMException("The call has ended", "AbortError"));
  });
  try {
    const received = receiving.run(first.value);
    received.catch(() => {});
    const start = upload.durableOffset;
    for (let told = -1, chunks = 0; told !== upload.durableOffset || !receiving.isOver;) {
      if (told === upload.durableOffset) {
        await receiving.changed();
        continue;
      }
      told = upload.durableOffset;
      chunks = receiving.taken;
      const flow = { seen: BigInt(chunks), window: 0xffff_ffff, windowBytes: BigInt(told - start + WINDOW_BYTES) };
      yield { durableOffset: BigInt(told), flow };
    }
    await received;
  } finally {
    receiving.stop(new DOMException("The call has ended", "AbortError"));
    await receiving.ended;
    release();
  }
}

/** undefined: none. @throws InvalidRequest */
function parseRate(maxBytesPerSecond: bigint): number | undefined {
  if (maxBytesPerSecond >= 0n) return maxBytesPerSecond === 0n ? undefined : Number(maxBytesPerSecond);
  const description = `${maxBytesPerSecond} is negative; 0 is no bound`;
  throw new InvalidRequest("BAD_FIELD", [{ field: "max_bytes_per_second", description }]);
}

/** UF1. What is new of a chunk; `end` is where the bytes so far end. */
function bytesOf(upload: Upload, { uploadId, offset, data, chunkCrc32 }: UploadFileRequest, end: number): Uint8Array {
  const { path, id, size } = upload.state;
  if (uploadId !== "" && uploadId !== id) {
    throw new InvalidRequest("BAD_FIELD", [{ field: "upload_id", description: "must not change in a stream" }]);
  }
  const at = Number(offset);
  if (offset < 0n || at > end) throw new UploadOffsetOutOfRange(path, offset, end);
  if (size !== undefined && at + data.length > size) throw uploadTooLong("data", at + data.length, size);
  const actual = chunkCrc32 === undefined ? undefined : crc32(data);
  if (actual !== undefined && actual !== chunkCrc32) {
    throw new ChecksumMismatch(`a chunk of "${path}" at ${at}`, { expected: hex(chunkCrc32!), actual: hex(actual) });
  }
  return data.subarray(Math.min(data.length, end - at));
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, "0");
}
