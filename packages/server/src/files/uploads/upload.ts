// One upload: its bytes and marks on disk, and who works on it.
//
// U1. `durableOffset` grows only when bytes and mark are on disk, in this order.
// U2. One at a time works on it: writes, verifies, places or removes it.
// U3. Bytes that wait for their checksum have no mark: unless they are counted, they never were.
import { crc32 } from "node:zlib";
import { DataLoss } from "../../errors.ts";
import { writeAtomically } from "../../store/atomic-file.ts";
import { errorCode, type File, type FileSystem, readFully, UnexpectedEnd } from "../../store/file-system.ts";
import { NoSpaceForUpload, UploadInUse } from "../file-errors.ts";
import type { Hasher, StreamHash } from "../hasher.ts";
import { appendMark, decodeMarks, type Mark } from "./upload-marks.ts";
import { encodeState, type UploadState } from "./upload-state.ts";

/** How much is read at once to verify it. */
const PIECE_BYTES = 1024 * 1024;

/** Where uploads of a shared folder lie, and what they are made with. */
export interface Staging {
  readonly fileSystem: FileSystem;
  /** Absolute path; in the shared folder, so that a file can be renamed into its place. */
  readonly folder: string;
  readonly hasher: Hasher;
}

interface Files {
  readonly data: File;
  readonly marks: File;
}

const NOTHING = { byteCount: 0, crc32: 0 } as const;

export class Upload {
  readonly #staging: Staging;
  #state: UploadState;
  #marks: Mark[];
  #files: Files | undefined;
  /** Of all bytes so far, as long as this process has seen all of them. */
  #hash: StreamHash | undefined;
  #user: string | undefined;
  /** U3: on disk, behind what counts. */
  #uncounted: { readonly byteCount: number; readonly crc32: number } = NOTHING;

  private constructor(staging: Staging, state: UploadState, marks: Mark[]) {
    this.#staging = staging;
    this.#state = state;
    this.#marks = marks;
  }

  /** Durable when it resolves. */
  static async create(staging: Staging, state: UploadState): Promise<Upload> {
    const upload = new Upload(staging, state, []);
    for (const suffix of ["data", "marks"]) {
      const file = await staging.fileSystem.open(upload.#place(suffix), "create");
      await file.close();
    }
    await upload.#write(state);
    upload.#hash = staging.hasher.openStream();
    return upload;
  }

  /** As an earlier process left it. */
  static async recover(staging: Staging, state: UploadState): Promise<Upload> {
    const { fileSystem } = staging;
    const upload = new Upload(staging, state, []);
    const names = await fileSystem.list(staging.folder);
    const hasData = names.includes(`${state.id}.data`);
    if (state.phase === "committed") return upload;
    if (!hasData) {
      await upload.#write({ ...state, phase: "committed" });
      return upload;
    }
    if (state.phase === "placing") await upload.#write({ ...state, phase: "open" });
    const file = await fileSystem.open(upload.#place("marks"), "read");
    try {
      const bytes = Buffer.alloc(await file.size());
      const count = await file.read(bytes, 0);
      upload.#marks = decodeMarks(bytes.subarray(0, count));
    } finally {
      await file.close();
    }
    return upload;
  }

  get state(): UploadState {
    return this.#state;
  }

  /** Everything before it is on disk. */
  get durableOffset(): number {
    return this.#marks.at(-1)?.end ?? 0;
  }

  /** Makes whoever calls its only user, until what is returned is called. @throws UploadInUse */
  use(purpose: string): () => void {
    if (this.#user !== undefined) throw new UploadInUse(this.#state.path, this.#user);
    this.#user = purpose;
    return () => {
      this.#user = undefined;
      this.#discard();
    };
  }

  get isInUse(): boolean {
    return this.#user !== undefined;
  }

  /**
   * Puts bytes behind the others. They may be used again when it resolves. @throws NoSpaceForUpload, and then nothing has changed
   * @param options `counts: false`: they wait for `count` (U3)
   */
  async append(memory: SharedArrayBuffer, byteCount: number, { counts = true } = {}): Promise<void> {
    const hashed = this.#addToHash(memory, byteCount);
    const before = this.#uncounted;
    try {
      const { data } = await this.#open();
      const bytes = new Uint8Array(memory, 0, byteCount);
      await data.write([bytes], this.durableOffset + before.byteCount);
      this.#uncounted = { byteCount: before.byteCount + byteCount, crc32: crc32(bytes, before.crc32) };
      if (counts) await this.count();
    } catch (error) {
      throw this.#failed(error);
    } finally {
      await hashed;
    }
  }

  /** From here on all that was appended counts. @throws NoSpaceForUpload, and then nothing of it does */
  async count(): Promise<void> {
    const { byteCount, crc32: checksum } = this.#uncounted;
    if (byteCount === 0) return;
    const mark = { end: this.durableOffset + byteCount, crc32: checksum };
    try {
      const { marks } = await this.#open();
      await appendMark(marks, this.#marks.length, mark);
    } catch (error) {
      throw this.#failed(error);
    }
    this.#marks.push(mark);
    this.#uncounted = NOTHING;
  }

  /** U3 */
  #discard(): void {
    if (this.#uncounted.byteCount > 0) this.#forgetHash();
    this.#uncounted = NOTHING;
  }

  /** The hash has bytes that the disk may not have. */
  #failed(error: unknown): unknown {
    this.#uncounted = NOTHING;
    this.#forgetHash();
    const isFull = errorCode(error) === "ENOSPC" || errorCode(error) === "EDQUOT";
    return isFull ? new NoSpaceForUpload(this.#state.path, this.durableOffset) : error;
  }

  #forgetHash(): void {
    this.#hash?.forget();
    this.#hash = undefined;
  }

  /** Beside the write. */
  #addToHash(memory: SharedArrayBuffer, byteCount: number): Promise<void> {
    const hash = this.#hash;
    if (hash === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      hash.update(memory, Uint32Array.of(0, byteCount), resolve);
    });
  }

  /** The SHA-256 of all of it, in hex; reads what this process has not seen. @throws DataLoss when the disk lost some of it */
  async *verify(): AsyncGenerator<{ readonly verifiedBytes: number }, string> {
    const known = this.#hash;
    this.#hash = undefined;
    if (known !== undefined) return await known.digest();
    const hash = this.#staging.hasher.openStream();
    try {
      const { data } = await this.#open();
      const memory = new SharedArrayBuffer(PIECE_BYTES);
      let start = 0;
      for (const { end, crc32: expected } of this.#marks) {
        let checksum = 0;
        for (let at = start; at < end;) {
          const piece = new Uint8Array(memory, 0, Math.min(PIECE_BYTES, end - at));
          await readFully(data, piece, at);
          checksum = crc32(piece, checksum);
          await new Promise<void>((resolve) => {
            hash.update(memory, Uint32Array.of(0, piece.length), resolve);
          });
          at += piece.length;
          yield { verifiedBytes: at };
        }
        if (checksum !== expected) throw this.#damagedFrom(start);
        start = end;
      }
      return await hash.digest();
    } catch (error) {
      throw error instanceof UnexpectedEnd ? this.#damagedFrom(error.end) : error;
    } finally {
      hash.forget();
    }
  }

  #damagedFrom(offset: number): DataLoss {
    const message = `Cannot commit the upload of "${this.#state.path}": what is stored from ${offset} on is damaged; abort it`;
    return new DataLoss(message, { offset: String(offset) });
  }

