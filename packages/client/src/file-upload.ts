// An upload that outlives its connections.
//
// UP1. What is sent again begins at the offset that the server says is on its disk.
// UP2. No more is under way than the server's window allows: beyond it the source is not read.
// UP3. Each chunk goes with its CRC-32, and the commit with the SHA-256 of what was read here, all of it: what is put into
//      place is what the source has. Whoever goes on with an upload reads what was sent before, to know its SHA-256.
import { createHash, type Hash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FileInfo, FileService, UploadFileRequestSchema, UploadFileResponse } from "@sluice/api";
import { type Client, Code, type Frames, RpcError } from "@sluice/rpc";
import { abortWith } from "./abort.ts";
import { encodeChunk } from "./encode-chunk.ts";
import { Retrier, type RetryPolicy } from "./retry.ts";
import { type Clock, type Random, sleep } from "./time.ts";

/** What is uploaded. It is read again, from an offset, when a connection was lost. */
export interface UploadSource {
  /** Bytes. */
  readonly size: number;
  /** The bytes from `offset` on; they are not changed afterwards. */
  read(offset: number): AsyncIterable<Uint8Array>;
}

/** How a file is uploaded. */
export interface UploadOptions {
  /** Goes on with an upload that an earlier process began; one that is not there any more begins anew. */
  readonly uploadId?: string;
  /** Called when an upload was begun: its id is what another process needs to go on with it. */
  readonly onStart?: (uploadId: string) => void;
  /** The etag that the file in its place must have. */
  readonly ifMatch?: string;
  /** There must be no file in its place. */
  readonly ifNoneMatch?: boolean;
  /** Folders above it that are missing are made. */
  readonly makeDirectories?: boolean;
  /** How long the server keeps it while nobody writes to it, ms. Default: a day. */
  readonly ttlMs?: number;
  /** Of what is sent, in bytes a second; the server holds it to that. Default: as fast as it goes. */
  readonly maxBytesPerSecond?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: UploadProgress) => void;
  /** Called when a connection was lost; the next attempt follows after `retryInMs`. */
  readonly onInterruption?: (interruption: { readonly error: unknown; readonly retryInMs: number }) => void;
  /** Default: goes on for ever, with up to 30 s between attempts. */
  readonly retry?: Partial<RetryPolicy>;
}

/** How far an upload is, in bytes. */
export interface UploadProgress {
  /** On the server's disk. */
  readonly durable: number;
  readonly total: number;
}

export interface UploadContext {
  readonly files: Pick<Client<typeof FileService>, "startUpload" | "uploadFile" | "getUpload" | "commitUpload">;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

const CHUNK_BYTES = 256 * 1024;
/** At a bounded rate chunks are smaller, so that it flows: four a second, but not below this. */
const CHUNK_BYTES_MIN = 1024;
const CHUNKS_PER_SECOND = 4;

/** Bytes that lie in memory. */
export function sourceOf(bytes: Uint8Array): UploadSource {
  return {
    size: bytes.length,
    async *read(offset) {
      yield bytes.subarray(offset);
    },
  };
}

/** Resolves with what is in its place. @throws RpcError; the signal's reason; what the source throws */
export async function uploadFile(
  path: string,
  source: UploadSource,
  { context, ...options }: UploadOptions & { readonly context: UploadContext },
): Promise<FileInfo> {
  const { clock, random, retry, closed } = context;
  const stop = new AbortController();
  const unlink = abortWith(stop, [closed, options.signal]);
  const retrier = new Retrier({ ...retry, ...options.retry }, random);
  const uploading = new Uploading(path, source, { ...options, files: context.files, signal: stop.signal });
  try {
    for (;;) {
      stop.signal.throwIfAborted();
      const before = uploading.durable;
      try {
        return await uploading.attempt();
      } catch (error) {
        stop.signal.throwIfAborted();
        if (uploading.durable > before) retrier.succeeded();
        const retryInMs = retrier.failed(error);
        options.onInterruption?.({ error, retryInMs });
        await sleep(clock, retryInMs, stop.signal);
      }
    }
  } finally {
    unlink();
    stop.abort();
  }
}

/** @param bytesPerSecond 0: no bound */
function chunkBytesAt(bytesPerSecond: number): number {
  if (bytesPerSecond === 0) return CHUNK_BYTES;
  return Math.min(CHUNK_BYTES, Math.max(CHUNK_BYTES_MIN, Math.floor(bytesPerSecond / CHUNKS_PER_SECOND)));
}

class Uploading {
  /** On the server's disk. */
  durable = 0;
  readonly #path: string;
  readonly #source: UploadSource;
  readonly #options: Omit<UploadOptions, "signal"> & Pick<UploadContext, "files"> & { readonly signal: AbortSignal };
  #id: string;
  #isCommitted = false;
  readonly #hash: Hash = createHash("sha256");
  #hashedTo = 0;
  /** Where what is sent must stop for now, UP2. */
  #sendTo = 0;
  #opened = Promise.withResolvers<void>();

