// A download that outlives its connections.
//
// FD1. All attempts read one version: the second and every later one name the etag of the first. When the file changed
//      meanwhile the iteration throws (ABORTED), it never mixes two versions.
// FD2. What is handed out was checked: each chunk by its CRC-32, and all that one attempt brought by its SHA-256 at the
//      end. A chunk that is wrong is asked for again, as after a lost connection.
// FD3. When the reader leaves, by `return` or by its signal, the attempt goes in that turn.
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FileChunk, FileRequestSchema } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { type ConnectionEvent, reading, reconnecting } from "./reconnect.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Clock, Random } from "./time.ts";

/** What is read, and how. All sizes and offsets in bytes. */
export interface DownloadOptions {
  /** Where to begin. Default: 0. */
  readonly offset?: number;
  /** How many bytes, at most. Absent: to the end. */
  readonly limit?: number;
  /** The version that the file must have. */
  readonly ifMatch?: string;
  /** Absent: as fast as it goes. */
  readonly maxBytesPerSecond?: number;
  /** At the end, wait for more, as `tail -f` does. */
  readonly follow?: boolean;
  /** Bytes of a chunk, at most 1 MiB. Default: 256 KiB. */
  readonly chunkBytes?: number;
  /** Ends the download: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called for each chunk, before it is handed out. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Default: goes on for ever, with up to 30 s between attempts. */
  readonly retry?: Partial<RetryPolicy>;
  /** Called when a connection was lost; the next attempt follows after `retryInMs`. */
  readonly onInterruption?: (interruption: { readonly error: unknown; readonly retryInMs: number }) => void;
}

/** How far a download is. */
export interface DownloadProgress {
  /** Bytes handed out so far. */
  readonly bytesDone: number;
  /** Bytes in all; with `follow`, as far as the file goes now. */
  readonly bytesTotal: number;
}

/** The one call that a download needs. */
export interface DownloadFileCall {
  (
    request: MessageInitShape<typeof FileRequestSchema>,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<FileChunk>;
}

interface DownloadContext {
  readonly call: DownloadFileCall;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

type Delivery = { readonly kind: "bytes"; readonly bytes: Uint8Array } | ConnectionEvent;

/** The bytes of a file, or of a part of it, in order. Iterated once: itself, or by `readable()`. */
export class FileDownload implements AsyncIterable<Uint8Array> {
  readonly #path: string;
  readonly #context: DownloadContext;
  readonly #options: DownloadOptions;
  readonly #start: number;
  #next: number;
  #etag: string;
  #size: number | undefined;
  #isTaken = false;
  #isComplete = false;

  constructor(path: string, context: DownloadContext, options: DownloadOptions) {
    this.#path = path;
    this.#context = context;
    this.#options = options;
    this.#start = options.offset ?? 0;
    this.#next = this.#start;
    this.#etag = options.ifMatch ?? "";
  }

  /** Names the version; empty until the first chunk. */
  get etag(): string {
    return this.#etag;
  }

  /** Size of the file; undefined until the first chunk. */
  get size(): number | undefined {
    return this.#size;
  }

  /** Everything before it was handed out: where another download may go on. */
  get nextOffset(): number {
    return this.#next;
  }

  /** @throws RpcError; the signal's reason */
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    if (this.#isTaken) throw new Error("Cannot read a download twice: open another one");
    this.#isTaken = true;
    return reading(this.#deliveries(), (deliveries) => this.#bytesOf(deliveries)); // FD3
  }

  /** The same as a web stream; cancelling it ends the download. */
  readable(): ReadableStream<Uint8Array> {
    return ReadableStream.from(this);
  }

  /** Attempt after attempt, until all is there. */
  #deliveries(): AsyncIterableIterator<Delivery> {
    const { clock, random, retry, closed } = this.#context;
    return reconnecting<Uint8Array, Delivery>({
      attempt: (stop) => this.#attempt(stop),
      isDone: () => this.#isComplete,
      eventsOf: (bytes) => [{ kind: "bytes", bytes }],
      clock,
      random,
      retry: { ...retry, ...this.#options.retry },
      signals: [closed, this.#options.signal],
    });
  }

  async *#bytesOf(deliveries: AsyncIterable<Delivery>): AsyncGenerator<Uint8Array> {
    for await (const delivery of deliveries) {
      if (delivery.kind === "bytes") yield delivery.bytes;
      if (delivery.kind !== "disconnected") continue;
      const { error, retryInMs } = delivery;
      this.#options.onInterruption?.({ error, retryInMs });
    }
  }

  /** One call, from where the download stands. */
  async *#attempt(stop: AbortSignal): AsyncGenerator<Uint8Array> {
    const hash = createHash("sha256");
    for await (const chunk of this.#context.call(this.#request(), { signal: stop })) {
      stop.throwIfAborted();
      this.#verify(chunk);
      hash.update(chunk.data);
      if (chunk.isLastChunk && chunk.checksum !== hash.digest("hex")) throw damaged(this.#path, "the SHA-256");
      this.#isComplete = chunk.isLastChunk;
      this.#etag = chunk.etag;
      this.#size = Number(chunk.totalSize);
      this.#next += chunk.data.length;
      this.#options.onProgress?.({ bytesDone: this.#next - this.#start, bytesTotal: this.#total });
      if (chunk.data.length > 0) yield chunk.data;
    }
    if (!this.#isComplete)
      throw new RpcError(Code.UNAVAILABLE, `The download of "${this.#path}" ended without its last chunk`);
  }

  /** FD2 */
  #verify({ offset, data, chunkCrc32 }: FileChunk): void {
    if (Number(offset) !== this.#next) throw damaged(this.#path, `the place (${offset}, not ${this.#next})`);
    if (chunkCrc32 !== undefined && crc32(data) !== chunkCrc32) throw damaged(this.#path, "the CRC-32");
  }

  get #total(): number {
    const { limit = Number.POSITIVE_INFINITY } = this.#options;
    return Math.min(limit, (this.#size ?? 0) - this.#start);
  }

  #request(): MessageInitShape<typeof FileRequestSchema> {
    const { limit, maxBytesPerSecond = 0, follow = false, chunkBytes = 0 } = this.#options;
    return {
      filePath: this.#path,
      offset: BigInt(this.#next),
      limit: limit === undefined ? 0n : BigInt(limit - (this.#next - this.#start)),
      ifMatch: this.#etag,
      maxBytesPerSecond: BigInt(maxBytesPerSecond),
      chunkChecksums: true,
      chunkSize: chunkBytes,
      follow,
    };
  }
}

/** UNAVAILABLE: the same bytes, asked for again, may well arrive as they are. */
function damaged(path: string, what: string): RpcError {
  return new RpcError(Code.UNAVAILABLE, `A chunk of "${path}" arrived damaged: ${what} is wrong`);
}