  /** Says how many bytes it will have, where that was not known. Durable when it resolves. */
  async declareSize(size: number): Promise<void> {
    await this.#write({ ...this.#state, size });
  }

  /** Puts the bytes into their place. @param place path that they get @param syncPlace makes the name durable */
  async place(place: string, syncPlace: () => Promise<void>): Promise<void> {
    const { fileSystem } = this.#staging;
    const { data } = await this.#open();
    // What was written and never marked.
    await data.truncate(this.durableOffset);
    await data.sync();
    await this.closeFiles();
    await this.#write({ ...this.#state, phase: "placing" });
    await fileSystem.rename(this.#place("data"), place);
    await syncPlace();
    await this.#write({ ...this.#state, phase: "committed" });
    await fileSystem.remove(this.#place("marks"));
  }

  /** Frees what it holds in this process; all of it stays on disk. */
  async closeFiles(): Promise<void> {
    const files = this.#files;
    this.#files = undefined;
    await Promise.all([files?.data.close(), files?.marks.close()]);
  }

  /** Throws away what is there. The state goes last: without it the rest is swept away at the next start. */
  async remove(): Promise<void> {
    this.#forgetHash();
    await this.closeFiles();
    for (const suffix of ["data", "marks", "json"]) {
      await this.#staging.fileSystem.remove(this.#place(suffix)).catch((error: unknown) => {
        if (errorCode(error) !== "ENOENT") throw error;
      });
    }
  }

  #place(suffix: string): string {
    return `${this.#staging.folder}/${this.#state.id}.${suffix}`;
  }

  async #write(state: UploadState): Promise<void> {
    const { fileSystem, folder } = this.#staging;
    await writeAtomically(fileSystem, folder, `${state.id}.json`, encodeState(state));
    this.#state = state;
  }

  async #open(): Promise<Files> {
    if (this.#files !== undefined) return this.#files;
    const { fileSystem } = this.#staging;
    const data = await fileSystem.open(this.#place("data"), "append");
    try {
      const marks = await fileSystem.open(this.#place("marks"), "append");
      return (this.#files = { data, marks });
    } catch (error) {
      await data.close();
      throw error;
    }
  }
}
