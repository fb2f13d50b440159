// The file service's tus handler on folders of its own, without a network, on a clock that the test moves.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { FileService, StartUploadRequestSchema, type StartUploadResponse } from "@sluice/api";
import type { HttpRequest } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { DEFAULT_LIMITS, type Limits } from "../../limits.ts";
import { type Authorize, allowAll } from "../../security/authorize.ts";
import type { FileSystem } from "../../store/file-system.ts";
import { nodeFileSystem } from "../../store/file-system-node.ts";
import { FakeCall } from "../../stream/testing/fake-call.ts";
import { type FileServiceHandle, openFileService } from "../service.ts";

export type Fields = Readonly<Record<string, string>>;

export const BODY_TYPE = { "content-type": "application/offset+octet-stream" } as const;

/** The answer to one: its headers, and its body as text. */
export interface Answer {
  readonly status: number;
  readonly headers: Fields;
  readonly text: string;
}

/** What a request has beside its method and path. */
export interface Asked {
  readonly headers?: Fields;
  readonly body?: Uint8Array | SentBody;
}

/** A body that comes as the test says. */
export class SentBody implements AsyncIterable<Uint8Array> {
  readonly #pieces = new TransformStream<Uint8Array, Uint8Array>(undefined, { highWaterMark: 1 }, { highWaterMark: 0 });
  readonly #writer = this.#pieces.writable.getWriter();

  /** Resolves when it was pulled. */
  async send(piece: Uint8Array): Promise<void> {
    await this.#writer.write(piece);
  }

  end(): void {
    void this.#writer.close();
  }

  /** As a connection that is lost. */
  breakOff(): void {
    void this.#writer.abort(new DOMException("The request is over", "AbortError")).catch(() => {});
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this.#pieces.readable[Symbol.asyncIterator]();
  }
}

export class TusPlace implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly stallMs = 1000;
  /** The shared folder; "fixed" is another that cannot be written to. */
  readonly shared: string;
  readonly #folder: string;
  readonly #authorize: Authorize;
  readonly #limits: Limits;
  /** Writes fail as on a full disk. */
  isDiskFull = false;
  #service: FileServiceHandle | undefined;

  private constructor(folder: string, options: { authorize: Authorize; limits: Limits }) {
    this.#folder = folder;
    this.shared = join(folder, "shared");
    this.#authorize = options.authorize;
    this.#limits = options.limits;
  }

  static async open(options: { authorize?: Authorize } & Partial<Limits> = {}): Promise<TusPlace> {
    const { authorize = allowAll, ...limits } = options;
    const folder = await mkdtemp(join(tmpdir(), "sluice-tus-"));
    const place = new TusPlace(folder, { authorize, limits: { ...DEFAULT_LIMITS, ...limits } });
    await mkdir(place.shared);
    await mkdir(join(place.#folder, "fixed"));
    await place.restart();
    return place;
  }

  /** Closes the service as it is, and opens it again. */
  async restart(): Promise<void> {
    await this.#service?.[Symbol.asyncDispose]();
    this.#service = await openFileService({
      roots: [
        { name: "", folder: this.shared, isWritable: true },
        { name: "fixed", folder: join(this.#folder, "fixed"), isWritable: false },
      ],
      authorize: this.#authorize,
      fileSystem: this.#fileSystem(),
      clock: this.clock,
      limits: this.#limits,
      uploadStallMs: this.stallMs,
    });
  }

  #fileSystem(): FileSystem {
    return {
      ...nodeFileSystem,
      open: async (path, mode) => {
        const file = await nodeFileSystem.open(path, mode);
        const write = file.write.bind(file);
        file.write = (buffers, position) => {
          if (this.isDiskFull) return Promise.reject(Object.assign(new Error("ENOSPC"), { code: "ENOSPC" }));
          return write(buffers, position);
        };
        return file;
      },
    };
  }

  /** Begins an upload by gRPC. Returns its id. */
  async createByGrpc(init: MessageInitShape<typeof StartUploadRequestSchema>): Promise<string> {
    const { startUpload } = this.#service!.handlers;
    if (typeof startUpload !== "function") throw new Error("startUpload takes messages");
    const call = new FakeCall(FileService.method.startUpload);
    const { upload } = (await startUpload(create(StartUploadRequestSchema, init), call)) as StartUploadResponse;
    call.end();
    return upload!.uploadId;
  }

  get uploads(): number {
    return this.#service?.uploads ?? 0;
  }

  /** One request of tus 1.0. @param path behind "/uploads/" @param options `isOver`: fires when the client goes away */
  async ask(
    method: string,
    path: string,
    { headers = {}, body = new Uint8Array() }: Asked = {},
    options: { isOver?: AbortSignal } = {},
  ): Promise<Answer> {
    const length: Fields = body instanceof Uint8Array ? { "content-length": String(body.length) } : {};
    const request: HttpRequest = {
      method: method === "HEAD" ? "GET" : method,
      isHead: method === "HEAD",
      path: `/uploads/${path}`,
      query: new URLSearchParams(),
      headers: new Map(Object.entries({ "tus-resumable": "1.0.0", ...length, ...headers })),
      peer: { address: "127.0.0.1:1", isEncrypted: false },
      body: body instanceof Uint8Array ? piecesOf(body) : body,
      signal: options.isOver ?? new AbortController().signal,
    };
    const { status, headers: fields = {}, body: text } = await this.#service!.tusHandler(request);
    return { status, headers: fields as Fields, text: typeof text === "string" ? text : "" };
  }

  /** Begins an upload. Returns its id. */
  async create(headers: Fields, path = "a.bin"): Promise<string> {
    const {
      status,
      headers: answered,
      text,
    } = await this.ask("POST", "", {
      headers: { "upload-metadata": metadata({ path }), ...headers },
    });
    if (status !== 201) throw new Error(`${status} ${text}`);
    return answered["location"]!.slice("/uploads/".length);
  }

  patch(id: string, offset: number, { headers = {}, body }: Asked, options?: { isOver?: AbortSignal }) {
    const all = { ...BODY_TYPE, "upload-offset": String(offset), ...headers };
    return this.ask("PATCH", id, { headers: all, ...(body === undefined ? {} : { body }) }, options);
  }

  /** What HEAD says. */
  async offsetOf(id: string): Promise<number | undefined> {
    const { headers } = await this.ask("HEAD", id);
    return headers["upload-offset"] === undefined ? undefined : Number(headers["upload-offset"]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service?.[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true });
  }
}

/** As a socket has it. */
async function* piecesOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
}

/** Upload-Metadata. */
export function metadata(pairs: Fields): string {
  return Object.entries(pairs)
    .map(([key, value]) => `${key} ${Buffer.from(value).toString("base64")}`.trim())
    .join(",");
}
