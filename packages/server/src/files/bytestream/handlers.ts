// google.bytestream.ByteStream over the shared folders: the handlers.
import { create } from "@bufbuild/protobuf";
import { type ByteStream, ByteStreamWriteRequestSchema, type FileRequest, FileRequestSchema } from "@sluice/api";
import type { Call, FrameSource, ServiceHandlers } from "@sluice/rpc";
import { InvalidRequest, PermissionDenied, SluiceError } from "../../errors.ts";
import { type Action, type Authorize, type Subject, subjectOf } from "../../security/authorize.ts";
import type { FilePath, FileRoot } from "../file-path.ts";
import { decodeLent } from "../uploads/lent-requests.ts";
import { blobPath, findBlob, noBlob } from "./blobs.ts";
import { type BlobName, parseReadName, parseWriteName } from "./resource-name.ts";
import { queryWriteStatus, write, type WriteOptions, type WriteTarget } from "./write.ts";

export interface ByteStreamOptions extends WriteOptions {
  readonly roots: readonly FileRoot[];
  readonly authorize: Authorize;
  /** Checks a path, and whether it may be read. @throws PermissionDenied, InvalidRequest */
  readonly readablePathOf: (path: string, subject: Subject, field: string) => FilePath;
  /** The same for writing. */
  readonly writablePathOf: (path: string, subject: Subject, field: string) => FilePath;
  /** Opens the bytes of a file as ReadResponse messages. */
  readonly download: (request: FileRequest, path: FilePath, call: Call) => Promise<FrameSource>;
}

const FIELD = "resource_name";

export function createByteStreamHandlers(options: ByteStreamOptions): ServiceHandlers<typeof ByteStream> {
  const { roots, authorize, checksums, readablePathOf, writablePathOf, download } = options;

  /** @throws PermissionDenied */
  function blobPathOf(name: BlobName, subject: Subject, action: Action): FilePath {
    const path = blobPath(name, roots);
    authorize(subject, action, { type: "file", name: path.text });
    return path;
  }

  function targetOf(resourceName: string, subject: Subject): WriteTarget {
    const name = parseWriteName(resourceName);
    if (name.kind === "file") return { resourceName, path: writablePathOf(name.path, subject, FIELD), blob: undefined };
    const path = blobPathOf(name, subject, "write");
    if (!path.root.isWritable) throw new PermissionDenied();
    return { resourceName, path, blob: name };
  }

  return {
    async read({ resourceName, readOffset, readLimit }, call) {
      const name = parseReadName(resourceName);
      const subject = subjectOf(call);
      const path = name.kind === "file" ? readablePathOf(name.path, subject, FIELD) : blobPathOf(name, subject, "read");
      checkRange(readOffset, readLimit);
      const ifMatch = name.kind === "file" ? "" : await findBlob(name, path, checksums);
      if (ifMatch === undefined) throw noBlob(name as BlobName);
      return download(create(FileRequestSchema, { offset: readOffset, limit: readLimit, ifMatch }), path, call);
    },
    write: {
      raw: true,
      lends: true,
      async clientStreaming(requests, call) {
        const targetOfName = (name: string) => targetOf(name, subjectOf(call));
        const written = decodeLent(ByteStreamWriteRequestSchema, requests);
        return { committedSize: await write(written, call, { ...options, targetOf: targetOfName }) };
      },
    },
    queryWriteStatus: ({ resourceName }, call) => queryWriteStatus(targetOf(resourceName, subjectOf(call)), options),
  };
}

/** The specification wants OUT_OF_RANGE for an offset, and leaves the code for a limit open. */
function checkRange(readOffset: bigint, readLimit: bigint): void {
  if (readOffset < 0n) {
    throw new SluiceError("out-of-range", `Cannot read from ${readOffset}: an offset must not be negative`, {
      reason: "OFFSET_OUT_OF_RANGE",
    });
  }
  if (readLimit >= 0n) return;
  const description = `${readLimit} is negative: it takes bytes, 0 for all`;
  throw new InvalidRequest("BAD_FIELD", [{ field: "read_limit", description }]);
}
