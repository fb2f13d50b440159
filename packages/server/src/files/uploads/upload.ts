// One upload: its bytes and marks on disk, and who works on it.
//
// U1. `durableOffset` grows only when bytes and mark are on disk, in this order. Bytes are written without waiting for the disk,
//     and one sync after the other runs beside that: so neither waits for the other.
// U2. One at a time works on it: writes, verifies, places or removes it.
// U3. Bytes that wait for their checksum have no mark: unless they are counted, they never were.
// U4. "placing" is durable before the rename: with it, missing bytes tell that they are in their place. Without it they tell
//     that somebody gave the upload up.
import { crc32 } from "node:zlib";
import { DataLoss } from "../../errors.ts";
import { readWhole, writeAtomically } from "../../store/atomic-file.ts";
import { errorCode, type File, type FileSystem, readFully, UnexpectedEnd } from "../../store/file-system.ts";
import { explainNoSpace, UploadInUse, UploadTooLarge } from "../file-errors.ts";
import type { Hasher, StreamHash } from "../hasher.ts";
import { appendMark, clearMark, decodeMarks, type Mark, writeMarks } from "./upload-marks.ts";
import type { UploadBlocks } from "./upload-blocks.ts";
import { encodeState, type UploadState } from "./upload-state.ts";

/** How much is read at once to verify it. */
const PIECE_BYTES = 1024 * 1024;

/** Where uploads of a shared folder lie, and what they are made with. */
export interface Staging {
  readonly fileSystem: FileSystem;
  /** Absolute path; in the shared folder, so that a file can be renamed into its place. */
  readonly folder: string;
  readonly hasher: Pick<Hasher, "openStream">;
  readonly blocks: UploadBlocks;
  /** Of one upload, in bytes. */
  readonly bytesMax: number;
}

interface Files {
  readonly data: File;
  readonly marks: File;
}

/** Bytes that are written, behind what counts. */
interface Uncounted {
  readonly byteCount: number;
  readonly crc32: number;
}

const NOTHING: Uncounted = { byteCount: 0, crc32: 0 };

export class Upload {
  readonly #staging: Staging;
  #state: UploadState;
  #marks: Mark[];
  #files: Files | undefined;
  /** Of all bytes so far, as long as this process has seen all of them. */
  #hash: StreamHash | undefined;
  #user: string | undefined;
  /** What is under way with the files. They never reject. */
  readonly #working = new Set<Promise<void>>();
  /** A mark was to be written and that failed: it may be on disk, and must not be there when its bytes change. */
  #hasDoubtfulMark = false;
  /** U3. */
  #uncounted = NOTHING;
  /** Between what counts and that: the bytes that are being counted. */
  #countingBytes = 0;
  /** Why bytes that were written will never count: what comes behind them cannot either. */
  #lost: { readonly reason: unknown } | undefined;

  private constructor(staging: Staging, state: UploadState, marks: Mark[]) {
    this.#staging = staging;
    this.#state = state;
    this.#marks = marks;
  }

