// A file, or a part of it, as a stream that is pulled: DownloadFile.
//
// D1. One block is read ahead: the read of the next begins when one is taken, before any of that is sent. So disk and socket
//     work at the same time, a slow reader costs two blocks, and its backpressure reaches the disk.
// D2. A block is handed on when, after it was read, the descriptor still has the version that the call began with; else
//     the call ends with the offset reached.
// D3. The last chunk leaves when the hash of all bytes is known: of the file, where it is known; else of what was read,
//     computed beside the sending.
// D4. A block's memory is used again when it was sent and hashed. No more is read while `UNHASHED_MAX` blocks wait for their hash:
//     who reads faster than that thread hashes does not fill the memory with what is to be hashed.
//     While all downloads together hold much, it reads no further than what socket and hash have of it (BP3 in block-pool.ts).
// D5. Each read waits for its turn among all downloads. Whoever takes blocks fast gets larger ones, until it is slow: what a
//     slow reader holds is small.
import { type FrameSource, type FrameStream, retryDelayMs, type RpcError } from "@sluice/rpc";
import { PermissionDenied } from "../errors.ts";
import type { Clock, Timer } from "../store/contract.ts";
import { type BlockPool, LARGE_BYTES, POOLED_BYTES } from "./block-pool.ts";
import type { Checksums } from "./checksums.ts";
import { BYTES_FORM, chunkFormOf, type ChunkForm, type ChunkPlan } from "./chunk-frame.ts";
import { DownloadInterrupted, FileChanged } from "./file-errors.ts";
import type { FilePath } from "./file-path.ts";
import { etagOf, type FileVersion, hasSameContents, isSameFile } from "./file-version.ts";
import { type Hasher, hashHere, type StreamHash } from "./hasher.ts";
import { type OpenFile, openInside } from "./open-inside.ts";
import { Pace } from "./pace.ts";
import { Block, planChunks } from "./read-block.ts";
import type { Seat, Turns } from "./turns.ts";

/** What all downloads share. */
export interface DownloadResources {
  readonly clock: Clock;
  readonly pool: BlockPool;
  readonly turns: Turns;
  readonly hasher: Pick<Hasher, "openStream">;
  readonly checksums: Checksums;
}

/** What is asked for, checked. */
export interface DownloadOptions {
  readonly path: FilePath;
  readonly chunkBytes: number;
  readonly offset: number;
  /** Infinity: to the end. */
  readonly limit: number;
  readonly hasCrc32: boolean;
  /** undefined: as fast as it goes. */
  readonly bytesPerSecond: number | undefined;
  readonly isFollowing: boolean;
  /** As which message it is sent; without a checksum at its end where that has no room for one. */
  readonly message: ChunkForm["message"];
}

/** Up to here hashing in this thread takes less of it than asking another one. */
const HASHED_HERE_BYTES = 64 * 1024;
/** How often a file that is followed is looked at. */
const LOOK_MS = 200;
/** Blocks that were handed on and not reported as sent; a transport that never reports leaves them to the collector. */
const HANDED_ON_MAX = 4;
/** D4 */
const UNHASHED_MAX = 3;
/** A reader is fast that takes so many blocks of a quarter MiB one after the other, each within so many ms (26 MB/s) … */
const FAST_BLOCKS = 4;
const FAST_MS = 10;
/** … and slow again when it takes so long for one. */
const SLOW_MS = 100;

export class Download implements FrameSource {
  readonly #resources: DownloadResources;
  readonly #options: DownloadOptions;
  readonly #file: OpenFile;
  /** The version of the call; of a file that is followed, the one last seen. */
  #version: FileVersion;
  readonly #form: ChunkForm;
  readonly #pace: Pace | undefined;
  /** The checksum of the whole answer, where it is known. */
  readonly #known: string | undefined;
  readonly #hash: StreamHash | undefined;
  readonly #seat: Seat;
  #stream: FrameStream | undefined;
  #timer: Timer | undefined;
  /** Where the next block begins, and where what was handed on ends. */
  #next: number;
  #handedTo: number;
  #isReading = false;
  #ready: Block | undefined;
  /** When the last block was taken, how many were taken fast, one after the other, and what follows from that (D5). */
  #takenAtMs = 0;
  #takenFast = 0;
  #isLarge = false;
  /** All blocks that were read and are still somebody's. */
  readonly #held = new Set<Block>();
  /** Being sent. */
  #handedOn: Block[] = [];
  /** Sent, and not hashed yet. */
  readonly #sentUnhashed = new Set<Block>();
  /** The transport says what it has sent. */
  #isReported = false;
  readonly #unhashed = new Set<Block>();
  #step: "reading" | "ended" | "closed" = "reading";

