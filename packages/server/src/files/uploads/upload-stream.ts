// UploadFile: a stream of chunks in, a stream of durable offsets out.
//
// UF1. A chunk is looked at before anything of it is taken: its checksum, and that it begins where the bytes so far end, or
//      before: then what was received already is left out.
// UF2. However the call ends, what was received before is written, and the upload is free for the next call.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { crc32 } from "node:zlib";
import type { UploadFileRequest, UploadFileResponseSchema } from "@sluice/api";
import type { Call } from "@sluice/rpc";
import { InvalidRequest, SluiceError } from "../../errors.ts";
import type { Clock, Timer } from "../../store/contract.ts";
import { ChecksumMismatch, UploadStalled } from "../file-errors.ts";
import { BLOCK_BYTES, ReceivedBytes } from "./received-bytes.ts";
import type { Upload } from "./upload.ts";

export interface UploadStreamOptions {
  /** Finds an upload by the id of the first message, when the caller may write to it. */
  readonly find: (id: string) => Upload;
  readonly touch: (upload: Upload) => void;
  readonly clock: Clock;
  /** How long it may stand still. */
  readonly stallMs: number;
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
  const upload = options.find(first.value.uploadId);
  const release = upload.use("another call is writing to it");
  const receiving = new Receiving(upload, { ...options, incoming });
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
      chunks = receiving.chunks;
      const flow = { seen: BigInt(chunks), window: 0xffff_ffff, windowBytes: BigInt(told - start + 2 * BLOCK_BYTES) };
      yield { durableOffset: BigInt(told), flow };
    }
    await received;
  } finally {
    receiving.stop(new DOMException("The call has ended", "AbortError"));
    await receiving.ended;
    release();
  }
}

/** The half that takes. */
class Receiving {
  /** Chunks taken so far. */
  chunks = 0;
  isOver = false;
  readonly ended: Promise<void>;
  readonly #upload: Upload;
  readonly #options: Pick<UploadStreamOptions, "clock" | "stallMs" | "touch">;
  readonly #incoming: AsyncIterator<UploadFileRequest>;
  readonly #stopped = Promise.withResolvers<never>();
  readonly #bytes: ReceivedBytes;
  readonly #setEnded: () => void;
  #change = Promise.withResolvers<void>();
  #end: number;

  constructor(
    upload: Upload,
    options: Pick<UploadStreamOptions, "clock" | "stallMs" | "touch"> & {
      readonly incoming: AsyncIterator<UploadFileRequest>;
    },
  ) {
    this.#upload = upload;
    this.#options = options;
    this.#incoming = options.incoming;
    this.#end = upload.durableOffset;
    this.#bytes = new ReceivedBytes(upload, () => {
      options.touch(upload);
      this.#tell();
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#setEnded = resolve;
    this.#stopped.promise.catch(() => {});
  }

  /** Resolves when there is something new to say. */
  changed(): Promise<void> {
    return this.#change.promise;
  }

  /** Takes no more. */
  stop(reason: Error): void {
    this.#stopped.reject(reason);
  }

  /** Takes all chunks. Resolves when the last one is durable. */
  async run(first: UploadFileRequest): Promise<void> {
    try {
      for (let request: UploadFileRequest | undefined = first; request !== undefined; request = await this.#next()) {
        const data = this.#check(request);
        this.#end += data.length;
        this.chunks++;
        await this.#bytes.add(data);
      }
    } finally {
      // UF2
      await this.#bytes.flush().finally(() => {
        this.isOver = true;
        this.#setEnded();
        this.#tell();
      });
    }
  }

  async #next(): Promise<UploadFileRequest | undefined> {
    const { clock, stallMs } = this.#options;
    const timer: Timer = clock.setTimer(() => {
      const { path } = this.#upload.state;
      this.stop(new UploadStalled(path, { offset: this.#upload.durableOffset, afterMs: stallMs }));
    }, stallMs);
    try {
      const next = await Promise.race([this.#incoming.next(), this.#stopped.promise]);
      return next.done === true ? undefined : next.value;
    } finally {
      timer.cancel();
    }
  }

  /** UF1. What is new of a chunk. */
  #check({ uploadId, offset, data, chunkCrc32 }: UploadFileRequest): Uint8Array {
    const { path, id, size } = this.#upload.state;
    if (uploadId !== "" && uploadId !== id) {
      throw new InvalidRequest("BAD_FIELD", [{ field: "upload_id", description: "must not change in a stream" }]);
    }
    const at = Number(offset);
    if (offset < 0n || at > this.#end) {
      const message = `Cannot take a chunk of "${path}" at ${offset}: the bytes so far end at ${this.#end}; go on there`;
      throw new SluiceError("out-of-range", message, {
        reason: "OFFSET_OUT_OF_RANGE",
        metadata: { offset: String(this.#end) },
      });
    }
    if (size !== undefined && at + data.length > size) {
      const description = `the chunk ends at ${at + data.length}, behind the ${size} bytes that the upload was started with`;
      throw new InvalidRequest("UPLOAD_TOO_LONG", [{ field: "data", description }]);
    }
    const actual = chunkCrc32 === undefined ? undefined : crc32(data);
    if (actual !== undefined && actual !== chunkCrc32) {
      throw new ChecksumMismatch(`a chunk of "${path}" at ${at}`, { expected: hex(chunkCrc32!), actual: hex(actual) });
    }
    return data.subarray(Math.min(data.length, this.#end - at));
  }

  #tell(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, "0");
}
