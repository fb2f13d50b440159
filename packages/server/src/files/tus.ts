// Uploads over plain HTTP by tus 1.0 (https://tus.io/protocols/resumable-upload), for browsers and whoever has no gRPC: core,
// creation, creation-with-upload, creation-defer-length, expiration, checksum, termination. The uploads are those of gRPC.
//
// TU1. An answer that has an offset follows the bytes before it to disk.
// TU2. Of a request that promises a checksum all bytes count, when they have it, or none.
// TU3. The last byte commits. Whatever asks for an upload of which all bytes are there and that is in no place yet (the
//      server was killed in between) commits it first: a client takes such an upload for done.
// TU4. What POST began and could not answer for, nobody knows the name of: it is thrown away.
import type { HttpHandler, HttpRequest, HttpResponse } from "@sluice/rpc";
import { NotFound } from "../errors.ts";
import { subjectOf } from "../security/authorize.ts";
import type { FilePath } from "./file-path.ts";
import { HttpRefusal, refusalOf } from "./tus-errors.ts";
import { receiveBody } from "./tus-body.ts";
import {
  CHECKSUM_ALGORITHMS,
  parseChecksum,
  parseCreation,
  parseLateLength,
  parseOffset,
  type RequestChecksum,
} from "./tus-request.ts";
import { commitUpload } from "./uploads/commit.ts";
import type { UploadHandlersOptions } from "./uploads/handlers.ts";
import { Throttle } from "./uploads/throttle.ts";
import type { Upload } from "./uploads/upload.ts";
import { DEFAULT_TTL_MS } from "./uploads/uploads.ts";

/** Where uploads are begun; below it they are written to: "/uploads/EqeLGHBvTuGL2MRHa0-XGQ". */
export const UPLOADS_PATH = "/uploads/";

const VERSION = "1.0.0";
const EXTENSIONS = [
  "creation",
  "creation-with-upload",
  "creation-defer-length",
  "expiration",
  "checksum",
  "termination",
];
const BODY_TYPE = "application/offset+octet-stream";
/** Answers are of one moment. */
const ALWAYS = { "tus-resumable": VERSION, "cache-control": "no-store" };

type Fields = Record<string, string>;
type Methods = Readonly<Record<string, (request: HttpRequest, id: string) => HttpResponse | Promise<HttpResponse>>>;

export interface TusOptions extends UploadHandlersOptions {
  /** Of one upload, in bytes. */
  readonly uploadBytesMax: number;
}

/** Serves UPLOADS_PATH, with and without its last slash. */
export function createTusHandler(options: TusOptions): HttpHandler {
  const tus = new Tus(options);
  return async (request) => {
    try {
      const { status, headers, body = "" } = await tus.answer(request);
      return { status, headers: { ...ALWAYS, ...headers }, body };
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === undefined) throw error;
      return { ...refusal, headers: { ...ALWAYS, ...refusal.headers } };
    }
  };
}

class Tus {
  readonly #options: TusOptions;
  /** Requests that are over while the last of what they brought is still being written, by upload. */
  readonly #ending = new Map<string, Promise<void>>();
  readonly #committing = new Map<string, Promise<unknown>>();
  /** HEAD comes as GET. */
  readonly #ofAll: Methods = { OPTIONS: () => describeServer(this.#options), POST: (request) => this.#create(request) };
  readonly #ofOne: Methods = {
    OPTIONS: () => describeServer(this.#options),
    GET: (request, id) => this.#describe(request, id),
    PATCH: (request, id) => this.#write(request, id),
    DELETE: (request, id) => this.#terminate(request, id),
  };

  constructor(options: TusOptions) {
    this.#options = options;
  }

  answer(request: HttpRequest): HttpResponse | Promise<HttpResponse> {
    const id = request.path.slice(UPLOADS_PATH.length);
    const methods = id === "" ? this.#ofAll : this.#ofOne;
    const method = (request.headers.get("x-http-method-override") ?? request.method)
      .toUpperCase()
      .replace(/^HEAD$/u, "GET");
    const answer = methods[method];
    if (answer === undefined) {
      const allow = Object.keys(methods).join(", ").replace("GET", "HEAD");
      throw new HttpRefusal(405, `Cannot ${method} ${request.path}: it takes ${allow}`, { allow });
    }
    const version = request.headers.get("tus-resumable");
    if (method !== "OPTIONS" && version !== VERSION) {
      const said =
        version === undefined ? "the request has no Tus-Resumable" : `the request's Tus-Resumable is "${version}"`;
      throw new HttpRefusal(412, `Cannot serve this: uploads are made by tus ${VERSION}, and ${said}`, {
        "tus-version": VERSION,
      });
    }
    return answer(request, id);
  }

