// What can go wrong with files, beyond what goes wrong everywhere.
import { InvalidRequest, SluiceError } from "../errors.ts";
import { errorCode } from "../store/file-system.ts";

/** The file was changed while it was read. To recover: read again, the new version, from its beginning. */
export class FileChanged extends SluiceError {
  override readonly name = "FileChanged";
  /** @param offset up to which what was sent is of the version that the read began with */
  constructor(path: string, offset: number, how: string) {
    super("aborted", `Cannot go on with "${path}" at ${offset}: the file was ${how} while it was read; begin again`, {
      reason: "FILE_CHANGED",
      metadata: { offset: String(offset) },
    });
  }
}

/** The file is no longer the version that was asked for. To recover: ask for its etag, begin again. */
export class EtagMismatch extends SluiceError {
  override readonly name = "EtagMismatch";
  constructor(path: string, wanted: string, actual: string) {
    super("aborted", `Cannot use "${path}": its etag is ${actual}, not ${wanted}; the file has changed, begin again`, {
      reason: "ETAG_MISMATCH",
      metadata: { etag: actual },
    });
  }
}

/** An offset lies behind the end. To recover: ask for the size. */
export class OffsetOutOfRange extends SluiceError {
  override readonly name = "OffsetOutOfRange";
  constructor(path: string, offset: bigint, size: number) {
    super("out-of-range", `Cannot read "${path}" from ${offset}: it ends at ${size}`, {
      reason: "OFFSET_OUT_OF_RANGE",
      metadata: { size: String(size) },
    });
  }
}

/** The server ends a download that could have gone on. To recover: call again with this offset and if_match. */
export class DownloadInterrupted extends SluiceError {
  override readonly name = "DownloadInterrupted";
  constructor(place: { readonly offset: number; readonly etag: string; readonly retryAfterMs: number | undefined }) {
    const { offset, etag, retryAfterMs = 1_000 } = place;
    super(
      "unavailable",
      `Cannot go on with this download: the server or its connection is about to close; go on at offset ${offset}`,
      { reason: "STREAM_INTERRUPTED", retryAfterMs, metadata: { offset: String(offset), etag } },
    );
  }
}

/** Somebody else works on the upload. To recover: wait, or end the other call. */
export class UploadInUse extends SluiceError {
  override readonly name = "UploadInUse";
  constructor(path: string, user: string) {
    super("aborted", `Cannot work on the upload of "${path}": ${user} under way; try again when that has ended`, {
      reason: "UPLOAD_IN_USE",
    });
  }
}

/** What comes does not begin where the bytes so far end. To recover: go on at the offset. */
export class UploadOffsetOutOfRange extends SluiceError {
  override readonly name = "UploadOffsetOutOfRange";
  constructor(path: string, offset: bigint, end: number) {
    super("out-of-range", `Cannot take bytes of "${path}" at ${offset}: the bytes so far end at ${end}; go on there`, {
      reason: "OFFSET_OUT_OF_RANGE",
      metadata: { offset: String(end) },
    });
  }
}

/** It is, or becomes, larger than the server takes. To recover: raise the limit, or send several files. */
export class UploadTooLarge extends SluiceError {
  override readonly name = "UploadTooLarge";
  constructor(path: string, byteCount: number, bytesMax: number) {
    const message = `Cannot take ${byteCount} bytes for "${path}": the limit of one upload is ${bytesMax}`;
    super("limit-exceeded", message, {
      reason: "UPLOAD_TOO_LARGE",
      quota: { subject: "bytes of an upload", description: message },
    });
  }
}

/** What comes ends behind the size that the upload was started with. */
export function uploadTooLong(field: string, end: number, size: number): InvalidRequest {
  const description = `ends at ${end}, behind the ${size} bytes that the upload was started with`;
  return new InvalidRequest("UPLOAD_TOO_LONG", [{ field, description }]);
}

/** No room on the disk. What was received before is kept. To recover: make room, then go on at the offset. */
class NoSpaceForUpload extends SluiceError {
  override readonly name = "NoSpaceForUpload";
  constructor(path: string, offset: number) {
    super("unavailable", `Cannot go on with the upload of "${path}" at ${offset}: the disk is full; free space`, {
      reason: "DISK_FULL",
      retryAfterMs: 5_000,
      metadata: { offset: String(offset) },
    });
  }
}

/** NoSpaceForUpload where the system says that a disk or a quota is full; else the error itself. */
export function explainNoSpace(error: unknown, path: string, offset: number): unknown {
  const code = errorCode(error);
  return code === "ENOSPC" || code === "EDQUOT" ? new NoSpaceForUpload(path, offset) : error;
}

/** An upload is not written to for too long. To recover: go on at the offset. */
export class UploadStalled extends SluiceError {
  override readonly name = "UploadStalled";
  constructor(path: string, options: { readonly offset: number; readonly afterMs: number }) {
    const { offset, afterMs } = options;
    super("unavailable", `The upload of "${path}" stood still for ${afterMs} ms and was cut; go on at ${offset}`, {
      reason: "UPLOAD_STALLED",
      retryAfterMs: 1_000,
      metadata: { offset: String(offset) },
    });
  }
}

/** What arrived is not what the client says that it sent. Nothing of it was taken. */
export class ChecksumMismatch extends SluiceError {
  override readonly name = "ChecksumMismatch";
  constructor(what: string, options: { readonly expected: string; readonly actual: string }) {
    const { expected, actual } = options;
    super("invalid-argument", `Cannot take ${what}: its checksum is ${actual}, not ${expected}`, {
      reason: "CHECKSUM_MISMATCH",
      metadata: { expected, actual },
    });
  }
}

/** A file is in the way. To recover: choose another name, or say that it may be replaced. */
export class FileExists extends SluiceError {
  override readonly name = "FileExists";
  constructor(path: string) {
    super("aborted", `Cannot put a new file at "${path}": there is one already`, { reason: "FILE_EXISTS" });
  }
}

/** Not all of the upload is there. To recover: go on at the offset. */
export class UploadIncomplete extends SluiceError {
  override readonly name = "UploadIncomplete";
  constructor(path: string, offset: number, size: number) {
    super("failed-precondition", `Cannot commit the upload of "${path}": ${offset} of its ${size} bytes are there`, {
      reason: "UPLOAD_INCOMPLETE",
      metadata: { offset: String(offset), size: String(size) },
    });
  }
}
