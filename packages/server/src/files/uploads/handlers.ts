// The handlers of uploads: parse, authorize, do.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type FileService, type StartUploadRequest, UploadFileRequestSchema, type UploadSchema } from "@sluice/api";
import type { ServiceHandlers } from "@sluice/rpc";
import { type FieldViolation, InvalidRequest, PermissionDenied } from "../../errors.ts";
import { type Subject, subjectOf } from "../../security/authorize.ts";
import type { Clock } from "../../store/contract.ts";
import type { Changes } from "../change.ts";
import type { Checksums } from "../checksums.ts";
import type { FilePath } from "../file-path.ts";
import { badChecksum, commitUpload, findSha256, parseSha256 } from "./commit.ts";
import type { Turns } from "../turns.ts";
import { Throttle } from "./throttle.ts";
import { decodeLent } from "./lent-requests.ts";
import type { Upload } from "./upload.ts";
import { uploadFile } from "./upload-stream.ts";
import { DEFAULT_TTL_MS, type Uploads } from "./uploads.ts";

export interface UploadHandlersOptions {
  readonly uploads: Uploads;
  readonly changes: Changes;
  readonly checksums: Checksums;
  readonly clock: Clock;
  readonly stallMs: number;
  /** Of what arrives for uploads. */
  readonly turns: Turns;
  /** Checks a path, and whether it may be written. @throws PermissionDenied, InvalidRequest */
  readonly writablePathOf: (path: string, subject: Subject) => FilePath;
}

type UploadHandlers = Pick<
  ServiceHandlers<typeof FileService>,
  "startUpload" | "uploadFile" | "getUpload" | "commitUpload" | "abortUpload"
>;

const TTL_MS_MAX = 30 * DEFAULT_TTL_MS;

export function createUploadHandlers(options: UploadHandlersOptions): UploadHandlers {
  const { uploads, changes, checksums, clock, stallMs, turns, writablePathOf } = options;

  const describe = (upload: Upload): MessageInitShape<typeof UploadSchema> => ({
    uploadId: upload.state.id,
    filePath: upload.state.path,
    durableOffset: BigInt(upload.durableOffset),
    ...(upload.state.size === undefined ? {} : { size: BigInt(upload.state.size) }),
    expireTime: uploads.expireTimeOf(upload.state.id),
    isCommitted: upload.state.phase === "committed",
  });

  /** @throws NotFound, PermissionDenied */
  function find(id: string, subject: Subject): { readonly upload: Upload; readonly path: FilePath } {
    const { upload } = uploads.find(id);
    return { upload, path: writablePathOf(upload.state.path, subject) };
  }

  return {
    async startUpload(request, call) {
      const path = writablePathOf(request.filePath, subjectOf(call));
      const upload = await uploads.start(path.root, { path: path.text, ...parseStart(request) });
      return { upload: describe(upload) };
    },
    uploadFile: {
      raw: true,
      lends: true,
      bidi: (requests, call) =>
        uploadFile(decodeLent(UploadFileRequestSchema, requests), call, {
          find(id) {
            const { upload } = find(id, subjectOf(call));
            if (upload.state.phase !== "committed") return upload;
            throw new InvalidRequest("UPLOAD_COMMITTED", [
              { field: "upload_id", description: "is of a committed upload" },
            ]);
          },
          touch: (upload) => uploads.touch(upload.state.id),
          openThrottle: (bytesPerSecond) =>
            new Throttle({ turns, clock, address: subjectOf(call).address, bytesPerSecond }),
          clock,
          stallMs,
        }),
    },
    getUpload: ({ uploadId }, call) => ({ upload: describe(find(uploadId, subjectOf(call)).upload) }),
    commitUpload({ uploadId, checksum }, call) {
      const { upload, path } = find(uploadId, subjectOf(call));
      return commitUpload(upload, { path, expected: parseSha256(checksum), changes, checksums });
    },
    async abortUpload({ uploadId }, call) {
      try {
        find(uploadId, subjectOf(call));
      } catch (error) {
        if (error instanceof PermissionDenied) throw error;
        return {};
      }
      await uploads.abort(uploadId);
      return {};
    },
  };
}

/** @throws InvalidRequest with all that is wrong */
function parseStart(request: StartUploadRequest) {
  const { size, checksum, ifMatch, ifNoneMatch, ttlMs, makeDirectories } = request;
  const violations: FieldViolation[] = [];
  if (size !== undefined && (size < 0n || size > BigInt(Number.MAX_SAFE_INTEGER))) {
    violations.push({ field: "size", description: `${size} is no size of a file` });
  }
  const sha256 = findSha256(checksum);
  if (sha256 === undefined) violations.push(badChecksum(checksum));
  if (ttlMs < 0n || ttlMs > BigInt(TTL_MS_MAX)) {
    violations.push({ field: "ttl_ms", description: `${ttlMs} is not from 0 (a day) to ${TTL_MS_MAX}` });
  }
  if (ifMatch !== "" && ifNoneMatch) {
    violations.push({ field: "if_none_match", description: "a file cannot both have an etag and not be there" });
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_FIELD", violations);
  return {
    size: size === undefined ? undefined : Number(size),
    sha256: sha256 ?? "",
    ifMatch,
    mustBeNew: ifNoneMatch,
    makesFolders: makeDirectories,
    ttlMs: ttlMs === 0n ? DEFAULT_TTL_MS : Number(ttlMs),
  };
}
