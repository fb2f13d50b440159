// Files over plain HTTP: GET and HEAD of /files/PATH, as RFC 9110 wants it, for browsers and curl.
//
// FH1. A path is split at its slashes before it is decoded: an encoded slash is a character of a name, and no name has one.
// FH2. Nothing that a file holds runs in the name of this server: what a browser would run is offered to be saved, the type
//      is never guessed, and a sandbox holds what is shown all the same.
// FH3. A body of known length ends early when the file is changed under it: the client sees that it was cut.
import { randomUUID } from "node:crypto";
import { read } from "node:fs";
import { basename } from "node:path";
import { promisify } from "node:util";
import type { HttpHandler, HttpRequest, HttpResponse } from "@sluice/rpc";
import { PermissionDenied } from "../errors.ts";
import type { Checksums } from "./checksums.ts";
import { FileChanged } from "./file-errors.ts";
import { mimeTypeOf } from "./file-info.ts";
import type { FilePath } from "./file-path.ts";
import { etagOf, hasSameContents } from "./file-version.ts";
import { type ByteRange, parseRange } from "./http-range.ts";
import { type OpenFile, openFileInside } from "./open-inside.ts";
import type { Seat } from "./turns.ts";

/** Where files are: "/files/photos/a.jpg". */
export const FILES_PATH = "/files/";

export interface FileHttpOptions {
  /** Checks a path, and whether it may be read, and counts the download. The seat is its to leave. @throws PermissionDenied, LimitExceeded, Draining */
  readonly admit: (path: string, request: HttpRequest) => { readonly path: FilePath; readonly seat: Seat };
  readonly checksums: Checksums;
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

/** Types that a browser shows and does not run; and all images, sounds and films but SVG, which may hold a script. */
const SHOWN = new Set(["text/plain", "application/json", "text/csv", "application/pdf"]);

/** Serves FILES_PATH. */
export function createFileHttpHandler({ admit, checksums }: FileHttpOptions): HttpHandler {
  return async (request) => {
    if (request.method !== "GET")
      return { status: 405, headers: { allow: "GET, HEAD" }, body: "Files are read by GET.\n" };
    const { path, seat } = admit(decodePath(request.path), request);
    const file = await openFileInside(path, "path");
    const close = (): void => void file.close();
    try {
      if (
        /\bsha-256\b/u.test(request.headers.get("want-repr-digest") ?? request.headers.get("want-content-digest") ?? "")
      ) {
        await checksums.compute(await openFileInside(path, "path"));
      }
      request.signal.throwIfAborted();
      request.signal.addEventListener("abort", close, { once: true });
      return answer(request, { file, path, seat }, checksums.find(file.version));
    } catch (error) {
      close();
      throw error;
    }
  };
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

function answer(request: HttpRequest, sending: Sending, sha256: string | undefined): HttpResponse {
  const { file, path } = sending;
  const { version } = file;
  const { size } = version;
  const etag = `"${etagOf(version)}"`;
  const modifiedS = version.modifiedNs / NS_PER_S;
  const lastModified = new Date(Number(modifiedS) * MS_PER_S).toUTCString();
  const about = {
    etag,
    "last-modified": lastModified,
    "accept-ranges": "bytes",
    "cache-control": "no-cache",
    ...(sha256 === undefined ? {} : { "repr-digest": digestField(sha256) }),
  };
  const status = preconditionStatus(request, { etag, modifiedS });
  if (status !== undefined) return { status, headers: about };

  const ranges = isRangeOf(request, { etag, lastModified })
    ? parseRange(request.headers.get("range"), size)
    : undefined;
  if (ranges === "unsatisfiable") return { status: 416, headers: { ...about, "content-range": `bytes */${size}` } };
  const headers = { ...about, ...safety(path), "content-type": typeOf(path) };
  if (ranges === undefined) {
    const digest = sha256 === undefined ? {} : { "content-digest": digestField(sha256) };
    const body = readRange(sending, { start: 0, end: size });
    return { status: 200, headers: { ...headers, ...digest, "content-length": String(size) }, body };
  }
  const [range] = ranges;
  if (ranges.length > 1 || range === undefined) return multipart(sending, { ranges, headers });
  const { start, end } = range;
  const partial = { "content-range": contentRange(range, size), "content-length": String(end - start) };
  return { status: 206, headers: { ...headers, ...partial }, body: readRange(sending, range) };
}

/** https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2; undefined: the request holds. */
function preconditionStatus(
  { headers }: HttpRequest,
  { etag, modifiedS }: { readonly etag: string; readonly modifiedS: bigint },
): 304 | 412 | undefined {
  const ifMatch = headers.get("if-match");
  const unmodifiedSince = secondsOf(headers.get("if-unmodified-since"));
  if (ifMatch !== undefined) {
    if (!hasEtag(ifMatch, etag)) return 412;
  } else if (unmodifiedSince !== undefined && modifiedS > unmodifiedSince) return 412;
  const ifNoneMatch = headers.get("if-none-match");
  const modifiedSince = secondsOf(headers.get("if-modified-since"));
  if (ifNoneMatch !== undefined) return hasEtag(ifNoneMatch, etag) ? 304 : undefined;
  return modifiedSince !== undefined && modifiedS <= modifiedSince ? 304 : undefined;
}

/** Whether a Range counts: without If-Range, or when that names this version. */
function isRangeOf(
  { headers }: HttpRequest,
  { etag, lastModified }: { readonly etag: string; readonly lastModified: string },
): boolean {
  const ifRange = headers.get("if-range");
  return ifRange === undefined || ifRange === etag || ifRange === lastModified;
}

/** Weak tags compare as strong ones here: ours are all strong, a proxy may have weakened one. */
function hasEtag(list: string, etag: string): boolean {
  return list.split(",").some((each) => each.trim() === "*" || each.trim().replace(/^W\//u, "") === etag);
}

function secondsOf(date: string | undefined): bigint | undefined {
  const ms = Date.parse(date ?? "");
  return Number.isNaN(ms) ? undefined : BigInt(Math.floor(ms / MS_PER_S));
}

function digestField(sha256: string): string {
  return `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`;
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
  const name = encodeURIComponent(basename(text)).replaceAll(
    /['()*]/gu,
    (each) => `%${each.charCodeAt(0).toString(16)}`,
  );
  return {
    "x-content-type-options": "nosniff",
    "content-security-policy":
      "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; sandbox",
    "content-disposition": `${isShown ? "inline" : "attachment"}; filename*=UTF-8''${name}`,
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
