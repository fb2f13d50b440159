// The file service: its handlers, and what they share.
//
// V1. Every entrance asks `authorize` before it opens anything.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type FileInfoSchema, type FileRequest, type FileService, type SeedFileService } from "@sluice/api";
import type { Call, HttpHandler, ServiceHandlers } from "@sluice/rpc";
import { Draining, type FieldViolation, InvalidRequest, LimitExceeded } from "../errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import { type Action, type Authorize, type Subject, subjectOf } from "../security/authorize.ts";
import type { Clock } from "../store/contract.ts";
import { BlockPool } from "./block-pool.ts";
import { checkRoots } from "./check-roots.ts";
import { Checksums } from "./checksums.ts";
import { Download, type DownloadOptions, type DownloadResources } from "./download.ts";
import { EtagMismatch, OffsetOutOfRange } from "./file-errors.ts";
import { fileInfo } from "./file-info.ts";
import { type FilePath, type FileRoot, parseFilePath } from "./file-path.ts";
import { etagOf } from "./file-version.ts";
import { Hasher } from "./hasher.ts";
import { createFileHttpHandler } from "./http.ts";
import { listFiles, parseListQuery } from "./list.ts";
import { openFileInside, openInside } from "./open-inside.ts";

export interface FileServiceOptions {
  readonly roots: readonly FileRoot[];
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly limits?: Limits;
}

export interface FileServiceHandle extends AsyncDisposable {
  readonly handlers: ServiceHandlers<typeof FileService>;
  /** Of the unversioned service. */
  readonly seedHandlers: ServiceHandlers<typeof SeedFileService>;
  /** Of FILES_PATH. */
  readonly httpHandler: HttpHandler;
  /** Refuses further downloads; those that run go on. Idempotent. */
  drain(): void;
  /** How many downloads run now. */
  readonly downloads: number;
}

const DEFAULT_CHUNK_BYTES = 256 * 1024;
const CHUNK_BYTES_MAX = 1024 * 1024;
/** A download at a bounded rate gets smaller chunks, so that it flows: four a second, but not below this. */
const CHUNK_BYTES_MIN = 1024;
const CHUNKS_PER_SECOND = 4;

/** @throws SluiceError when a root cannot be read */
export async function openFileService(options: FileServiceOptions): Promise<FileServiceHandle> {
  const { roots, authorize, clock, limits: { downloadsMax } = DEFAULT_LIMITS } = options;
  await checkRoots(roots);
  const hasher = new Hasher();
  const resources: DownloadResources = { clock, hasher, pool: new BlockPool(), checksums: new Checksums(hasher) };
  let downloads = 0;
  let isDraining = false;

  function pathOf(request: { readonly filePath: string }, subject: Subject, action: Action): FilePath {
    const path = parseFilePath(request.filePath, roots);
    authorize(subject, action, { type: "file", name: path.text });
    return path;
  }

  /** Counts a download. Returns what counts it off again. @throws Draining, LimitExceeded */
  function admit(): () => void {
    if (isDraining) throw new Draining();
    if (downloads >= downloadsMax) {
      const message = `Cannot open another download: the limit is ${downloadsMax} at the same time; try again later`;
      throw new LimitExceeded(message, "downloads", { retryAfterMs: 1_000 });
    }
    downloads++;
    return () => {
      downloads--;
    };
  }

  async function downloadFile(request: FileRequest, call: Call): Promise<Download> {
    const asked = parseDownload(request, pathOf(request, subjectOf(call), "read"));
    call.onEnd(admit());
    const download = await openDownload(request, asked, resources);
    call.onEnd(() => {
      download.close();
    });
    return download;
  }

  const getFileInfo = (request: FileRequest, call: Call) =>
    describeFile(pathOf(request, subjectOf(call), "describe"), request, resources);

  return {
    handlers: {
      downloadFile,
      getFileInfo,
      listFiles(request, call) {
        const query = parseListQuery(request, roots);
        authorize(subjectOf(call), "describe", { type: "file", name: query.folder?.text ?? "" });
        return listFiles(query, { roots, isEnded: () => call.isEnded });
      },
    },
    seedHandlers: { downloadFile, getFileInfo },
    httpHandler: createFileHttpHandler({
      checksums: resources.checksums,
      admit(filePath, request) {
        const path = pathOf({ filePath }, subjectOf(request), "read");
        request.signal.addEventListener("abort", admit(), { once: true });
        return path;
      },
    }),
    drain() {
      isDraining = true;
    },
    get downloads() {
      return downloads;
    },
    [Symbol.asyncDispose]: () => hasher[Symbol.asyncDispose](),
  };
}

