// FileInfo: what is said of a file without its contents.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FileInfoSchema } from "@sluice/api";
import mime from "mime";
import { etagOf, type FileVersion } from "./file-version.ts";

const BINARY = "application/octet-stream";

/** @param path as answers show it */
export function fileInfo(
  path: string,
  options: { readonly version: FileVersion; readonly isFolder: boolean; readonly sha256?: string | undefined },
): MessageInitShape<typeof FileInfoSchema> {
  const { version, isFolder, sha256 = "" } = options;
  if (isFolder) {
    const modifiedTime = version.modifiedNs;
    return { filePath: path, modifiedTime, mimeType: "inode/directory", etag: etagOf(version), isDirectory: true };
  }
  return {
    filePath: path,
    size: BigInt(version.size),
    modifiedTime: version.modifiedNs,
    mimeType: mimeTypeOf(path),
    checksum: sha256,
    etag: etagOf(version),
  };
}

/** By the name's extension (IANA's registry and common usage). */
export function mimeTypeOf(path: string): string {
  return mime.getType(path) ?? BINARY;
}
