// The frames file of the open segment, as its writer has it: longer than what is in it.
//
// A durable write that makes its file longer has the file system commit the file's size with it: in its journal, for ext4, which
// costs as much again as the bytes do. So the file is made longer beforehand, many writes at once. What is not written yet is
// a hole: it reads as zeros and takes no space on the disk.
//
// GF1. Behind the last frame there are only zeros, and no frame begins with them: whoever walks the file ends there.
// GF2. Only the open segment has them. `seal` cuts them off, durably, before there is a next segment; `close` too, but a crash
//      may bring them back, as it may leave them: recovery and readers of the files pass over them.
// GF3. That a file cannot be made longer is no fault: what is written makes it longer then.
import { type File, readFully } from "./file-system.ts";

/** How much longer at once: as much as there is already, within these. A journal of little traffic stays a short file. */
const AHEAD_BYTES_MIN = 64 * 1024;
const AHEAD_BYTES_MAX = 4 * 1024 * 1024;
/** Read at once where the end of what was written is looked for. */
const CHUNK_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);

export class GrowingFile {
  readonly #file: File;
  /** Never longer than this, but for what is written. */
  readonly #bytesMax: number;
  /** Of the file; what is written may be shorter. */
  #length: number;

  /** @param file in mode "append", `bytes` long */
  constructor(file: File, bytes: number, { bytesMax }: { readonly bytesMax: number }) {
    this.#file = file;
    this.#length = bytes;
    this.#bytesMax = bytesMax;
  }

  /** Writes `byteCount` bytes at the end of what is there; they are durable when it resolves. @throws what the file system says */
  async append(buffers: readonly Uint8Array[], byteCount: number, at: number): Promise<void> {
    const end = at + byteCount;
    if (end > this.#length) await this.#makeLonger(end);
    await this.#file.write(buffers, at);
  }

  /** Cuts off what is behind `bytes`: a write that failed, and the zeros. @throws what the file system says */
  async cutBack(bytes: number): Promise<void> {
    await this.#file.truncate(bytes);
    this.#length = bytes;
  }

  /** GF2. Nothing more will be written. @throws what the file system says */
  async seal(bytes: number): Promise<void> {
    if (this.#length === bytes) return;
    await this.cutBack(bytes);
    await this.#file.sync();
  }

  /** Gives the file back, cut to `bytes` if that can be (GF2); absent: as it is. */
  async close(bytes?: number): Promise<void> {
    if (bytes !== undefined && this.#length !== bytes) await this.cutBack(bytes).catch(() => undefined);
    await this.#file.close();
  }

  /** GF3. */
  async #makeLonger(end: number): Promise<void> {
    const ahead = Math.min(Math.max(end, AHEAD_BYTES_MIN), AHEAD_BYTES_MAX);
    const length = Math.max(end, Math.min(end + ahead, this.#bytesMax));
    this.#length = end;
    if (length === end) return;
    try {
      await this.#file.truncate(length);
      this.#length = length;
    } catch {
      // The write that follows says whether the disk is well.
    }
  }
}

/**
 * Where zeros begin that reach to the end of a file of `size` bytes; `start` at the least. The last frame may end with zeros of its
 * own, at most as many as a checksum has.
 */
export async function endOfWritten(file: Pick<File, "read">, start: number, size: number): Promise<number> {
  const buffer = Buffer.alloc(Math.min(CHUNK_BYTES, size - start));
  for (let end = size; end > start; end -= buffer.length) {
    const from = Math.max(start, end - buffer.length);
    const part = buffer.subarray(0, end - from);
    await readFully(file, part, from);
    if (!part.equals(ZEROS.subarray(0, part.length))) return from + part.findLastIndex((byte) => byte !== 0) + 1;
  }
  return start;
}