  async #create(request: HttpRequest): Promise<HttpResponse> {
    const { headers } = request;
    const { path: target, ...wanted } = parseCreation(headers);
    const hasBody = headers.get("content-type") === BODY_TYPE;
    const isEmpty = (headers.get("content-length") ?? "0") === "0";
    if (!hasBody && !isEmpty) throw badType(headers.get("content-type"));
    const checksum = hasBody ? parseChecksum(headers) : undefined;
    const { uploads, writablePathOf } = this.#options;
    const path = writablePathOf(target, subjectOf(request));
    const upload = await uploads.start(path.root, { ...wanted, path: path.text, ttlMs: DEFAULT_TTL_MS });
    const { id } = upload.state;
    try {
      if (hasBody) await this.#alone(request, upload, () => this.#receive(request, upload, checksum));
      await this.#finish(upload, path);
    } catch (error) {
      await uploads.abort(id).catch(() => {}); // TU4; else it expires
      throw error;
    }
    const offset: Fields = hasBody ? { "upload-offset": String(upload.durableOffset) } : {};
    return { status: 201, headers: { location: `${UPLOADS_PATH}${id}`, ...offset, ...this.#expiry(upload) } };
  }

  async #describe(request: HttpRequest, id: string): Promise<HttpResponse> {
    const { upload, path } = await this.#find(request, id);
    await this.#finish(upload, path); // TU3
    const { size, metadata = "" } = upload.state;
    const length: Fields = size === undefined ? { "upload-defer-length": "1" } : { "upload-length": String(size) };
    const offset = { "upload-offset": String(upload.durableOffset) };
    return { status: 200, headers: { ...offset, ...length, "upload-metadata": metadata, ...this.#expiry(upload) } };
  }

  async #write(request: HttpRequest, id: string): Promise<HttpResponse> {
    const { headers } = request;
    if (headers.get("content-type") !== BODY_TYPE) throw badType(headers.get("content-type"));
    const offset = parseOffset(headers);
    const length = parseLateLength(headers);
    const checksum = parseChecksum(headers);
    const { upload, path } = await this.#find(request, id);
    await this.#alone(request, upload, async () => {
      const there = upload.durableOffset;
      if (offset !== there) throw wrongOffset(offset, there);
      if (length !== undefined) await declareLength(upload, length);
      await this.#receive(request, upload, checksum);
    });
    await this.#finish(upload, path);
    return { status: 204, headers: { "upload-offset": String(upload.durableOffset), ...this.#expiry(upload) } };
  }

  /** Of one that was committed only the record goes: the file is there to stay. */
  async #terminate(request: HttpRequest, id: string): Promise<HttpResponse> {
    await this.#find(request, id);
    await this.#options.uploads.abort(id);
    return { status: 204 };
  }

  /** Waits for what is still being written of requests that are over. @throws NotFound, PermissionDenied */
  async #find(request: HttpRequest, id: string): Promise<{ readonly upload: Upload; readonly path: FilePath }> {
    await this.#ending.get(id);
    const { uploads, writablePathOf } = this.#options;
    const { upload } = uploads.find(id);
    const { path, metadata } = upload.state;
    // One that was begun by another protocol is committed there, when its client says so.
    if (metadata === undefined) throw new NotFound("upload", id, "it was not begun by tus");
    return { upload, path: writablePathOf(path, subjectOf(request)) };
  }

  #receive(request: HttpRequest, upload: Upload, checksum: RequestChecksum | undefined): Promise<void> {
    const { uploads, clock, stallMs, turns } = this.#options;
    const touch = ({ state }: Upload): void => uploads.touch(state.id);
    const openThrottle = (): Throttle => new Throttle({ turns, clock, address: subjectOf(request).address });
    return receiveBody(request, upload, { checksum, clock, stallMs, touch, openThrottle });
  }

  /** @throws UploadInUse */
  async #alone(request: HttpRequest, upload: Upload, work: () => Promise<void>): Promise<void> {
    const { id } = upload.state;
    const release = upload.use("another request is writing to it");
    const ended = Promise.withResolvers<void>();
    request.signal.addEventListener("abort", () => this.#ending.set(id, ended.promise), { once: true });
    try {
      await work();
    } finally {
      release();
      this.#ending.delete(id);
      ended.resolve();
    }
  }

  /** TU3. Who asks while it is being committed waits for the same. */
  async #finish(upload: Upload, path: FilePath): Promise<void> {
    const { id, phase, size } = upload.state;
    if (phase === "committed" || size !== upload.durableOffset) return;
    const { changes, checksums } = this.#options;
    const running =
      this.#committing.get(id) ?? Array.fromAsync(commitUpload(upload, { path, expected: "", changes, checksums }));
    this.#committing.set(id, running);
    try {
      await running;
    } finally {
      this.#committing.delete(id);
    }
  }

  #expiry({ state: { id, phase } }: Upload): Fields {
    if (phase === "committed") return {};
    const ms = Number(this.#options.uploads.expireTimeOf(id) / 1_000_000n);
    return { "upload-expires": new Date(ms).toUTCString() };
  }
}

function describeServer({ uploadBytesMax }: TusOptions): HttpResponse {
  const headers = {
    "tus-version": VERSION,
    "tus-extension": EXTENSIONS.join(","),
    "tus-max-size": String(uploadBytesMax),
    "tus-checksum-algorithm": CHECKSUM_ALGORITHMS.join(","),
  };
  return { status: 204, headers };
}

function badType(type: string | undefined): HttpRefusal {
  const said = type === undefined ? "without a type" : `of the type "${type}"`;
  return new HttpRefusal(415, `Cannot take a body ${said}: bytes come as ${BODY_TYPE}`);
}

function wrongOffset(offset: number, there: number): HttpRefusal {
  const message = `Cannot take bytes at ${offset}: those that are there end at ${there}; go on there`;
  return new HttpRefusal(409, message, { "upload-offset": String(there) });
}

/** @throws HttpRefusal where it contradicts what is known */
async function declareLength(upload: Upload, length: number): Promise<void> {
  const { size, path } = upload.state;
  if (size === length) return;
  if (size !== undefined)
    throw new HttpRefusal(400, `Cannot change the length of the upload of "${path}": it is ${size} bytes`);
  const there = upload.durableOffset;
  if (length < there)
    throw new HttpRefusal(400, `Cannot end the upload of "${path}" at ${length}: it has ${there} bytes already`);
  await upload.declareSize(length);
}