  /** Takes file and seat over. */
  constructor(file: OpenFile, options: DownloadOptions, resources: DownloadResources, seat: Seat) {
    this.#resources = resources;
    this.#seat = seat;
    this.#options = options;
    this.#file = file;
    this.#version = file.version;
    this.#next = options.offset;
    this.#handedTo = options.offset;
    const { path, message, hasCrc32, bytesPerSecond } = options;
    this.#form = message === "bytes" ? BYTES_FORM : chunkFormOf(path.text, etagOf(file.version), { hasCrc32 });
    this.#pace = bytesPerSecond === undefined ? undefined : new Pace(bytesPerSecond, resources.clock);
    this.#known = this.#isWhole ? resources.checksums.find(file.version) : undefined;
    this.#hash = this.#known === undefined ? this.#openHash() : undefined;
  }

  attach(stream: FrameStream): void {
    this.#stream = stream;
    this.#readOn();
  }

  pull(_maxBytes: number): Uint8Array | undefined {
    const block = this.#ready;
    if (block === undefined) {
      if (this.#step === "ended") this.#stream?.end();
      return undefined;
    }
    this.#ready = undefined;
    this.#timeReader();
    this.#handedOn.push(block);
    if (this.#handedOn.length > HANDED_ON_MAX) this.#forget(this.#handedOn.shift()!);
    this.#handedTo = block.end;
    this.#pace?.take(block.bytes.length);
    if (block.isLast) this.#step = "ended";
    else this.#readOn();
    return block.bytes;
  }

  /** D4 */
  sent(): void {
    const handedOn = this.#handedOn;
    this.#handedOn = [];
    this.#isReported = true;
    for (const block of handedOn) {
      if (this.#unhashed.has(block)) this.#sentUnhashed.add(block);
      else this.#giveBack(block);
    }
    this.#readOn();
  }

  #giveBack(block: Block): void {
    this.#forget(block);
    this.#resources.pool.give(block.memory);
  }

  #hold(block: Block): void {
    this.#held.add(block);
    this.#resources.pool.heldBytes += block.memory.byteLength;
  }

  /** Whoever looks at it still may: it is not used again, unless it is given back. */
  #forget(block: Block): void {
    if (this.#held.delete(block)) this.#resources.pool.heldBytes -= block.memory.byteLength;
  }

  farewell(error: RpcError): DownloadInterrupted {
    const etag = etagOf(this.#file.version);
    return new DownloadInterrupted({ offset: this.#handedTo, etag, retryAfterMs: retryDelayMs(error) });
  }

  /** Frees everything. Idempotent. */
  close(): void {
    if (this.#step === "closed") return;
    this.#step = "closed";
    this.#timer?.cancel();
    this.#seat.leave();
    this.#slowDown();
    for (const block of this.#held) this.#forget(block);
    this.#hash?.forget();
    this.#stream = undefined;
    void this.#file.close();
  }

  /** Where the call's data ends, as far as it is known. */
  get #end(): number {
    const { offset, limit } = this.#options;
    return Math.min(this.#version.size, offset + limit);
  }

  /** Whether `#end` is where the call ends. */
  get #hasLast(): boolean {
    const { offset, limit, isFollowing } = this.#options;
    return !isFollowing || this.#version.size >= offset + limit;
  }

  get #isWhole(): boolean {
    const { offset, isFollowing } = this.#options;
    return offset === 0 && !isFollowing && this.#end === this.#version.size;
  }

  /** undefined: this call never says a checksum: it has no end, or no room for it. */
  #openHash(): StreamHash | undefined {
    const { offset, limit, isFollowing, message } = this.#options;
    if (message === "bytes") return undefined;
    const byteCount = isFollowing ? limit : this.#end - offset;
    if (byteCount === Number.POSITIVE_INFINITY) return undefined;
    return byteCount <= HASHED_HERE_BYTES ? hashHere() : this.#resources.hasher.openStream();
  }

  /** Whether something of it will be sent, or hashed, and it hears of that. */
  get #isAwaited(): boolean {
    return this.#unhashed.size > 0 || (this.#isReported && this.#handedOn.length > 0);
  }

  /** Reads the next block, now or when pace and file allow. */
  #readOn(): void {
    if (this.#step !== "reading" || this.#isReading || this.#ready !== undefined) return;
    // D4: what is sent and what is hashed comes back here.
    if (this.#unhashed.size >= UNHASHED_MAX) return;
    if (this.#resources.pool.isCrowded && this.#isAwaited) return;
    const waitMs = this.#pace?.waitMs() ?? 0;
    if (waitMs > 0) this.#wait(waitMs, () => this.#readOn());
    else if (this.#next === this.#end && !this.#hasLast) this.#wait(LOOK_MS, () => this.#do(this.#look()));
    else this.#do(this.#readBlock());
  }

  #wait(ms: number, then: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#resources.clock.setTimer(() => {
      this.#timer = undefined;
      then();
    }, ms);
  }

  /** Something with the descriptor; one at a time. */
  #do(work: Promise<void>): void {
    this.#isReading = true;
    work
      .catch((error: unknown) => {
        this.#stream?.fail(error);
        this.close();
      })
      .finally(() => {
        this.#isReading = false;
        this.#readOn();
      });
  }

  async #readBlock(): Promise<void> {
    const chunks = this.#planBlock();
    const last = chunks.at(-1)!;
    const block = await this.#seat.read(last.offset + last.length - this.#next, async () => {
      const begun = new Block(chunks, this.#form, this.#resources.pool);
      await this.#fill(begun);
      return begun;
    });
    if (this.#step !== "reading") return;
    this.#hold(block);
    this.#addToHash(block);
    if (block.hasChecksum) block.putChecksum(this.#known ?? (await this.#computed()));
    if (this.#step !== "reading") return;
    this.#next = block.end;
    this.#ready = block;
    this.#stream?.wake();
  }

  #planBlock(): ChunkPlan[] {
    const { chunkBytes, bytesPerSecond = Number.POSITIVE_INFINITY } = this.#options;
    const { pool, turns } = this.#resources;
    if (!this.#isLarge && this.#takenFast >= FAST_BLOCKS) this.#isLarge = pool.beginLarge();
    return planChunks({
      form: this.#form,
      offset: this.#next,
      end: this.#end,
      chunkBytes,
      totalSize: this.#version.size,
      hasLast: this.#hasLast,
      bytesMax: Math.min(bytesPerSecond, turns.bytesPerSecond) / 10,
      memoryBytes: this.#isLarge ? LARGE_BYTES : POOLED_BYTES,
    });
  }

  /** D5: a block is taken. */
  #timeReader(): void {
    const nowMs = this.#resources.clock.monotonicMs();
    const tookMs = nowMs - this.#takenAtMs;
    this.#takenAtMs = nowMs;
    if (tookMs <= FAST_MS) this.#takenFast++;
    else if (!this.#isLarge || tookMs > SLOW_MS) this.#slowDown();
  }

  #slowDown(): void {
    this.#takenFast = 0;
    if (this.#isLarge) this.#resources.pool.endLarge();
    this.#isLarge = false;
  }

  /** D2 */
  async #fill(block: Block): Promise<void> {
    const file = this.#file;
    const { path, isFollowing } = this.#options;
    if (file.contents !== undefined) return block.copy(file.contents);
    const isWhole = await file.hold(() => block.read(file.fd));
    const now = await file.currentVersion();
    if (isFollowing ? now.size < this.#next : !hasSameContents(now, this.#version)) {
      throw new FileChanged(path.text, this.#next, now.size < this.#version.size ? "cut" : "changed");
    }
    if (!isWhole) throw new FileChanged(path.text, this.#next, "cut");
  }

  #addToHash(block: Block): void {
    if (this.#hash === undefined) return;
    this.#unhashed.add(block);
    this.#hash.update(block.memory, block.spans(), () => {
      this.#unhashed.delete(block);
      if (this.#sentUnhashed.delete(block)) this.#giveBack(block);
      this.#readOn();
    });
  }

  /** D3 */
  async #computed(): Promise<string> {
    const sha256 = await this.#hash!.digest();
    if (this.#isWhole) this.#resources.checksums.remember(this.#version, sha256);
    return sha256;
  }

  /** At the end of a file that is followed: whether there is more, and whether it still is the file. */
  async #look(): Promise<void> {
    const { path } = this.#options;
    const now = await this.#file.currentVersion();
    if (now.size < this.#next) throw new FileChanged(path.text, this.#next, "cut");
    if (now.size === this.#next && !(await this.#isStillThere())) {
      throw new FileChanged(path.text, this.#next, "replaced");
    }
    this.#version = now;
  }

  async #isStillThere(): Promise<boolean> {
    try {
      await using there = await openInside(this.#options.path);
      return isSameFile(there.version, this.#version);
    } catch (error) {
      if (error instanceof PermissionDenied) return false;
      throw error;
    }
  }
}
