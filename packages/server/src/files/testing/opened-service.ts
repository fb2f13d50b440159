// The file service on folders of its own, without a network.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type FileInfo,
  FileRequestSchema,
  FileService,
  ListFilesRequestSchema,
  type ListFilesResponse,
  WatchFilesRequestSchema,
} from "@sluice/api";
import type { FrameSource } from "@sluice/rpc";
import { DEFAULT_LIMITS, type Limits } from "../../limits.ts";
import { type Authorize, allowAll } from "../../security/authorize.ts";
import { systemClock } from "../../store/clock.ts";
import { nodeFileSystem } from "../../store/file-system-node.ts";
import type { Clock } from "../../store/contract.ts";
import { FakeCall } from "../../stream/testing/fake-call.ts";
import type { FileRoot } from "../file-path.ts";
import { type FileServiceHandle, openFileService } from "../service.ts";
import type { Rates } from "../turns.ts";
import { PulledChunks } from "./pulled-chunks.ts";
import { Watcher } from "./watcher.ts";

export type FileQuery = MessageInitShape<typeof FileRequestSchema>;

export interface Downloading {
  readonly stream: PulledChunks;
  readonly source: FrameSource;
  readonly call: { end(): void };
}

export class OpenedService implements AsyncDisposable {
  readonly service: FileServiceHandle;
  /** The folder without a name, and the one called "named"; beside them is one that nobody shares. */
  readonly home: string;
  readonly named: string;
  readonly outside: string;
  readonly #folder: string;
  readonly #calls: FakeCall[] = [];

  private constructor(service: FileServiceHandle, folder: string) {
    this.service = service;
    this.#folder = folder;
    this.home = join(folder, "home");
    this.named = join(folder, "named");
    this.outside = join(folder, "outside");
  }

  static async open(
    options: {
      authorize?: Authorize;
      clock?: Clock;
      limits?: Partial<Limits>;
      named?: Partial<FileRoot>;
      rates?: Rates;
    } = {},
  ): Promise<OpenedService> {
    const folder = await mkdtemp(join(tmpdir(), "sluice-files-"));
    for (const name of ["home", "named", "outside"]) await mkdir(join(folder, name));
    const roots = [
      { name: "", folder: join(folder, "home"), isWritable: false },
      { name: "named", folder: join(folder, "named"), isWritable: false, ...options.named },
    ];
    const { authorize = allowAll, clock = systemClock, rates = {} } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    return new OpenedService(
      await openFileService({ roots, authorize, fileSystem: nodeFileSystem, clock, limits, rates }),
      folder,
    );
  }

  /** Begins a download, of who is at this address. */
  async start(query: FileQuery, options: { isStalled?: boolean; address?: string } = {}): Promise<Downloading> {
    const call = this.#newCall(options.address);
    const { downloadFile } = this.service.handlers;
    if (typeof downloadFile !== "function") throw new Error("downloadFile takes messages");
    try {
      const source = (await downloadFile(create(FileRequestSchema, query), call)) as FrameSource;
      return { stream: new PulledChunks(source, options), source, call };
    } catch (error) {
      call.end();
      throw error;
    }
  }

  /** A whole download. */
  async download(query: FileQuery): Promise<PulledChunks> {
    const { stream, call } = await this.start(query);
    try {
      await stream.ended;
      return stream;
    } finally {
      call.end();
    }
  }

  async info(query: FileQuery): Promise<MessageInitShape<typeof FileService.method.getFileInfo.output>> {
    const { getFileInfo } = this.service.handlers;
    if (typeof getFileInfo !== "function") throw new Error("getFileInfo takes messages");
    return (await getFileInfo(create(FileRequestSchema, query), this.#newCall())) as FileInfo;
  }

  /** All messages of a listing. */
  async list(query: MessageInitShape<typeof ListFilesRequestSchema>): Promise<ListFilesResponse[]> {
    const { listFiles } = this.service.handlers;
    if (typeof listFiles !== "function") throw new Error("listFiles takes messages");
    const answers = listFiles(create(ListFilesRequestSchema, query), this.#newCall());
    return await Array.fromAsync(answers as AsyncIterable<ListFilesResponse>);
  }

  /** Begins a watch. */
  async watch(
    query: MessageInitShape<typeof WatchFilesRequestSchema>,
    options: ConstructorParameters<typeof Watcher>[1] = {},
  ): Promise<{ readonly watcher: Watcher; readonly call: { end(): void } }> {
    const call = this.#newCall();
    const { watchFiles } = this.service.handlers;
    if (typeof watchFiles !== "function") throw new Error("watchFiles takes messages");
    try {
      const source = await watchFiles(create(WatchFilesRequestSchema, query), call);
      return { watcher: new Watcher(source as FrameSource, options), call };
    } catch (error) {
      call.end();
      throw error;
    }
  }

  #newCall(address?: string): FakeCall {
    const call = new FakeCall(FileService.method.downloadFile, address);
    this.#calls.push(call);
    return call;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const call of this.#calls) call.end();
    await this.service[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true });
  }
}
