// Names of ByteStream's resources, parsed once.
//
//   files/{path}                                    read: a file of the shared folders
//   [{root}/]blobs/{hash}/{size}                    read: bytes by their SHA-256
//   uploads/{uuid}/files/{path}                     write: a file
//   [{root}/]uploads/{uuid}/blobs/{hash}/{size}[/…] write: bytes that must have this SHA-256
//
// The two forms of blobs are those of the Remote Execution API (github.com/bazelbuild/remote-apis,
// build/bazel/remote/execution/v2/remote_execution.proto, ContentAddressableStorage), where {root} is called instance name and
// what stands behind the size is the client's own affair.
import { InvalidRequest } from "../../errors.ts";

/** Bytes known by what they are. */
export interface BlobName {
  readonly kind: "blob";
  /** The root that holds it; empty: the one without a name. */
  readonly root: string;
  /** In hex, lower case. */
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
}

export interface FileName {
  readonly kind: "file";
  /** Not checked yet. */
  readonly path: string;
}

const READ_FORMS = "files/{path} and blobs/{hash}/{size}";
const WRITE_FORMS = "uploads/{uuid}/files/{path} and uploads/{uuid}/blobs/{hash}/{size}";
/** A UUID, and what else clients take for one. */
const UUID = /^[\w.-]{1,128}$/u;
const SHA256 = /^[0-9a-f]{64}$/u;
const SIZE = /^(?:0|[1-9]\d{0,15})$/u;

/** What is to be read. @throws InvalidRequest */
export function parseReadName(text: string): FileName | BlobName {
  if (text.startsWith("files/")) return { kind: "file", path: text.slice("files/".length) };
  const parts = text.split("/");
  const [root = "", ...rest] = parts[0] === "blobs" ? ["", ...parts] : parts;
  const blob = rest.length === 3 ? findBlob(root, rest) : undefined;
  if (blob === undefined) throw badName(text, READ_FORMS);
  return blob;
}

/** What is to be written. @throws InvalidRequest */
export function parseWriteName(text: string): FileName | BlobName {
  const parts = text.split("/");
  const [root = "", word, uuid = "", kind, ...rest] = parts[0] === "uploads" ? ["", ...parts] : parts;
  if (word !== "uploads" || !UUID.test(uuid)) throw badName(text, WRITE_FORMS);
  if (kind === "files" && root === "" && rest.length > 0) return { kind: "file", path: rest.join("/") };
  const blob = kind === "blobs" ? findBlob(root, [kind, ...rest]) : undefined;
  if (blob === undefined) throw badName(text, WRITE_FORMS);
  return blob;
}

function findBlob(root: string, [word, sha256 = "", size = ""]: readonly string[]): BlobName | undefined {
  const isBlob = word === "blobs" && SHA256.test(sha256) && SIZE.test(size) && Number.isSafeInteger(Number(size));
  return isBlob ? { kind: "blob", root, sha256, size: Number(size) } : undefined;
}

function badName(text: string, forms: string): InvalidRequest {
  const description = `"${text.slice(0, 200)}" is no resource of this call: those are ${forms}, with a SHA-256 in lower case for {hash}`;
  return new InvalidRequest("BAD_RESOURCE_NAME", [{ field: "resource_name", description }]);
}
