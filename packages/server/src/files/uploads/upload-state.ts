// What is kept of an upload beside its bytes: ID.json in the staging folder, replaced as a whole.
import { createHash, randomBytes } from "node:crypto";

/** What was asked for when it began, and how far it has come. */
export interface UploadState {
  /** 128 random bits, 22 characters. */
  readonly id: string;
  /** As `FilePath.text` has it. */
  readonly path: string;
  /** Bytes; undefined: whatever comes. Of a committed one always known. */
  readonly size: number | undefined;
  /** SHA-256, in hex, that all of it must have; empty: any. */
  readonly sha256: string;
  /** The etag that the file in its place must have; empty: any, or none. */
  readonly ifMatch: string;
  /** There must be no file in its place. */
  readonly mustBeNew: boolean;
  readonly makesFolders: boolean;
  /** How long it is kept while nobody writes to it. */
  readonly ttlMs: number;
  /** Of the protocol that it was begun by, which wants it back as it is; undefined: nothing. */
  readonly metadata?: string | undefined;
  /** On disk "open" or "placing", which is written before the rename: see Upload, U4. */
  readonly phase: "open" | "placing" | "committed";
}

const ID_BYTES = 16;
const ID = /^[\w-]{22}$/u;

export function newUploadId(): string {
  return randomBytes(ID_BYTES).toString("base64url");
}

/** Of an upload that its client has a name for: always the same one. */
export function uploadIdOf(name: string): string {
  return createHash("sha256").update(name).digest().subarray(0, ID_BYTES).toString("base64url");
}

export function isUploadId(text: string): boolean {
  return ID.test(text);
}

export function encodeState(state: UploadState): Uint8Array {
  return Buffer.from(JSON.stringify(state));
}

/** undefined: it is none. Files of the staging folder are our own; one that is damaged is nobody's upload. */
export function decodeState(bytes: Uint8Array): UploadState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { id, path, size, sha256, ifMatch, mustBeNew, makesFolders, ttlMs, metadata, phase } = value as Record<
    string,
    unknown
  >;
  if (typeof id !== "string" || !isUploadId(id) || typeof path !== "string") return undefined;
  if (typeof sha256 !== "string" || typeof ifMatch !== "string" || typeof ttlMs !== "number") return undefined;
  if (phase !== "open" && phase !== "placing" && phase !== "committed") return undefined;
  const hasSize = typeof size === "number" && Number.isSafeInteger(size);
  return {
    id,
    path,
    size: hasSize ? size : undefined,
    sha256,
    ifMatch,
    mustBeNew: mustBeNew === true,
    makesFolders: makesFolders === true,
    ttlMs,
    metadata: typeof metadata === "string" ? metadata : undefined,
    phase,
  };
}
