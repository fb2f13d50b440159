// Files over plain HTTP: GET and HEAD of /files/PATH, as RFC 9110 wants it, for browsers and curl.
//
// FH1. A path is split at its slashes before it is decoded: an encoded slash is a character of a name, and no name has one.
// FH2. Nothing that a file holds runs in the name of this server: what a browser would run is offered to be saved, the type
//      is never guessed, and a sandbox holds what is shown all the same.
// FH3. A body of known length ends early when the file is changed under it: the client sees that it was cut.
// FH4. What a client would like to have and need not (a digest) is left out where it cannot be had now.
import { randomUUID } from "node:crypto";
import { read } from "node:fs";
import { basename } from "node:path";
import { promisify } from "node:util";
import type { HttpHandler, HttpRequest, HttpResponse } from "@sluice/rpc";
import { LimitExceeded, PermissionDenied } from "../errors.ts";
import type { Clock } from "../store/contract.ts";
import type { Checksums } from "./checksums.ts";
import { FileChanged } from "./file-errors.ts";
import { mimeTypeOf } from "./file-info.ts";
import type { FilePath } from "./file-path.ts";
import { etagOf, hasSameContents } from "./file-version.ts";
import { isRangeOf, preconditionStatus, type Validators } from "./http-conditions.ts";
import { digestField, digestOf, wantsSha256 } from "./http-digest.ts";
import { type ByteRange, parseRange } from "./http-range.ts";
import { type OpenFile, openFileInside } from "./open-inside.ts";
import { type Opener, SMALL_BYTES } from "./opener.ts";
import type { Seat } from "./turns.ts";

/** Where files are: "/files/photos/a.jpg". */
export const FILES_PATH = "/files/";

export interface FileHttpOptions {
  /** Checks a path, and whether it may be read, and counts the download. The seat is its to leave. @throws PermissionDenied, LimitExceeded, Draining */
  readonly admit: (path: string, request: HttpRequest) => { readonly path: FilePath; readonly seat: Seat };
  readonly checksums: Checksums;
  readonly opener: Pick<Opener, "openFile">;
  readonly clock: Clock;
}

/** A file that is being sent, and its place among all that are. */
interface Sending {
  readonly file: OpenFile;
  readonly path: FilePath;
  readonly seat: Seat;
}

const readFd = promisify(read);
const BLOCK_BYTES = 256 * 1024;
const MS_PER_S = 1000;
const NS_PER_S = 1_000_000_000n;
const PLAIN = { "content-type": "text/plain; charset=utf-8" };

/** Types that a browser shows and does not run; and all images, sounds and films but SVG, which may hold a script. */
const SHOWN = new Set(["text/plain", "application/json", "text/csv", "application/pdf"]);

/** Serves FILES_PATH. */
export function createFileHttpHandler({ admit, checksums, opener, clock }: FileHttpOptions): HttpHandler {
  return async (request) => {
    if (request.method !== "GET") {
      return { status: 405, headers: { allow: "GET, HEAD", ...PLAIN }, body: "Files are read by GET.\n" };
    }
    const { path, seat } = admit(decodePath(request.path), request);
    const file = await opener.openFile(path, { contentsMax: SMALL_BYTES, field: "path" });
    const close = (): void => void file.close();
    try {
      if (wantsFileDigest(request.headers)) await computeDigest(path, checksums);
      request.signal.throwIfAborted();
      request.signal.addEventListener("abort", close, { once: true });
      return await answer(
        request,
        { file, path, seat },
        { sha256: checksums.find(file.version), nowNs: clock.nowNs() },
      );
    } catch (error) {
      close();
      throw error;
    }
  };
}

/** Content-Digest is the same where all of the file is sent. */
function wantsFileDigest(headers: HttpRequest["headers"]): boolean {
  if (wantsSha256(headers.get("want-repr-digest"))) return true;
  return wantsSha256(headers.get("want-content-digest")) && !headers.has("range");
}

/** FH4 */
async function computeDigest(path: FilePath, checksums: Checksums): Promise<void> {
  try {
    await checksums.compute(await openFileInside(path, "path"));
  } catch (error) {
    if (!(error instanceof LimitExceeded)) throw error;
  }
}

/** FH1 @throws PermissionDenied */
function decodePath(path: string): string {
  const parts = path.slice(FILES_PATH.length).split("/");
  try {
    const names = parts.map((part) => decodeURIComponent(part));
    if (names.some((name) => name.includes("/"))) throw new PermissionDenied();
    return names.join("/");
  } catch (error) {
    if (error instanceof URIError) throw new PermissionDenied();
    throw error;
  }
}

