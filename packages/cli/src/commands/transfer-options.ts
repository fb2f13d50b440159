// Options that the commands for files share, and how a file reads as JSON.
import type { FileInfo } from "@sluice/client";
import { InvalidArgumentError } from "commander";

const PARALLEL_MAX = 64;

export const PARALLEL_RANGE = `1 to ${PARALLEL_MAX}`;

/** @throws InvalidArgumentError */
export function parseParallel(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= PARALLEL_MAX) return count;
  throw new InvalidArgumentError(`Give a whole number from ${PARALLEL_RANGE}.`);
}

/** As protobuf's JSON has it, every field said. */
export function fileToJson(info: FileInfo): object {
  const { filePath, size, modifiedTime, mimeType, checksum, etag, isDirectory } = info;
  return { filePath, size, modifiedTime, mimeType, checksum, etag, isDirectory };
}
