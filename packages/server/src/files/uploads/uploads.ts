// All uploads of the shared folders: found by their ids, kept while somebody works on them, thrown away when nobody does.
//
// US1. What is on disk is the truth; this is rebuilt from it at every start.
// US2. An upload that nobody writes to is thrown away after its time. Committed ones are kept as long, so that a commit whose
//      answer was lost can be asked for again.
// US3. Uploads that are not committed are bounded: each is bytes that nobody can see. As many committed ones are remembered,
//      the oldest are forgotten: their files stay.
import { LimitExceeded, NotFound, PermissionDenied } from "../../errors.ts";
import { readWhole } from "../../store/atomic-file.ts";
import type { Clock, Timer } from "../../store/contract.ts";
import { errorCode, type FileSystem } from "../../store/file-system.ts";
import type { Changes } from "../change.ts";
import { explainNoSpace, UploadInUse, UploadTooLarge } from "../file-errors.ts";
import type { FilePath, FileRoot } from "../file-path.ts";
import type { Hasher } from "../hasher.ts";
import { type Staging, Upload } from "./upload.ts";
import { UploadBlocks } from "./upload-blocks.ts";
import { decodeState, isUploadId, newUploadId, type UploadState } from "./upload-state.ts";

/** A hidden folder in the shared one: it is not served, and on the same file system. */
const STAGING_FOLDER = ".sluice-uploads";

const SWEEP_MS = 60_000;
/** How long an upload is kept that nobody writes to, unless its client says. */
export const DEFAULT_TTL_MS = 24 * 3600 * 1000;

export interface UploadsOptions {
  readonly roots: readonly FileRoot[];
  readonly fileSystem: FileSystem;
  readonly changes: Pick<Changes, "confirm">;
  readonly hasher: Pick<Hasher, "openStream">;
  readonly clock: Clock;
  readonly uploadsMax: number;
  /** Of one upload, in bytes. Default: none. */
  readonly uploadBytesMax?: number;
}

interface Kept {
  readonly upload: Upload;
  readonly root: FileRoot;
  /** Monotonic ms. */
  expiresMs: number;
}

export class Uploads implements AsyncDisposable {
  readonly #options: UploadsOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #blocks = new UploadBlocks();
  /** Ids of those that are being made. */
  readonly #starting = new Set<string>();
  #timer: Timer | undefined;
  #isClosed = false;

  private constructor(options: UploadsOptions) {
    this.#options = options;
  }

  /** US1 */
  static async open(options: UploadsOptions): Promise<Uploads> {
    const uploads = new Uploads(options);
    const roots = options.roots.filter((root) => root.isWritable);
    for (const root of roots) await uploads.#load(root);
    if (roots.length > 0) uploads.#sweepLater();
    return uploads;
  }

  get count(): number {
    return this.#kept.size;
  }

  /**
   * Durable when it resolves. @param id of an upload that is not there; default: a new one
   * @throws LimitExceeded, PermissionDenied, NoSpaceForUpload, UploadInUse (somebody starts it just now)
   */
  async start(root: FileRoot, wanted: Omit<UploadState, "id" | "phase">, id = newUploadId()): Promise<Upload> {
    const { uploadsMax } = this.#options;
    const { bytesMax } = this.#stagingIn(root);
    if (!root.isWritable) throw new PermissionDenied();
    if (this.#starting.has(id)) throw new UploadInUse(wanted.path, "it is being started");
    if (this.#openCount + this.#starting.size >= uploadsMax) {
      const message = `Cannot start another upload: the limit is ${uploadsMax}; commit or abort some, or wait until they expire`;
      throw new LimitExceeded(message, "uploads", { retryAfterMs: SWEEP_MS });
    }
    if (wanted.size !== undefined && wanted.size > bytesMax)
      throw new UploadTooLarge(wanted.path, wanted.size, bytesMax);
    this.#starting.add(id);
    try {
      await this.#forgetOldest();
      const upload = await this.#create(root, { ...wanted, id, phase: "open" });
      this.#keep(upload, root);
      return upload;
    } catch (error) {
      throw explainNoSpace(error, wanted.path, 0);
    } finally {
      this.#starting.delete(id);
    }
  }

  async #create(root: FileRoot, state: UploadState): Promise<Upload> {
    const staging = this.#stagingIn(root);
    const { fileSystem, folder } = staging;
    await fileSystem.makeFolder(folder);
    await fileSystem.syncFolder(root.folder);
    return Upload.create(staging, state);
  }

  /** Of those that are not committed. */
  get #openCount(): number {
    let count = 0;
    for (const { upload } of this.#kept.values()) if (upload.state.phase !== "committed") count++;
    return count;
  }

