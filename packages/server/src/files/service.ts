// The file service: its handlers, and what they share.
//
// V1. Every entrance asks `authorize` before it opens anything.
import type { ByteStream, FileRequest, FileService, SeedFileService } from "@sluice/api";
import type { Call, FrameSource, HttpHandler, HttpRequest, ServiceHandlers } from "@sluice/rpc";
import { PermissionDenied } from "../errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import { type Action, type Authorize, type Subject, subjectOf } from "../security/authorize.ts";
import type { Clock } from "../store/contract.ts";
import type { FileSystem } from "../store/file-system.ts";
import { BlockPool } from "./block-pool.ts";
import { createByteStreamHandlers } from "./bytestream/handlers.ts";
import { Changes } from "./change.ts";
import { checkRoots } from "./check-roots.ts";
import { Checksums } from "./checksums.ts";
import { describeFile } from "./describe-file.ts";
import type { DownloadOptions, DownloadResources } from "./download.ts";
import { DownloadCount, openDownload, parseDownload } from "./downloads.ts";
import { fileInfo } from "./file-info.ts";
import { type FilePath, type FileRoot, parseFilePath } from "./file-path.ts";
import { Hasher } from "./hasher.ts";
import { createFileHttpHandler } from "./http.ts";
import { listFiles, parseListQuery } from "./list.ts";
import { Opener } from "./opener.ts";
import { type Rates, Turns } from "./turns.ts";
import { createTusHandler } from "./tus.ts";
import { FolderWatches } from "./watch-folders.ts";
import { parseWatchQuery } from "./watch-query.ts";
import { Watches } from "./watches.ts";
import { createUploadHandlers } from "./uploads/handlers.ts";
import { Uploads } from "./uploads/uploads.ts";

export interface FileServiceOptions {
  readonly roots: readonly FileRoot[];
  readonly authorize: Authorize;
  /** Of what is changed in the folders; what is read is read from the system itself. */
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly limits?: Limits;
  /** Of what is read to be sent. Default: none. */
  readonly rates?: Rates;
  /** Of what arrives for uploads. Default: none. */
  readonly uploadRates?: Rates;
  /** How long an upload may stand still before its call is ended. Default: a minute. */
  readonly uploadStallMs?: number;
  /** Of watches whose request says nothing. Default: 30 s. */
  readonly heartbeatMs?: number;
}

export interface FileServiceHandle extends AsyncDisposable {
  readonly handlers: ServiceHandlers<typeof FileService>;
  /** Of the unversioned service. */
  readonly seedHandlers: ServiceHandlers<typeof SeedFileService>;
  readonly byteStreamHandlers: ServiceHandlers<typeof ByteStream>;
  /** Of FILES_PATH. */
  readonly httpHandler: HttpHandler;
  /** Of UPLOADS_PATH. */
  readonly tusHandler: HttpHandler;
  /** Ends all watches and refuses further ones, and further downloads; downloads that run go on. Idempotent. */
  drain(): void;
  /** How many downloads run now, and how many uploads are kept. */
  readonly downloads: number;
  readonly uploads: number;
  /** How many watches are open. */
  readonly watches: number;
}

const HEARTBEAT_MS = 30_000;
const UPLOAD_STALL_MS = 60_000;

/** @throws SluiceError when a root cannot be read, or not be written to although it should */
export async function openFileService(options: FileServiceOptions): Promise<FileServiceHandle> {
  const { roots, authorize, fileSystem, clock, limits = DEFAULT_LIMITS } = options;
  const { uploadStallMs = UPLOAD_STALL_MS, heartbeatMs = HEARTBEAT_MS } = options;
  await checkRoots(roots);
  const hasher = new Hasher();
  const opener = new Opener(roots);
  const checksums = new Checksums(hasher);
  const turns = new Turns(clock, options.rates);
  const resources: DownloadResources = { clock, hasher, pool: new BlockPool(), turns, checksums };
  const { uploadsMax, uploadBytesMax } = limits;
  const changes = new Changes(fileSystem);
  const uploads = await Uploads.open({ roots, fileSystem, changes, hasher, clock, uploadsMax, uploadBytesMax });
  const downloads = new DownloadCount(limits.downloadsMax);
  const watches = new Watches({ roots, watching: new FolderWatches(limits.watchHintsMax), clock, limits });

  const { pathOf, writablePathOf } = createGate(roots, authorize);
  const stallMs = uploadStallMs;
  const uploadTurns = new Turns(clock, options.uploadRates);
  const uploading = { uploads, changes, checksums, clock, stallMs, uploadBytesMax, turns: uploadTurns, writablePathOf };

  const reading = createReading({ resources, opener, downloads, pathOf });

  return {
    handlers: {
      ...reading.handlers,
      ...createFolderHandlers({ roots, authorize, watches, heartbeatMs }),
      ...createUploadHandlers(uploading),
      ...createChangeHandlers(changes, writablePathOf),
    },
    seedHandlers: reading.handlers,
    byteStreamHandlers: createByteStreamHandlers({
      ...uploading,
      roots,
      authorize,
      readablePathOf: (text, subject, field) => pathOf(text, subject, "read", field),
      download: (request, path, call) => reading.download(request, { path, call, message: "bytes" }),
    }),
    httpHandler: createFileHttpHandler({ checksums, opener, clock, admit: (...request) => reading.admit(...request) }),
    tusHandler: createTusHandler(uploading),
    drain() {
      downloads.drain();
      watches.drain();
    },
    get downloads() {
      return downloads.count;
    },
    get uploads() {
      return uploads.count;
    },
    get watches() {
      return watches.count;
    },
    async [Symbol.asyncDispose]() {
      await watches[Symbol.asyncDispose]();
      await uploads[Symbol.asyncDispose]();
      await opener[Symbol.asyncDispose]();
      await hasher[Symbol.asyncDispose]();
    },
  };
}

