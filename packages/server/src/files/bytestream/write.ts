// ByteStream.Write and QueryWriteStatus: uploads whose names are their clients' own.
//
// BW1. A name leads to one upload, before and after a restart: its id is made of the name.
// BW2. Bytes must come exactly behind those that are kept, as the specification wants it.
// BW3. What is complete is answered at once, whatever else the client would send.
// BW4. A blob whose bytes have another SHA-256 can never be mended, so its upload ends there: the name may be begun anew.
import { setImmediate as turn } from "node:timers/promises";
import type { ByteStreamWriteRequest } from "@sluice/api";
import type { Call } from "@sluice/rpc";
import { DataLoss, InvalidRequest, NotFound } from "../../errors.ts";
import { ChecksumMismatch, UploadOffsetOutOfRange, uploadTooLong } from "../file-errors.ts";
import type { Changes } from "../change.ts";
import type { Checksums } from "../checksums.ts";
import { subjectOf } from "../../security/authorize.ts";
import type { Turns } from "../turns.ts";
import type { FilePath } from "../file-path.ts";
import { commitUpload } from "../uploads/commit.ts";
import { Receiving, type ReceivingSurroundings } from "../uploads/receiving.ts";
import { Throttle } from "../uploads/throttle.ts";
import { uploadIdOf } from "../uploads/upload-state.ts";
import type { Upload } from "../uploads/upload.ts";
import { DEFAULT_TTL_MS, type Uploads } from "../uploads/uploads.ts";
import { findBlob } from "./blobs.ts";
import type { BlobName } from "./resource-name.ts";

/** What a name to write leads to, when the caller may write there. */
export interface WriteTarget {
  readonly resourceName: string;
  readonly path: FilePath;
  /** undefined: a file. */
  readonly blob: BlobName | undefined;
}

export interface WriteOptions extends Omit<ReceivingSurroundings, "touch" | "throttle"> {
  readonly uploads: Uploads;
  readonly changes: Changes;
  readonly checksums: Checksums;
  /** Of what arrives for uploads. */
  readonly turns: Turns;
}

export interface WriteStatus {
  readonly committedSize: bigint;
  readonly complete: boolean;
}

/** Takes requests until the client ends them or finishes the resource. Returns the bytes that are kept. */
export async function write(
  requests: AsyncIterable<ByteStreamWriteRequest>,
  call: Call,
  options: WriteOptions & { readonly targetOf: (resourceName: string) => WriteTarget },
): Promise<bigint> {
  const incoming = requests[Symbol.asyncIterator]();
  const first = await incoming.next();
  if (first.done === true) {
    throw new InvalidRequest("EMPTY_STREAM", [
      { field: "resource_name", description: "the first request must have it" },
    ]);
  }
  const target = options.targetOf(first.value.resourceName);
  // BW3
  const complete = await findComplete(target, options);
  if (complete !== undefined) return complete;
  const upload = await begin(target, first.value.writeOffset, options);
  const release = upload.use("another call is writing to it");
  let hasFinished = false;
  try {
    hasFinished = await receive(upload, { ...options, target, incoming, first: first.value, call });
  } finally {
    release();
  }
  if (hasFinished) await finish(upload, target, options);
  return BigInt(upload.durableOffset);
}

/** @throws NotFound when nothing of it came yet */
export async function queryWriteStatus(target: WriteTarget, options: WriteOptions): Promise<WriteStatus> {
  const complete = await findComplete(target, options);
  if (complete !== undefined) return { committedSize: complete, complete: true };
  const id = uploadIdOf(target.resourceName);
  if (!options.uploads.has(id)) {
    throw new NotFound("upload", target.resourceName, "nothing of it came yet, or it has expired");
  }
  const { upload } = options.uploads.find(id);
  return { committedSize: BigInt(upload.durableOffset), complete: false };
}

/** The size of what is complete. A blob is by being there, whoever wrote it; a file by its upload. */
async function findComplete(
  { resourceName, path, blob }: WriteTarget,
  options: WriteOptions,
): Promise<bigint | undefined> {
  const { uploads, checksums } = options;
  if (blob !== undefined) return (await isThere(blob, path, checksums)) ? BigInt(blob.size) : undefined;
  const id = uploadIdOf(resourceName);
  if (!uploads.has(id)) return undefined;
  const { upload } = uploads.find(id);
  return upload.state.phase === "committed" ? BigInt(upload.durableOffset) : undefined;
}

