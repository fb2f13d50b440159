// Which version of a file this is: what the file system says of its contents' identity, size and times.
import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";

/** Two descriptors with the same version hold the same bytes, as far as the file system's clock can tell. */
export interface FileVersion {
  readonly device: bigint;
  readonly inode: bigint;
  /** Bytes. */
  readonly size: number;
  /** Unix ns: of the contents, and of contents or name, mode, links. */
  readonly modifiedNs: bigint;
  readonly changedNs: bigint;
}

export function versionOf(stats: BigIntStats): FileVersion {
  const { dev, ino, size, mtimeNs, ctimeNs } = stats;
  return { device: dev, inode: ino, size: Number(size), modifiedNs: mtimeNs, changedNs: ctimeNs };
}

/** Whether the contents are the same; a file that was only renamed has them still. */
export function hasSameContents(a: FileVersion, b: FileVersion): boolean {
  return isSameFile(a, b) && a.size === b.size && a.modifiedNs === b.modifiedNs;
}

export function isSameFile(a: FileVersion, b: FileVersion): boolean {
  return a.device === b.device && a.inode === b.inode;
}

/** Opaque; 22 characters. Tells nothing of the server's disks. */
export function etagOf({ device, inode, size, modifiedNs }: FileVersion): string {
  const digest = createHash("sha256").update(`${device}:${inode}:${size}:${modifiedNs}`).digest();
  return digest.subarray(0, 16).toString("base64url");
}