  /** Durable when it resolves. */
  static async create(staging: Staging, state: UploadState): Promise<Upload> {
    const upload = new Upload(staging, state, []);
    try {
      for (const suffix of ["data", "marks"]) {
        const file = await staging.fileSystem.open(upload.#place(suffix), "create");
        await file.close();
      }
      await upload.#write(state);
    } catch (error) {
      // What stays nevertheless is swept away at the next start.
      await upload.remove().catch(() => {});
      throw error;
    }
    upload.#hash = staging.hasher.openStream();
    return upload;
  }

  /** As an earlier process left it; undefined: it was being thrown away. */
  static async recover(staging: Staging, state: UploadState): Promise<Upload | undefined> {
    const { fileSystem } = staging;
    const upload = new Upload(staging, state, []);
    const names = await fileSystem.list(staging.folder);
    if (!names.includes(`${state.id}.data`)) {
      // U4
      if (state.phase === "open") return undefined;
      upload.#state = { ...state, phase: "committed" };
      return upload;
    }
    const bytes = await readWhole(fileSystem, upload.#place("marks"));
    if (bytes === undefined) return undefined;
    upload.#marks = decodeMarks(bytes);
    // The process before may have ended before they were synced, or their sync may have failed.
    const { marks } = await upload.#open();
    await writeMarks(marks, upload.#marks);
    await upload.closeFiles();
    upload.#state = { ...state, phase: "open" };
    return upload;
  }

  get state(): UploadState {
    return this.#state;
  }

  /** Everything before it is on disk. */
  get durableOffset(): number {
    const { phase, size = 0 } = this.#state;
    return phase === "committed" ? size : (this.#marks.at(-1)?.end ?? 0);
  }

  /** What all uploads share to gather their bytes in. */
  get blocks(): UploadBlocks {
    return this.#staging.blocks;
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
   * Puts bytes behind the others; one at a time. They may be used again when it resolves, and wait for `count` (U3).
   * @throws NoSpaceForUpload, UploadTooLarge, and then nothing has changed
   */
  append(memory: SharedArrayBuffer, byteCount: number): Promise<void> {
    return this.#track(this.#append(memory, byteCount));
  }

  async #append(memory: SharedArrayBuffer, byteCount: number): Promise<void> {
    const start = this.durableOffset + this.#countingBytes + this.#uncounted.byteCount;
    this.#checkSize(start + byteCount);
    const hashed = this.#addToHash(memory, byteCount);
    try {
      const { data } = await this.#openToChange();
      const bytes = new Uint8Array(memory, 0, byteCount);
      await data.write([bytes], start);
      if (this.#lost !== undefined) throw this.#lost.reason;
      const before = this.#uncounted;
      this.#uncounted = { byteCount: before.byteCount + byteCount, crc32: crc32(bytes, before.crc32) };
    } catch (error) {
      throw this.#failed(error);
    } finally {
      await hashed;
    }
  }

  /**
   * From here on all that was appended before counts; one at a time, also while more is appended.
   * @throws NoSpaceForUpload, and then nothing that does not count yet ever will
   */
  count(): Promise<void> {
    return this.#track(this.#count());
  }

  async #count(): Promise<void> {
    const { byteCount, crc32: checksum } = this.#uncounted;
    if (byteCount === 0) return;
    this.#uncounted = NOTHING;
    this.#countingBytes = byteCount;
    const mark = { end: this.durableOffset + byteCount, crc32: checksum };
    try {
      const { data, marks } = await this.#open();
      await data.sync();
      await this.#putMark(marks, mark);
    } catch (error) {
      const reason = this.#failed(error);
      this.#lost = { reason };
      throw reason;
    }
    this.#marks.push(mark);
    this.#countingBytes = 0;
  }

  async #putMark(marks: File, mark: Mark): Promise<void> {
    try {
      await appendMark(marks, this.#marks.length, mark);
    } catch (error) {
      this.#hasDoubtfulMark = true;
      throw error;
    }
  }

  /** @throws UploadTooLarge */
  #checkSize(byteCount: number): void {
    const { bytesMax } = this.#staging;
    if (byteCount > bytesMax) throw new UploadTooLarge(this.#state.path, byteCount, bytesMax);
  }

  /** Until it is done the files stay open. */
  #track(work: Promise<void>): Promise<void> {
    const ended = work.then(
      () => {},
      () => {},
    );
    this.#working.add(ended);
    return work.finally(() => this.#working.delete(ended));
  }

  /** U3 */
  #discard(): void {
    if (this.#uncounted.byteCount > 0) this.#forgetHash();
    this.#uncounted = NOTHING;
    this.#countingBytes = 0;
    this.#lost = undefined;
  }

  /** The hash has bytes that the disk may not have. */
  #failed(error: unknown): unknown {
    this.#forgetHash();
    return explainNoSpace(error, this.#state.path, this.durableOffset);
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
    this.#checkSize(size);
    await this.#write({ ...this.#state, size });
  }

  /**
   * Puts the bytes into their place. @param place path that they get @param syncPlace makes the name durable
   * @throws NoSpaceForUpload, and then the upload is as before
   */
  async place(place: string, syncPlace: () => Promise<void>): Promise<void> {
    const { fileSystem } = this.#staging;
    const before = this.#state;
    const size = this.durableOffset;
    try {
      const { data } = await this.#openToChange();
      // What was written and never marked.
      await data.truncate(size);
      await data.sync();
      await this.closeFiles();
      await this.#write({ ...this.#state, size, phase: "placing" });
    } catch (error) {
      throw explainNoSpace(error, this.#state.path, size);
    }
    try {
      await fileSystem.rename(this.#place("data"), place);
    } catch (error) {
      this.#state = before;
      throw error;
    }
    this.#state = { ...this.#state, phase: "committed" };
    await syncPlace();
    await this.#removeFile("marks");
  }

  /** Frees what it holds in this process; all of it stays on disk. */
  async closeFiles(): Promise<void> {
    await Promise.all(this.#working);
    const files = this.#files;
    this.#files = undefined;
    await Promise.all([files?.data.close(), files?.marks.close()]);
  }

  /**
   * Throws away what is there: of a committed one what is remembered of it. The state goes first and durably: without it the
   * rest is swept away at the next start.
   */
  async remove(): Promise<void> {
    const { fileSystem, folder } = this.#staging;
    this.#forgetHash();
    await this.closeFiles();
    await this.#removeFile("json");
    if (this.#state.phase === "committed") return;
    await fileSystem.syncFolder(folder);
    await this.#removeFile("data");
    await this.#removeFile("marks");
  }

  /** Nothing when it is not there. */
  async #removeFile(suffix: string): Promise<void> {
    await this.#staging.fileSystem.remove(this.#place(suffix)).catch((error: unknown) => {
      if (errorCode(error) !== "ENOENT") throw error;
    });
  }

  #place(suffix: string): string {
    return `${this.#staging.folder}/${this.#state.id}.${suffix}`;
  }

  async #write(state: UploadState): Promise<void> {
    const { fileSystem, folder } = this.#staging;
    await writeAtomically(fileSystem, folder, `${state.id}.json`, encodeState(state));
    this.#state = state;
  }

  /** For changing bytes behind the last mark. */
  async #openToChange(): Promise<Files> {
    const files = await this.#open();
    if (this.#hasDoubtfulMark) await clearMark(files.marks, this.#marks.length);
    this.#hasDoubtfulMark = false;
    return files;
  }

  async #open(): Promise<Files> {
    if (this.#files !== undefined) return this.#files;
    const { fileSystem } = this.#staging;
    const data = await fileSystem.open(this.#place("data"), "read-write");
    try {
      const marks = await fileSystem.open(this.#place("marks"), "append");
      return (this.#files = { data, marks });
    } catch (error) {
      await data.close();
      throw error;
    }
  }
}
