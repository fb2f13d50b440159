// The file of a checkpoint: sections, one after the other, each of which proves itself (docs/formats/notifications.md).
//
// F1. It is written beside, and takes its name when all of it is durable: a file of that name is whole, or damaged.
// F2. Synced in steps: what the journal commits meanwhile does not wait for hundreds of megabytes.
import { crc32 } from "node:zlib";
import { errorCode, type File, type FileSystem, readFully } from "../../store/file-system.ts";
import { PART_SUFFIX } from "../../store/atomic-file.ts";

export const CHECKPOINT_FILE = "CHECKPOINT";

/** In their order; of ITEMS, USER_ROWS and USERS any number. */
export const Section = { STATE: 1, ITEMS: 2, USER_ROWS: 3, USERS: 4, END: 5 } as const;
export type SectionKind = (typeof Section)[keyof typeof Section];

const MAGIC = Buffer.from("sluice notifications 1\n");
/** Kind, bytes of the payload, CRC-32 of both and of the payload: 4 bytes each, the least first. */
const HEADER_BYTES = 12;
const SYNC_BYTES = 8 * 1024 * 1024;

export class CheckpointWriter {
  readonly #fileSystem: FileSystem;
  readonly #folder: string;
  readonly #file: File;
  #position: number = MAGIC.length;
  #synced = 0;

  private constructor(fileSystem: FileSystem, folder: string, file: File) {
    this.#fileSystem = fileSystem;
    this.#folder = folder;
    this.#file = file;
  }

  static async create(fileSystem: FileSystem, folder: string): Promise<CheckpointWriter> {
    const file = await fileSystem.open(`${folder}/${CHECKPOINT_FILE}${PART_SUFFIX}`, "create");
    try {
      await file.write([MAGIC], 0);
      return new CheckpointWriter(fileSystem, folder, file);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** @param parts of the payload, in their order */
  async write(kind: SectionKind, parts: readonly Uint8Array[]): Promise<void> {
    const header = Buffer.alloc(HEADER_BYTES);
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    header.writeUInt32LE(kind, 0);
    header.writeUInt32LE(size, 4);
    header.writeUInt32LE(sumOf(header, parts), 8);
    await this.#file.write([header, ...parts], this.#position);
    this.#position += HEADER_BYTES + size;
    if (this.#position - this.#synced < SYNC_BYTES) return;
    this.#synced = this.#position;
    await this.#file.sync();
  }

  /** F1. */
  async finish(): Promise<void> {
    await this.#file.sync();
    await this.#file.close();
    const path = `${this.#folder}/${CHECKPOINT_FILE}`;
    await this.#fileSystem.rename(`${path}${PART_SUFFIX}`, path);
    await this.#fileSystem.syncFolder(this.#folder);
  }

  /** What was written is worth nothing. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await this.#fileSystem.remove(`${this.#folder}/${CHECKPOINT_FILE}${PART_SUFFIX}`).catch(() => undefined);
  }
}

/** Reads a checkpoint from its beginning to its end. */
export class CheckpointReader implements AsyncDisposable {
  readonly #file: File;
  readonly #size: number;
  #position: number = MAGIC.length;
  #header = Buffer.alloc(HEADER_BYTES);

  private constructor(file: File, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /** undefined: there is none. @throws RangeError for one of another form; what the file system says */
  static async open(fileSystem: FileSystem, folder: string): Promise<CheckpointReader | undefined> {
    let file: File;
    try {
      file = await fileSystem.open(`${folder}/${CHECKPOINT_FILE}`, "read");
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    }
    try {
      const magic = Buffer.alloc(MAGIC.length);
      await readFully(file, magic, 0);
      if (!magic.equals(MAGIC)) throw new RangeError("it does not begin as one");
      return new CheckpointReader(file, await file.size());
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Goes to the next section; answers its kind, and how many bytes it has. @throws RangeError when the file ends before it */
  async next(): Promise<{ readonly kind: number; readonly size: number }> {
    this.#header = Buffer.alloc(HEADER_BYTES);
    await readFully(this.#file, this.#header, this.#position);
    this.#position += HEADER_BYTES;
    const size = this.#header.readUInt32LE(4);
    if (size > this.#size - this.#position) throw new RangeError("it ends within a section");
    return { kind: this.#header.readUInt32LE(0), size };
  }

  /** Fills the parts with the payload of this section. @throws RangeError when it does not prove itself */
  async read(parts: readonly Uint8Array[]): Promise<void> {
    const start = this.#position;
    for (const part of parts) {
      await readFully(this.#file, part, this.#position);
      this.#position += part.length;
    }
    if (this.#position - start !== this.#header.readUInt32LE(4))
      throw new RangeError(`a section at ${start} is too long`);
    if (sumOf(this.#header, parts) !== this.#header.readUInt32LE(8)) {
      throw new RangeError(`its bytes at ${start} do not prove themselves`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

function sumOf(header: Buffer, parts: readonly Uint8Array[]): number {
  let sum = crc32(header.subarray(0, 8));
  for (const part of parts) sum = crc32(part, sum);
  return sum;
}