/** V1: who gives a path gets it back checked, or is refused. */
function createGate(roots: readonly FileRoot[], authorize: Authorize) {
  /** @throws PermissionDenied, InvalidRequest */
  function pathOf(text: string, subject: Subject, action: Action, field?: string): FilePath {
    const path = parseFilePath(text, roots, field);
    authorize(subject, action, { type: "file", name: path.text });
    return path;
  }

  /** @throws PermissionDenied also when it is in no folder that may be written to */
  function writablePathOf(text: string, subject: Subject, field?: string): FilePath {
    const path = pathOf(text, subject, "write", field);
    if (!path.root.isWritable) throw new PermissionDenied();
    return path;
  }

  return { pathOf, writablePathOf };
}

/** What reads a file, by whatever protocol. */
function createReading(options: {
  readonly resources: DownloadResources;
  readonly opener: Opener;
  readonly downloads: DownloadCount;
  readonly pathOf: (text: string, subject: Subject, action: Action) => FilePath;
}) {
  const { resources, opener, downloads, pathOf } = options;

  async function download(
    request: FileRequest,
    { path, call, message }: { path: FilePath; call: Call; message: DownloadOptions["message"] },
  ): Promise<FrameSource> {
    const asked = parseDownload(request, path, message);
    call.onEnd(downloads.admit());
    const opened = await openDownload(request, asked, { resources, opener, address: subjectOf(call).address });
    call.onEnd(() => {
      opened.close();
    });
    return opened;
  }

  return {
    download,
    handlers: {
      downloadFile: (request: FileRequest, call: Call) =>
        download(request, { path: pathOf(request.filePath, subjectOf(call), "read"), call, message: "chunk" }),
      getFileInfo: (request: FileRequest, call: Call) =>
        describeFile(pathOf(request.filePath, subjectOf(call), "describe"), request, resources),
    },
    /** Of plain HTTP. */
    admit(filePath: string, request: HttpRequest) {
      const subject = subjectOf(request);
      const path = pathOf(filePath, subject, "read");
      request.signal.addEventListener("abort", downloads.admit(), { once: true });
      const seat = resources.turns.join(subject.address);
      request.signal.addEventListener("abort", () => seat.leave(), { once: true });
      return { path, seat };
    },
  };
}

function createFolderHandlers(options: {
  readonly roots: readonly FileRoot[];
  readonly authorize: Authorize;
  readonly watches: Watches;
  readonly heartbeatMs: number;
}): Pick<ServiceHandlers<typeof FileService>, "listFiles" | "watchFiles"> {
  const { roots, authorize, watches, heartbeatMs } = options;
  return {
    listFiles(request, call) {
      const query = parseListQuery(request, roots);
      authorize(subjectOf(call), "describe", { type: "file", name: query.folder?.text ?? "" });
      return listFiles(query, { roots, isEnded: () => call.isEnded });
    },
    async watchFiles(request, call) {
      const query = parseWatchQuery(request, { roots, heartbeatMs });
      authorize(subjectOf(call), "describe", { type: "file", name: query.folder?.text ?? "" });
      const watch = await watches.open(query);
      call.onEnd(() => {
        watch.close();
      });
      return watch;
    },
  };
}

function createChangeHandlers(
  changes: Changes,
  pathOf: (text: string, subject: Subject, field?: string) => FilePath,
): Pick<ServiceHandlers<typeof FileService>, "deleteFile" | "moveFile" | "makeDirectory"> {
  return {
    async deleteFile({ filePath, ifMatch }, call) {
      await changes.remove(pathOf(filePath, subjectOf(call)), { ifMatch });
      return {};
    },
    async moveFile({ filePath, newPath, ifMatch, overwrite }, call) {
      const from = pathOf(filePath, subjectOf(call));
      const to = pathOf(newPath, subjectOf(call), "new_path");
      return { file: fileInfo(to.text, await changes.move(from, to, { ifMatch, overwrite })) };
    },
    async makeDirectory({ path }, call) {
      await changes.makeFolder(pathOf(path, subjectOf(call), "path"));
      return {};
    },
  };
}