/** A request, checked as far as it can be without the file. @throws InvalidRequest */
function parseDownload(request: FileRequest, path: FilePath): DownloadOptions {
  const { chunkSize, offset, limit, maxBytesPerSecond, chunkChecksums, follow } = request;
  const violations: FieldViolation[] = [];
  if (offset < 0n) violations.push({ field: "offset", description: `${offset} is negative` });
  if (maxBytesPerSecond < 0n) {
    violations.push({ field: "max_bytes_per_second", description: `${maxBytesPerSecond} is negative; 0 is no bound` });
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_FIELD", violations);
  const bytesPerSecond = maxBytesPerSecond === 0n ? undefined : Number(maxBytesPerSecond);
  const wanted = chunkSize <= 0 ? DEFAULT_CHUNK_BYTES : Math.min(chunkSize, CHUNK_BYTES_MAX);
  const fluent = Math.max(
    CHUNK_BYTES_MIN,
    Math.floor((bytesPerSecond ?? Number.POSITIVE_INFINITY) / CHUNKS_PER_SECOND),
  );
  return {
    path,
    chunkBytes: Math.min(wanted, fluent),
    offset: Number(offset),
    limit: limit <= 0n ? Number.POSITIVE_INFINITY : Number(limit),
    hasCrc32: chunkChecksums,
    bytesPerSecond,
    isFollowing: follow,
  };
}

/** @throws PermissionDenied, InvalidRequest, EtagMismatch, OffsetOutOfRange */
async function openDownload(
  request: FileRequest,
  options: DownloadOptions,
  resources: DownloadResources,
): Promise<Download> {
  const { path } = options;
  const file = await openFileInside(path);
  try {
    const etag = etagOf(file.version);
    const { size } = file.version;
    if (request.ifMatch !== "" && request.ifMatch !== etag) throw new EtagMismatch(path.text, request.ifMatch, etag);
    if (request.offset > BigInt(size)) throw new OffsetOutOfRange(path.text, request.offset, size);
    return new Download(file, options, resources);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function describeFile(
  path: FilePath,
  request: FileRequest,
  { checksums, clock }: DownloadResources,
): Promise<MessageInitShape<typeof FileInfoSchema>> {
  const { checksumWaitMs, ifMatch } = request;
  if (checksumWaitMs !== undefined && checksumWaitMs < 0) {
    const description = `${checksumWaitMs} is negative: it takes milliseconds, 0 for not at all`;
    throw new InvalidRequest("BAD_FIELD", [{ field: "checksum_wait_ms", description }]);
  }
  const file = await openInside(path);
  const { version, isFolder } = file;
  const etag = etagOf(version);
  if (isFolder || (ifMatch !== "" && ifMatch !== etag)) {
    await file.close();
    if (isFolder) return fileInfo(path.text, { version, isFolder });
    throw new EtagMismatch(path.text, ifMatch, etag);
  }
  const computing = checksums.compute(file);
  const sha256 = checksumWaitMs === undefined ? await computing : await within(computing, checksumWaitMs, clock);
  return fileInfo(path.text, { version, isFolder, sha256 });
}

/** What a promise gives within a time; undefined when it does not, and when it fails after that. */
function within<T>(promise: Promise<T>, ms: number, clock: Clock): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(() => {
      resolve(undefined);
    }, ms);
    promise.then(resolve, reject).finally(() => {
      timer.cancel();
    });
  });
}
