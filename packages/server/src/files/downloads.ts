// Downloads: how many run, and how one begins.
import type { FileRequest } from "@sluice/api";
import { Draining, type FieldViolation, InvalidRequest, LimitExceeded } from "../errors.ts";
import { Download, type DownloadOptions, type DownloadResources } from "./download.ts";
import { EtagMismatch, OffsetOutOfRange } from "./file-errors.ts";
import type { FilePath } from "./file-path.ts";
import { etagOf } from "./file-version.ts";
import { type Opener, SMALL_BYTES } from "./opener.ts";

const DEFAULT_CHUNK_BYTES = 256 * 1024;
const CHUNK_BYTES_MAX = 1024 * 1024;
/** A download at a bounded rate gets smaller chunks, so that it flows: four a second, but not below this. */
const CHUNK_BYTES_MIN = 1024;
const CHUNKS_PER_SECOND = 4;

/** Counts what runs, whatever protocol it came by. */
export class DownloadCount {
  readonly #max: number;
  #count = 0;
  #isDraining = false;

  constructor(max: number) {
    this.#max = max;
  }

  get count(): number {
    return this.#count;
  }

  /** Counts one. Returns what counts it off again. @throws Draining, LimitExceeded */
  admit(): () => void {
    if (this.#isDraining) throw new Draining();
    if (this.#count >= this.#max) {
      const message = `Cannot open another download: the limit is ${this.#max} at the same time; try again later`;
      throw new LimitExceeded(message, "downloads", { retryAfterMs: 1_000 });
    }
    this.#count++;
    return () => {
      this.#count--;
    };
  }

  /** Admits no more. */
  drain(): void {
    this.#isDraining = true;
  }
}

/** A request, checked as far as it can be without the file. @throws InvalidRequest */
export function parseDownload(
  request: FileRequest,
  path: FilePath,
  message: DownloadOptions["message"] = "chunk",
): DownloadOptions {
  const { chunkSize, offset, limit, maxBytesPerSecond, chunkChecksums, follow } = request;
  const violations: FieldViolation[] = [];
  if (offset < 0n) violations.push({ field: "offset", description: `${offset} is negative` });
  if (maxBytesPerSecond < 0n) {
    violations.push({ field: "max_bytes_per_second", description: `${maxBytesPerSecond} is negative; 0 is no bound` });
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_FIELD", violations);
  const bytesPerSecond = maxBytesPerSecond === 0n ? undefined : Number(maxBytesPerSecond);
  const wanted = chunkSize <= 0 ? DEFAULT_CHUNK_BYTES : Math.min(chunkSize, CHUNK_BYTES_MAX);
  return {
    path,
    chunkBytes: Math.min(wanted, fluentBytes(bytesPerSecond ?? Number.POSITIVE_INFINITY)),
    offset: Number(offset),
    limit: limit <= 0n ? Number.POSITIVE_INFINITY : Number(limit),
    hasCrc32: chunkChecksums,
    bytesPerSecond,
    isFollowing: follow,
    message,
  };
}

/** The largest chunk that flows at this rate. */
function fluentBytes(bytesPerSecond: number): number {
  return Math.max(CHUNK_BYTES_MIN, Math.floor(bytesPerSecond / CHUNKS_PER_SECOND));
}

/** @param of `address`: of who reads @throws PermissionDenied, InvalidRequest, EtagMismatch, OffsetOutOfRange */
export async function openDownload(
  request: FileRequest,
  options: DownloadOptions,
  { resources, opener, address }: { resources: DownloadResources; opener: Pick<Opener, "openFile">; address: string },
): Promise<Download> {
  const { path, isFollowing } = options;
  const { turns } = resources;
  const file = await opener.openFile(path, { contentsMax: isFollowing ? -1 : SMALL_BYTES });
  try {
    const etag = etagOf(file.version);
    const { size } = file.version;
    if (request.ifMatch !== "" && request.ifMatch !== etag) throw new EtagMismatch(path.text, request.ifMatch, etag);
    if (request.offset > BigInt(size)) throw new OffsetOutOfRange(path.text, request.offset, size);
    const chunkBytes = Math.min(options.chunkBytes, fluentBytes(turns.bytesPerSecond));
    return new Download(file, { ...options, chunkBytes }, resources, turns.join(address));
  } catch (error) {
    await file.close();
    throw error;
  }
}
