// GetFileInfo: what is known of a file, with its checksum when there is time for it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FileInfoSchema, FileRequest } from "@sluice/api";
import { InvalidRequest } from "../errors.ts";
import type { Clock } from "../store/contract.ts";
import type { DownloadResources } from "./download.ts";
import { EtagMismatch } from "./file-errors.ts";
import { fileInfo } from "./file-info.ts";
import type { FilePath } from "./file-path.ts";
import { etagOf } from "./file-version.ts";
import { openInside } from "./open-inside.ts";

/** @throws PermissionDenied, InvalidRequest, EtagMismatch, LimitExceeded */
export async function describeFile(
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
