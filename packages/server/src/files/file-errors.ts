// What can go wrong with files, beyond what goes wrong everywhere.
import { SluiceError } from "../errors.ts";

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