  /** US3 */
  async #forgetOldest(): Promise<void> {
    if (this.#kept.size - this.#openCount < this.#options.uploadsMax) return;
    for (const [id, { upload }] of this.#kept) {
      if (upload.state.phase !== "committed" || upload.isInUse) continue;
      await this.abort(id);
      return;
    }
  }

  /** Whether there is one. */
  has(id: string): boolean {
    return this.#kept.has(id);
  }

  /** @throws NotFound */
  find(id: string): { readonly upload: Upload; readonly root: FileRoot } {
    const kept = this.#kept.get(id);
    if (kept === undefined) throw new NotFound("upload", id, "it was aborted, has expired, or never was");
    this.touch(id);
    return kept;
  }

  /** Somebody works on it: its time begins anew. */
  touch(id: string): void {
    const kept = this.#kept.get(id);
    if (kept !== undefined) kept.expiresMs = this.#options.clock.monotonicMs() + kept.upload.state.ttlMs;
  }

  /** Unix ns. */
  expireTimeOf(id: string): bigint {
    const { clock } = this.#options;
    const leftMs = (this.#kept.get(id)?.expiresMs ?? 0) - clock.monotonicMs();
    return clock.nowNs() + BigInt(Math.max(0, Math.round(leftMs))) * 1_000_000n;
  }

  /** Does nothing when it is not there. @throws UploadInUse */
  async abort(id: string): Promise<void> {
    const kept = this.#kept.get(id);
    if (kept === undefined) return;
    const release = kept.upload.use("it is being aborted");
    try {
      await kept.upload.remove();
      this.#kept.delete(id);
    } finally {
      release();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await Promise.all([...this.#kept.values()].map(({ upload }) => upload.closeFiles()));
  }

  #stagingIn(root: FileRoot): Staging {
    const { fileSystem, hasher, uploadBytesMax: bytesMax = Number.MAX_SAFE_INTEGER } = this.#options;
    return { fileSystem, hasher, blocks: this.#blocks, folder: `${root.folder}/${STAGING_FOLDER}`, bytesMax };
  }

  #keep(upload: Upload, root: FileRoot): void {
    const { id, ttlMs } = upload.state;
    this.#kept.set(id, { upload, root, expiresMs: this.#options.clock.monotonicMs() + ttlMs });
  }

  async #load(root: FileRoot): Promise<void> {
    const { changes } = this.#options;
    const staging = this.#stagingIn(root);
    const { fileSystem, folder } = staging;
    const names = await fileSystem.list(folder).catch((error: unknown) => {
      if (errorCode(error) === "ENOENT") return [];
      throw error;
    });
    if (names.length === 0) return;
    // What was begun and not synced when the process before ended is from now on told of.
    await fileSystem.syncFolder(folder);
    const ids = new Set<string>();
    for (const name of names) {
      const [, id = ""] = /^(.*)\.json$/u.exec(name) ?? [];
      const state = isUploadId(id)
        ? decodeState((await readWhole(fileSystem, `${folder}/${name}`)) ?? new Uint8Array())
        : undefined;
      if (state?.id !== id) continue;
      const upload = await Upload.recover(staging, state);
      if (upload === undefined) continue;
      // The process before may have ended between the rename and its sync, and whoever asks now hears that it is done.
      if (upload.state.phase === "committed") await changes.confirm(pathIn(root, state));
      this.#keep(upload, root);
      ids.add(id);
    }
    // What a crash left behind: of no upload, or half written.
    for (const name of names) {
      const [, id = "", suffix = ""] = /^([\w-]{22})\.(data|marks|json|json\.part)$/u.exec(name) ?? [];
      if (id !== "" && (!ids.has(id) || suffix === "json.part")) await fileSystem.remove(`${folder}/${name}`);
    }
  }

  #sweepLater(): void {
    if (this.#isClosed) return;
    this.#timer = this.#options.clock.setTimer(() => {
      this.#sweep()
        .finally(() => this.#sweepLater())
        .catch(() => {});
    }, SWEEP_MS);
  }

  /** US2. What cannot be removed now is tried again. */
  async #sweep(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [id, { upload, expiresMs }] of this.#kept) {
      if (expiresMs <= nowMs && !upload.isInUse) await this.abort(id).catch(() => {});
    }
  }
}

/** Where it goes, as it was found to be good when it began. */
function pathIn(root: FileRoot, { path }: UploadState): FilePath {
  const parts = path.split("/");
  return { root, parts: root.name === "" ? parts : parts.slice(1), text: path };
}
