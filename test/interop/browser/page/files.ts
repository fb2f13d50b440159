// What runs in the browser: tus-js-client as its own script brings it, and `fetch`.
import type { Upload, UploadOptions } from "tus-js-client";

declare const tus: { readonly Upload: typeof Upload };

/** What became of an upload that was given up half-way and gone on with. */
interface Uploaded {
  /** Where the server said that the second half begins. */
  readonly resumedAt: number;
  /** Of all that was sent, in hex. */
  readonly sha256: string;
  readonly url: string;
}

/** Uploads a file of so many bytes: breaks off in the middle, and goes on with what the browser has remembered of it. */
export async function upload(endpoint: string, path: string, byteCount: number): Promise<Uploaded> {
  const bytes = randomBytes(byteCount);
  const file = new File([bytes], "large.bin", { lastModified: 0 });
  const options: UploadOptions = {
    endpoint,
    metadata: { path },
    retryDelays: [0, 100, 1000],
    removeFingerprintOnSuccess: true,
  };
  await run(file, options, byteCount / 2);
  const again = await run(file, options, undefined);
  return { ...again, sha256: hex(await crypto.subtle.digest("SHA-256", bytes)) };
}

/** @param stopAt bytes after which it is given up; undefined: never */
function run(
  file: File,
  options: UploadOptions,
  stopAt: number | undefined,
): Promise<{ resumedAt: number; url: string }> {
  return new Promise((resolve, reject) => {
    let resumedAt = -1;
    const uploading = new tus.Upload(file, {
      ...options,
      onError: reject,
      onSuccess: () => resolve({ resumedAt, url: uploading.url ?? "" }),
      onProgress(sent) {
        if (stopAt === undefined || sent < stopAt) return;
        uploading.abort().then(() => resolve({ resumedAt, url: uploading.url ?? "" }), reject);
      },
      onAfterResponse(request, response) {
        if (request.getMethod() === "HEAD") resumedAt = Number(response.getHeader("upload-offset"));
      },
    });
    uploading.findPreviousUploads().then(([previous]) => {
      if (previous !== undefined) uploading.resumeFromPreviousUpload(previous);
      uploading.start();
    }, reject);
  });
}

/** A part of a file, and the fields of its answer that a page may read. */
export async function fetchRange(
  url: string,
  range: string,
): Promise<{ status: number; text: string; fields: Record<string, string | null> }> {
  const response = await fetch(url, { headers: { range, "want-content-digest": "sha-256=1" } });
  const names = ["content-range", "etag", "accept-ranges", "content-digest", "content-disposition", "last-modified"];
  const fields = Object.fromEntries(names.map((name) => [name, response.headers.get(name)]));
  return { status: response.status, text: await response.text(), fields };
}

/** All of a file, for its length and checksum. */
export async function download(url: string): Promise<{ length: number; sha256: string }> {
  const bytes = await (await fetch(url)).arrayBuffer();
  return { length: bytes.byteLength, sha256: hex(await crypto.subtle.digest("SHA-256", bytes)) };
}

function randomBytes(byteCount: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteCount);
  // The browser gives 64 KiB at once.
  for (let at = 0; at < byteCount; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

function hex(digest: ArrayBuffer): string {
  return new Uint8Array(digest).toHex();
}
