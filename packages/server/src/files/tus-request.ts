// What the headers of tus 1.0 say (https://tus.io/protocols/resumable-upload), parsed once.
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { type FieldViolation, InvalidRequest } from "../errors.ts";
import { ChecksumMismatch } from "./file-errors.ts";
import { findSha256 } from "./uploads/commit.ts";

export type Headers = ReadonlyMap<string, string>;

/** What POST asks for. */
export interface Creation {
  /** Bytes; undefined: they are said later (Upload-Defer-Length). */
  readonly size: number | undefined;
  /** Where the file goes, as it came. */
  readonly path: string;
  readonly sha256: string;
  readonly ifMatch: string;
  readonly mustBeNew: boolean;
  readonly makesFolders: boolean;
  /** The header itself: HEAD gives it back. */
  readonly metadata: string;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/u;
const DIGITS = /^\d{1,16}$/u;

/** @throws InvalidRequest with all that is wrong */
export function parseCreation(headers: Headers): Creation {
  const violations: FieldViolation[] = [];
  const refuse = (field: string, description: string): undefined => void violations.push({ field, description });
  const length = headers.get("upload-length");
  const deferred = headers.get("upload-defer-length");
  const size = length === undefined ? undefined : parseCount(length);
  if (headers.has("upload-concat"))
    refuse("Upload-Concat", "is not served: upload the file in one piece after the other");
  if (length !== undefined && size === undefined) refuse("Upload-Length", `"${clip(length)}" is no number of bytes`);
  if (deferred !== undefined && deferred !== "1") refuse("Upload-Defer-Length", `"${clip(deferred)}" is not 1`);
  if ((length === undefined) === (deferred === undefined)) {
    refuse(
      "Upload-Length",
      "says how many bytes there will be; where that is not known yet, Upload-Defer-Length: 1 does",
    );
  }
  const metadata = headers.get("upload-metadata") ?? "";
  const said = parseMetadata(metadata, violations);
  const path = said.get("path") ?? said.get("filename") ?? "";
  if (path === "") refuse("Upload-Metadata", 'must say where the file goes, by "path" or "filename"');
  const sha256 = findSha256(said.get("sha256") ?? "");
  if (sha256 === undefined) refuse("Upload-Metadata", '"sha256" takes 64 hexadecimal digits');
  const ifMatch = said.get("ifMatch") ?? "";
  const mustBeNew = said.has("ifNoneMatch");
  if (mustBeNew && said.get("ifNoneMatch") !== "*")
    refuse("Upload-Metadata", '"ifNoneMatch" takes only "*": no file there');
  if (mustBeNew && ifMatch !== "") refuse("Upload-Metadata", "a file cannot both have an etag and not be there");
  if (violations.length > 0) throw new InvalidRequest("BAD_HEADER", violations);
  const makesFolders = said.get("makeDirectories") === "true";
  return { size, path, sha256: sha256 ?? "", ifMatch, mustBeNew, makesFolders, metadata };
}

/** "key base64,key base64,key": what is wrong with it goes to `violations`. */
function parseMetadata(header: string, violations: FieldViolation[]): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  const refuse = (description: string): void => void violations.push({ field: "Upload-Metadata", description });
  for (const pair of header.split(",")) {
    const [key = "", value = "", ...rest] = pair.trim().split(" ");
    if (key === "" && header.trim() === "") break;
    const text = decodeText(value);
    if (key === "" || rest.length > 0)
      refuse("takes pairs of a key and a value in base64, with commas between the pairs");
    else if (metadata.has(key)) refuse(`has the key "${clip(key)}" twice`);
    else if (text === undefined) refuse(`the value of "${clip(key)}" is no UTF-8 in base64`);
    else metadata.set(key, text);
  }
  return metadata;
}

function decodeText(base64: string): string | undefined {
  if (!BASE64.test(base64)) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(base64, "base64"));
  } catch {
    return undefined;
  }
}

/** @throws InvalidRequest */
export function parseOffset(headers: Headers): number {
  const text = headers.get("upload-offset");
  const offset = parseCount(text ?? "");
  if (offset !== undefined) return offset;
  const description = text === undefined ? "must say where the bytes begin" : `"${clip(text)}" is no number of bytes`;
  throw new InvalidRequest("BAD_HEADER", [{ field: "Upload-Offset", description }]);
}

/** The length that PATCH may say of an upload that had none; undefined: it says nothing. @throws InvalidRequest */
export function parseLateLength(headers: Headers): number | undefined {
  const text = headers.get("upload-length");
  if (text === undefined) return undefined;
  const length = parseCount(text);
  if (length !== undefined) return length;
  const description = `"${clip(text)}" is no number of bytes`;
  throw new InvalidRequest("BAD_HEADER", [{ field: "Upload-Length", description }]);
}

function parseCount(text: string): number | undefined {
  const count = Number(text);
  return DIGITS.test(text) && Number.isSafeInteger(count) ? count : undefined;
}

/** Checksums of one request's bytes, as Tus-Checksum-Algorithm has them. */
export const CHECKSUM_ALGORITHMS = ["sha1", "sha256", "crc32"] as const;

type Algorithm = (typeof CHECKSUM_ALGORITHMS)[number];

/** Its digests, in bytes. */
const DIGEST_BYTES: Readonly<Record<Algorithm, number>> = { sha1: 20, sha256: 32, crc32: 4 };

/** The checksum that a request promises, and that of the bytes that come. */
export class RequestChecksum {
  readonly #expected: Buffer;
  readonly #hash: { update(bytes: Uint8Array): unknown; digest(): Buffer };

  constructor(algorithm: Algorithm, expected: Buffer) {
    this.#expected = expected;
    this.#hash = algorithm === "crc32" ? createCrc32() : createHash(algorithm);
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** @throws ChecksumMismatch */
  verify(): void {
    const actual = this.#hash.digest();
    if (actual.equals(this.#expected)) return;
    const texts = { expected: this.#expected.toString("base64"), actual: actual.toString("base64") };
    throw new ChecksumMismatch("the bytes of this request", texts);
  }
}

/** Big-endian, as it is written down. */
function createCrc32() {
  let checksum = 0;
  return {
    update(bytes: Uint8Array): void {
      checksum = crc32(bytes, checksum);
    },
    digest(): Buffer {
      const digest = Buffer.alloc(DIGEST_BYTES.crc32);
      digest.writeUInt32BE(checksum);
      return digest;
    },
  };
}

/** undefined: the request promises none. @throws InvalidRequest */
export function parseChecksum(headers: Headers): RequestChecksum | undefined {
  const text = headers.get("upload-checksum");
  if (text === undefined) return undefined;
  const [name = "", digest = "", ...rest] = text.trim().split(" ");
  const algorithm = CHECKSUM_ALGORITHMS.find((each) => each === name);
  const bytes = BASE64.test(digest) ? Buffer.from(digest, "base64") : Buffer.alloc(0);
  if (algorithm !== undefined && rest.length === 0 && bytes.length === DIGEST_BYTES[algorithm]) {
    return new RequestChecksum(algorithm, bytes);
  }
  const description =
    algorithm === undefined
      ? `"${clip(name)}" is none of ${CHECKSUM_ALGORITHMS.join(", ")}`
      : `takes the ${DIGEST_BYTES[algorithm]} bytes of ${algorithm} in base64`;
  throw new InvalidRequest("BAD_HEADER", [{ field: "Upload-Checksum", description }]);
}

function clip(text: string): string {
  return text.slice(0, 80);
}
