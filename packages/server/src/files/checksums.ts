// SHA-256 of whole files, remembered by version: what did not change is not read again.
//
// CK1. A checksum is remembered only for a version that the descriptor still had when all was read.
// CK2. Who asks for one that is being computed gets the same computation. It goes on when nobody waits any more: who
//      asked with little patience finds it later.
import { LimitExceeded } from "../errors.ts";
import { type FileVersion, hasSameContents } from "./file-version.ts";
import type { Hasher } from "./hasher.ts";
import type { OpenFile } from "./open-inside.ts";

/** Files whose checksum is remembered: about 300 bytes each. */
const REMEMBERED_MAX = 10_000;
/** Files that are read for their checksum at the same time. */
const COMPUTED_MAX = 64;

interface Known {
  readonly version: FileVersion;
  readonly sha256: string;
}

export class Checksums {
  readonly #hasher: Hasher;
  /** By file, the one used last at the end. */
  readonly #known = new Map<string, Known>();
  readonly #computing = new Map<
    string,
    { readonly version: FileVersion; readonly result: Promise<string | undefined> }
  >();

  constructor(hasher: Hasher) {
    this.#hasher = hasher;
  }

  /** In hex, when it is known for just this version. */
  find(version: FileVersion): string | undefined {
    const key = keyOf(version);
    const known = this.#known.get(key);
    if (known === undefined) return undefined;
    this.#known.delete(key);
    // A change within a tick of the file system's clock keeps size and times of contents, but not the time of change.
    if (!hasSameContents(known.version, version) || known.version.changedNs !== version.changedNs) return undefined;
    this.#known.set(key, known);
    return known.sha256;
  }

  remember(version: FileVersion, sha256: string): void {
    const key = keyOf(version);
    this.#known.delete(key);
    this.#known.set(key, { version, sha256 });
    const [oldest] = this.#known.keys();
    if (this.#known.size > REMEMBERED_MAX && oldest !== undefined) this.#known.delete(oldest);
  }

  /**
   * The checksum of a file, read where it is not known. Takes the file over and closes it. Resolves with undefined when
   * the file changed while it was read. @throws LimitExceeded when too many are being read already
   */
  async compute(file: OpenFile): Promise<string | undefined> {
    const key = keyOf(file.version);
    const known = this.find(file.version);
    const running = this.#computing.get(key);
    const isRunning = running !== undefined && hasSameContents(running.version, file.version);
    if (known !== undefined || isRunning || this.#computing.size >= COMPUTED_MAX) {
      await file.close();
      if (known !== undefined) return known;
      if (isRunning) return await running.result;
      throw new LimitExceeded(
        `Cannot compute a checksum now: ${COMPUTED_MAX} files are being read for theirs; try again`,
        "checksums computed at the same time",
        { retryAfterMs: 5_000 },
      );
    }
    const result = this.#read(file);
    this.#computing.set(key, { version: file.version, result });
    try {
      return await result;
    } finally {
      this.#computing.delete(key);
    }
  }

  async #read(file: OpenFile): Promise<string | undefined> {
    try {
      const { version } = file;
      const sha256 = await this.#hasher.hashFile(file.fd, version.size);
      const now = await file.currentVersion();
      if (!hasSameContents(now, version) || now.changedNs !== version.changedNs) return undefined;
      this.remember(version, sha256);
      return sha256;
    } finally {
      await file.close();
    }
  }
}

function keyOf({ device, inode }: FileVersion): string {
  return `${device}:${inode}`;
}