/** One that is damaged is not: writing it again mends it. */
async function isThere(blob: BlobName, path: FilePath, checksums: Checksums): Promise<boolean> {
  try {
    return (await findBlob(blob, path, checksums)) !== undefined;
  } catch (error) {
    if (error instanceof DataLoss) return false;
    throw error;
  }
}

/** BW1: the upload of a name, or a new one. */
async function begin(
  { resourceName, path, blob }: WriteTarget,
  offset: bigint,
  { uploads }: WriteOptions,
): Promise<Upload> {
  const id = uploadIdOf(resourceName);
  if (uploads.has(id)) {
    const { upload } = uploads.find(id);
    if (upload.state.phase !== "committed") return upload;
    // A blob that was complete and has been removed since.
    await uploads.abort(id);
  }
  if (offset !== 0n) throw new UploadOffsetOutOfRange(path.text, offset, 0);
  const wanted = {
    path: path.text,
    size: blob?.size,
    sha256: blob?.sha256 ?? "",
    ifMatch: "",
    mustBeNew: false,
    makesFolders: true,
    ttlMs: DEFAULT_TTL_MS,
  };
  return uploads.start(path.root, wanted, id);
}

/** Resolves with whether the client has finished the resource, when all that came is durable. */
async function receive(
  upload: Upload,
  options: WriteOptions & {
    readonly target: WriteTarget;
    readonly incoming: AsyncIterator<ByteStreamWriteRequest>;
    readonly first: ByteStreamWriteRequest;
    readonly call: Call;
  },
): Promise<boolean> {
  const { target, incoming, first, call, uploads, clock, stallMs, turns } = options;
  let hasFinished = false;
  const receiving = new Receiving<ByteStreamWriteRequest>(upload, {
    incoming,
    bytesOf: (request, end) => bytesOf(request, end, target),
    isLast: ({ finishWrite }) => (hasFinished = finishWrite),
    touch: () => uploads.touch(upload.state.id),
    clock,
    stallMs,
    throttle: new Throttle({ turns, clock, address: subjectOf(call).address }),
  });
  call.onEnd(() => {
    receiving.stop(new DOMException("The call has ended", "AbortError"));
  });
  await receiving.run(first);
  if (hasFinished) await refuseMore(incoming);
  return hasFinished;
}

/** BW2 */
function bytesOf(request: ByteStreamWriteRequest, end: number, { resourceName, path, blob }: WriteTarget): Uint8Array {
  const { writeOffset, data } = request;
  if (request.resourceName !== "" && request.resourceName !== resourceName) {
    throw new InvalidRequest("BAD_FIELD", [{ field: "resource_name", description: "must not change in a stream" }]);
  }
  if (writeOffset !== BigInt(end)) throw new UploadOffsetOutOfRange(path.text, writeOffset, end);
  if (blob !== undefined && end + data.length > blob.size) throw uploadTooLong("data", end + data.length, blob.size);
  return data;
}

/** What has arrived behind the last request is an error; for what has not, nobody waits: a client may keep its side open. */
async function refuseMore(incoming: AsyncIterator<ByteStreamWriteRequest>): Promise<void> {
  const next = incoming.next().then(
    ({ done }) => done !== true,
    () => false,
  );
  if (!(await Promise.race([next, turn(false)]))) return;
  throw new InvalidRequest("REQUEST_AFTER_END", [
    { field: "finish_write", description: "was set before: nothing may follow" },
  ]);
}

async function finish(upload: Upload, { path, blob }: WriteTarget, options: WriteOptions): Promise<void> {
  const { uploads, changes, checksums } = options;
  try {
    const committing = commitUpload(upload, { path, expected: blob?.sha256 ?? "", changes, checksums });
    while ((await committing.next()).done !== true);
  } catch (error) {
    // BW4
    if (blob !== undefined && error instanceof ChecksumMismatch) await uploads.abort(upload.state.id);
    throw error;
  }
  // It is complete by being there: nobody asks for its upload any more.
  if (blob !== undefined) await uploads.abort(upload.state.id);
}