async function answer(
  request: HttpRequest,
  sending: Sending,
  { sha256, nowNs }: { readonly sha256: string | undefined; readonly nowNs: bigint },
): Promise<HttpResponse> {
  const { file, path } = sending;
  const { size } = file.version;
  const validators = validatorsOf(file);
  const about = {
    date: httpDate(nowNs / NS_PER_S),
    etag: validators.etag,
    "last-modified": validators.lastModified,
    "accept-ranges": "bytes",
    "cache-control": "no-cache",
    ...(sha256 === undefined ? {} : { "repr-digest": digestField(sha256) }),
  };
  const status = preconditionStatus(request.headers, validators);
  if (status === 304) return { status, headers: about };
  if (status === 412) {
    const body = `The file is another version now: ${validators.etag}, of ${validators.lastModified}.\n`;
    return { status, headers: { ...about, ...PLAIN }, body };
  }
  const ranges = wantedRanges(request, validators, size);
  if (ranges === "unsatisfiable") {
    const body = `The file has ${size} bytes, and none in that range.\n`;
    return { status: 416, headers: { ...about, "content-range": `bytes */${size}`, ...PLAIN }, body };
  }
  const headers = { ...about, ...safety(path), "content-type": typeOf(path) };
  if (ranges === undefined) {
    const digest = sha256 === undefined ? {} : { "content-digest": digestField(sha256) };
    const body = readRange(sending, { start: 0, end: size });
    return { status: 200, headers: { ...headers, ...digest, "content-length": String(size) }, body };
  }
  const [range] = ranges;
  if (ranges.length > 1 || range === undefined) return multipart(sending, { ranges, headers });
  const length = range.end - range.start;
  const partial = { ...headers, "content-range": contentRange(range, size), "content-length": String(length) };
  // A digest goes ahead of its bytes: a part of one block is read for it. Of a longer one Repr-Digest is what there is.
  if (length > BLOCK_BYTES || !wantsSha256(request.headers.get("want-content-digest"))) {
    return { status: 206, headers: partial, body: readRange(sending, range) };
  }
  const block = await readBlock(sending, range);
  return { status: 206, headers: { ...partial, "content-digest": digestOf(block) }, body: block };
}

/** Undefined: all of it. A Range of HEAD does not count: https://www.rfc-editor.org/rfc/rfc9110#section-14.2 */
function wantedRanges({ headers, isHead }: HttpRequest, validators: Validators, size: number) {
  return isHead || !isRangeOf(headers, validators) ? undefined : parseRange(headers.get("range"), size);
}

function validatorsOf({ version }: OpenFile): Validators {
  const modifiedS = version.modifiedNs / NS_PER_S;
  return { etag: `"${etagOf(version)}"`, modifiedS: Number(modifiedS), lastModified: httpDate(modifiedS) };
}

function httpDate(unixS: bigint): string {
  return new Date(Number(unixS) * MS_PER_S).toUTCString();
}

function contentRange({ start, end }: ByteRange, size: number): string {
  return `bytes ${start}-${end - 1}/${size}`;
}

function typeOf({ text }: FilePath): string {
  const type = mimeTypeOf(text);
  return type.startsWith("text/") ? `${type}; charset=utf-8` : type;
}

/** FH2 */
function safety({ text }: FilePath): Record<string, string> {
  const type = mimeTypeOf(text);
  const isShown = SHOWN.has(type) || (/^(?:image|audio|video)\//u.test(type) && type !== "image/svg+xml");
  const name = basename(text);
  const encoded = encodeURIComponent(name).replaceAll(/['()*]/gu, (each) => `%${each.charCodeAt(0).toString(16)}`);
  // For clients that know the plain form only; where it says less, the other one counts (RFC 6266, appendix D).
  const plain = name.replaceAll(/[^\x20-\x7e]|["\\%]/gu, "_");
  return {
    "x-content-type-options": "nosniff",
    "content-security-policy":
      "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; sandbox",
    "content-disposition": `${isShown ? "inline" : "attachment"}; filename="${plain}"; filename*=UTF-8''${encoded}`,
  };
}

/** https://www.rfc-editor.org/rfc/rfc9110#section-14.6 */
function multipart(
  sending: Sending,
  { ranges, headers }: { readonly ranges: readonly ByteRange[]; readonly headers: Record<string, string> },
): HttpResponse {
  const boundary = randomUUID();
  const type = headers["content-type"]!;
  const heads = ranges.map((range, i) => {
    const lead = i === 0 ? "" : "\r\n";
    const fields = `content-type: ${type}\r\ncontent-range: ${contentRange(range, sending.file.version.size)}`;
    return Buffer.from(`${lead}--${boundary}\r\n${fields}\r\n\r\n`);
  });
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  const length = tail.length + ranges.reduce((sum, { start, end }, i) => sum + heads[i]!.length + end - start, 0);
  async function* parts(): AsyncGenerator<Uint8Array> {
    for (const [i, range] of ranges.entries()) {
      yield heads[i]!;
      yield* readRange(sending, range);
    }
    yield tail;
  }
  const own = { "content-type": `multipart/byteranges; boundary=${boundary}`, "content-length": String(length) };
  return { status: 206, headers: { ...headers, ...own }, body: parts() };
}

/** FH3. One block is read ahead. */
async function* readRange(sending: Sending, { start, end }: ByteRange): AsyncGenerator<Uint8Array> {
  let next = readBlock(sending, { start, end: Math.min(end, start + BLOCK_BYTES) });
  for (let at = start; at < end;) {
    const block = await next;
    at += block.length;
    if (at < end) {
      next = readBlock(sending, { start: at, end: Math.min(end, at + BLOCK_BYTES) });
      // Should nobody ask for it any more, its failure is nobody's.
      next.catch(() => {});
    }
    yield block;
  }
}

async function readBlock({ file, path, seat }: Sending, { start, end }: ByteRange): Promise<Uint8Array> {
  return await seat.read(end - start, async () => {
    if (file.contents !== undefined) return file.contents.subarray(start, end);
    const block = Buffer.allocUnsafeSlow(end - start);
    for (let done = 0; done < block.length;) {
      const { bytesRead } = await file.hold(() => readFd(file.fd, block, done, block.length - done, start + done));
      if (bytesRead === 0) throw new FileChanged(path.text, start, "cut");
      done += bytesRead;
    }
    const now = await file.currentVersion();
    if (!hasSameContents(now, file.version)) throw new FileChanged(path.text, start, "changed");
    return block;
  });
}
