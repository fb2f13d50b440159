// CommitUpload: verifies an upload and puts it into its place.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CommitUploadResponseSchema } from "@sluice/api";
import { type FieldViolation, InvalidRequest } from "../../errors.ts";
import type { Changes } from "../change.ts";
import type { Checksums } from "../checksums.ts";
import { ChecksumMismatch, explainNoSpace, UploadIncomplete } from "../file-errors.ts";
import { fileInfo } from "../file-info.ts";
import type { FilePath } from "../file-path.ts";
import type { FileVersion } from "../file-version.ts";
import { openFileInside } from "../open-inside.ts";
import type { Upload } from "./upload.ts";

export interface CommitOptions {
  /** Where it goes. */
  readonly path: FilePath;
  /** SHA-256, in hex, that all of it must have; empty: any. */
  readonly expected: string;
  readonly changes: Changes;
  readonly checksums: Checksums;
}

type Answer = MessageInitShape<typeof CommitUploadResponseSchema>;

const SHA256 = /^[0-9a-f]{64}$/u;
/** How often it says how far it is, in bytes. */
const PROGRESS_BYTES = 64 * 1024 * 1024;

/** Answers while it verifies, and last with the file. @throws UploadInUse, UploadIncomplete, ChecksumMismatch, FileExists, … */
export async function* commitUpload(upload: Upload, options: CommitOptions): AsyncGenerator<Answer> {
  const { path, checksums } = options;
  const release = upload.use("it is being committed");
  try {
    const total = BigInt(upload.durableOffset);
    const placed = yield* placeUpload(upload, options);
    if (placed === undefined) {
      yield await describeCommitted(path, checksums);
      return;
    }
    const { version, sha256 } = placed;
    checksums.remember(version, sha256);
    yield {
      verifiedBytes: total,
      totalBytes: total,
      file: fileInfo(path.text, { version, isFolder: false, sha256 }),
    };
  } finally {
    release();
  }
}

/** Verifies an upload that the caller uses alone and puts it into its place. Nothing to say when it was there before. */
export async function* placeUpload(
  upload: Upload,
  { path, expected, changes }: Omit<CommitOptions, "checksums">,
): AsyncGenerator<Answer, { readonly version: FileVersion; readonly sha256: string } | undefined> {
  if (upload.state.phase === "committed") {
    // Where the sync failed the first time, it is tried again.
    await changes.confirm(path);
    return undefined;
  }
  const { size, sha256: promised, ifMatch, mustBeNew, makesFolders } = upload.state;
  const total = upload.durableOffset;
  if (size !== undefined && size !== total) throw new UploadIncomplete(path.text, total, size);
  const sha256 = yield* verify(upload, total);
  for (const wanted of [promised, expected]) {
    if (wanted === "" || wanted === sha256) continue;
    throw new ChecksumMismatch(`the upload of "${path.text}"`, { expected: wanted, actual: sha256 });
  }
  const preconditions = { ifMatch, mustBeNew, makesFolders };
  try {
    const version = await changes.replace(path, preconditions, (target, sync) => upload.place(target, sync));
    return { version, sha256 };
  } catch (error) {
    throw explainNoSpace(error, path.text, total);
  }
}

async function* verify(upload: Upload, total: number): AsyncGenerator<Answer, string> {
  const verifying = upload.verify();
  try {
    let step = await verifying.next();
    for (let told = 0; step.done !== true; step = await verifying.next()) {
      const { verifiedBytes } = step.value;
      if (verifiedBytes - told < PROGRESS_BYTES) continue;
      told = verifiedBytes;
      yield { verifiedBytes: BigInt(verifiedBytes), totalBytes: BigInt(total) };
    }
    return step.value;
  } finally {
    await verifying.return("");
  }
}

/** The answer to a commit that was done before. */
async function describeCommitted(path: FilePath, checksums: Checksums): Promise<Answer> {
  const file = await openFileInside(path);
  const { version } = file;
  const size = BigInt(version.size);
  const sha256 = await checksums.compute(file);
  return { verifiedBytes: size, totalBytes: size, file: fileInfo(path.text, { version, isFolder: false, sha256 }) };
}

/** In lower case; empty for none; undefined: it is no SHA-256. */
export function findSha256(text: string): string | undefined {
  const sha256 = text.toLowerCase();
  return sha256 === "" || SHA256.test(sha256) ? sha256 : undefined;
}

/** @throws InvalidRequest */
export function parseSha256(text: string): string {
  const sha256 = findSha256(text);
  if (sha256 === undefined) throw new InvalidRequest("BAD_FIELD", [badChecksum(text)]);
  return sha256;
}

export function badChecksum(text: string): FieldViolation {
  return { field: "checksum", description: `"${text.slice(0, 80)}" is no SHA-256: it takes 64 hexadecimal digits` };
}