  constructor(
    path: string,
    source: UploadSource,
    options: Omit<UploadOptions, "signal"> & Pick<UploadContext, "files"> & { readonly signal: AbortSignal },
  ) {
    this.#path = path;
    this.#source = source;
    this.#options = options;
    this.#id = options.uploadId ?? "";
  }

  /** From where the server stands to the commit. */
  async attempt(): Promise<FileInfo> {
    if (this.#id !== "") await this.#look();
    if (this.#id === "") await this.#start();
    if (!this.#isCommitted && this.durable < this.#source.size) await this.#send();
    return await this.#commit();
  }

  async #start(): Promise<void> {
    const {
      files,
      signal,
      onStart,
      ifMatch = "",
      ifNoneMatch = false,
      makeDirectories = false,
      ttlMs = 0,
    } = this.#options;
    const own = { filePath: this.#path, size: BigInt(this.#source.size) };
    const request = { ...own, ifMatch, ifNoneMatch, makeDirectories, ttlMs: BigInt(ttlMs) };
    const { upload } = await files.startUpload(request, { signal });
    this.#id = upload?.uploadId ?? "";
    this.durable = 0;
    onStart?.(this.#id);
  }

  /** UP1 */
  async #look(): Promise<void> {
    const { files, signal } = this.#options;
    try {
      const { upload } = await files.getUpload({ uploadId: this.#id }, { signal });
      this.durable = Number(upload?.durableOffset);
      this.#isCommitted = upload?.isCommitted ?? false;
    } catch (error) {
      if (!(error instanceof RpcError && error.code === Code.NOT_FOUND)) throw error;
      this.#id = "";
    }
  }

  async #send(): Promise<void> {
    const { files, signal, onProgress } = this.#options;
    const start = this.durable;
    this.#sendTo = start;
    this.#opened = Promise.withResolvers();
    const attempt = new AbortController();
    const unlink = abortWith(attempt, [signal]);
    try {
      for await (const { durableOffset, flow } of files.uploadFile(this.#requests(start, attempt.signal), {
        signal: attempt.signal,
      }) as AsyncIterable<UploadFileResponse>) {
        this.durable = Number(durableOffset);
        this.#sendTo = start + Number(flow?.windowBytes ?? 0n);
        this.#opened.resolve();
        this.#opened = Promise.withResolvers();
        onProgress?.({ durable: this.durable, total: this.#source.size });
      }
    } finally {
      unlink();
      attempt.abort();
    }
  }

  async *#requests(
    start: number,
    signal: AbortSignal,
  ): AsyncGenerator<MessageInitShape<typeof UploadFileRequestSchema> | Frames> {
    const { maxBytesPerSecond = 0 } = this.#options;
    yield { uploadId: this.#id, offset: BigInt(start), maxBytesPerSecond: BigInt(maxBytesPerSecond) };
    const chunkBytes = chunkBytesAt(maxBytesPerSecond);
    let offset = start;
    const ended = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    for await (const bytes of this.#source.read(start)) {
      for (let at = 0; at < bytes.length; at += chunkBytes) {
        const data = bytes.subarray(at, at + chunkBytes);
        this.#addToHash(offset, data);
        while (offset + data.length > this.#sendTo && !signal.aborted)
          await Promise.race([this.#opened.promise, ended]);
        if (signal.aborted) return;
        yield* encodeChunk(offset, data, { crc32: crc32(data) });
        offset += data.length;
      }
    }
  }

  async #commit(): Promise<FileInfo> {
    const { files, signal } = this.#options;
    for await (const bytes of this.#unhashed()) this.#addToHash(this.#hashedTo, bytes);
    const checksum = this.#hash.copy().digest("hex");
    let file: FileInfo | undefined;
    for await (const answer of files.commitUpload({ uploadId: this.#id, checksum }, { signal })) file = answer.file;
    if (file !== undefined && file.checksum === checksum) return file;
    throw new RpcError(Code.ABORTED, `"${this.#path}" was put into place, and is another file by now`);
  }

  /** UP3: what another process has sent. */
  async *#unhashed(): AsyncGenerator<Uint8Array> {
    if (this.#hashedTo < this.#source.size) yield* this.#source.read(this.#hashedTo);
  }

  /** What was hashed already is left out; what would leave a hole waits for the commit. */
  #addToHash(offset: number, bytes: Uint8Array): void {
    if (offset > this.#hashedTo || offset + bytes.length <= this.#hashedTo) return;
    this.#hash.update(bytes.subarray(this.#hashedTo - offset));
    this.#hashedTo = offset + bytes.length;
  }
}
