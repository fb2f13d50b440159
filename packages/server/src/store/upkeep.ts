// What happens to segments beside writing and reading them: they are made, sealed, rebuilt, dropped. Owned by the log.
//
// U1. Jobs run one after the other; `close` waits for them. A job that fails is told as a fault and tried again with the
//     next tick: what it would have made can be derived.
// U2. The mark of EPOCHS (E2) is written when the log closes, and with a tick when it has moved.
import type { Clock, FrameCodec, Timer } from "./contract.ts";
import type { DurableMark } from "./epochs.ts";
import type { Incidents } from "./events.ts";
import type { FilePool } from "./file-pool.ts";
import type { File, FileSystem } from "./file-system.ts";
import type { SegmentMaker, WriterState } from "./group-commit.ts";
import type { LabelDictionary } from "./labels.ts";
import type { ProducerTable } from "./producers.ts";
import type { FileIndex } from "./index-file.ts";
import type { Recovered } from "./recovery.ts";
import type { RetentionPolicy } from "./retention.ts";
import { SegmentChain } from "./chain.ts";
import { Compressor } from "./compressor.ts";
import { epochOf, isSamePlace, writeEpochs } from "./epochs.ts";
import { compressedFrames, plainFrames } from "./frames-place.ts";
import { MemoryIndex } from "./memory-index.ts";
import { snapshotFile, writeSnapshot } from "./producer-snapshot.ts";
import { buildIndex, createSegmentFile, writeIndex } from "./segment-files.ts";
import { reopenSegment } from "./reopen.ts";
import { findReason, removeIfThere, removeSegment } from "./retention.ts";
import { COMPRESSED_SUFFIX, FRAMES_SUFFIX, Segment, segmentFile } from "./segment.ts";

/** With retention by age, a segment is sealed when its oldest entry has this share of the age: so little stays longer. */
const SEAL_AGE_SHARE = 8;
/** Producer snapshots kept: the newest, and one more in case it cannot be read. */
const SNAPSHOTS_KEPT = 2;
const NS_PER_MS = 1_000_000n;
/** Ticks between two attempts to open a log again that is read-only: 1, 2, 4, … up to this. */
const REOPEN_TICKS_MAX = 16;

/** What the upkeep asks of the writer. */
export interface UpkeptWriter {
  /** Seals the open segment. */
  roll(): Promise<void>;
  /** Tries to leave the read-only state; nothing in any other. */
  reopen(): Promise<void>;
  readonly state: WriterState;
}

export interface UpkeepParts {
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly codec: FrameCodec;
  readonly clock: Clock;
  readonly pool: FilePool;
  readonly labels: LabelDictionary;
  readonly producers: ProducerTable;
  readonly recovered: Recovered;
  readonly incidents: Incidents;
  readonly retention: RetentionPolicy;
  /** Segments are compressed when they have been sealed for so long; undefined: never. */
  readonly compressAfterMs: number | undefined;
  readonly tickMs: number;
  /** Asked, and waited for, before a segment is made. Never rejects. */
  readonly beforeSegment?: (() => Promise<void>) | undefined;
}

export class Upkeep implements SegmentMaker {
  readonly chain = new SegmentChain();
  readonly #parts: UpkeepParts;
  /** Given by `start`. */
  #writer: UpkeptWriter | undefined;
  #reopenTicks = { left: 1, next: 2 };
  #jobs: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  /** The sealing that a tick began. Never rejects. */
  #rolled: Promise<void> | undefined;
  #ordinals = 0;
  #mark: DurableMark;
  /** Positions of producer snapshots, ascending; all that were written here are durable. */
  readonly #snapshots: number[];
  /** Taken out of the chain, still on disk. */
  #leaving: Segment | undefined;
  readonly #compressor: Compressor | undefined;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.#mark = parts.recovered.mark;
    this.#snapshots = [...parts.recovered.snapshots];
    for (const { first, index, compressedBytes } of parts.recovered.segments) {
      this.#addSegment(first, index, compressedBytes);
    }
    for (const segment of this.chain.all.slice(0, -1)) segment.sealedAtNs ??= parts.clock.nowNs();
    const afterMs = parts.compressAfterMs;
    const { chain } = this;
    if (afterMs !== undefined) {
      this.#compressor = new Compressor({ ...parts, chain, afterMs, alone: (job) => this.#alone(job) });
    }
  }

  start(writer: UpkeptWriter): void {
    this.#writer = writer;
    this.#timer = this.#parts.clock.setTimer(() => this.#tick(), this.#parts.tickMs);
  }

  /** Ends the background work when what was begun is done, and says on disk how far all is durable (U2). */
  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#compressor?.close();
    await this.#rolled;
    this.#do("write the mark", () => this.#saveMark());
    await this.#jobs;
  }

  async makeSegment(first: number): Promise<File> {
    const { fileSystem, folder, labels, clock, beforeSegment } = this.#parts;
    await beforeSegment?.();
    const file = await createSegmentFile(fileSystem, folder, first);
    const full = this.chain.open;
    full.sealedAtNs = clock.nowNs();
    this.#addSegment(first, new MemoryIndex(labels));
    this.#parts.incidents.tell({ kind: "segment-sealed", first: full.first, last: full.last, bytes: full.bytes });
    this.#do("write indexes", () => this.#writeIndexes());
    if (this.#parts.producers.isKept) this.#do("write the table of producers", () => this.#saveProducers());
    this.#do("apply the retention", () => this.#applyRetention());
    this.#do("compress", async () => this.#compressor?.wake());
    return file;
  }

  reopen(): Promise<File> {
    const { epochs } = this.#parts.recovered;
    const isExpected = (epoch: number, sequence: number) => epochOf(epochs, sequence) === epoch;
    return reopenSegment(this.#parts, this.chain.open, isExpected);
  }

  /** The oldest sequence that a start after a crash may find: what retention has taken stays until its removal is durable. */
  get firstOnDisk(): number {
    return this.#leaving?.first ?? this.chain.first;
  }

  /** When the oldest segment was sealed; undefined: there is none that could be dropped. */
  get oldestSealedAtNs(): bigint | undefined {
    return this.chain.all[0]?.sealedAtNs;
  }

  /** Drops the oldest segment because the disk has too little space. Returns its bytes; 0: it could not go. */
  dropOldest(): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#do("drop a segment for space", async () => {
      try {
        await this.#removeLeaving();
        resolve(this.oldestSealedAtNs === undefined ? 0 : await this.#drop("space"));
      } finally {
        resolve(0);
      }
    });
    return promise;
  }

  #addSegment(first: number, index: MemoryIndex | FileIndex, compressedBytes?: number): void {
    const { folder, pool } = this.#parts;
    const host = {
      pool,
      nextOrdinal: () => this.#ordinals++,
      rebuild: (segment: Segment) => this.#rebuild(segment),
      onTableLoaded: (segment: Segment) => this.chain.noteTable(segment),
    };
    const frames =
      compressedBytes === undefined
        ? plainFrames(pool, segmentFile(folder, first, FRAMES_SUFFIX))
        : compressedFrames(pool, segmentFile(folder, first, COMPRESSED_SUFFIX), compressedBytes);
    this.chain.add(new Segment(host, { folder, first, index, frames }));
  }

  #tick(): void {
    const { clock, tickMs, retention } = this.#parts;
    this.#do("write indexes", () => this.#writeIndexes());
    this.#do("apply the retention", () => this.#applyRetention());
    this.#do("write the mark", () => this.#saveMark());
    // Behind the retention: what it takes need not be compressed.
    this.#do("compress", async () => this.#compressor?.wake());
    const isOld = retention.ageMs !== undefined && this.#openAgeMs() > retention.ageMs / SEAL_AGE_SHARE;
    // No job: it may wait for one (`beforeSegment`).
    if (isOld) this.#rolled = this.#writer?.roll();
    if (this.#isTimeToReopen()) this.#do("open the log for writing again", async () => this.#writer?.reopen());
    this.#timer = clock.setTimer(() => this.#tick(), tickMs);
  }

  /** Each attempt reads and writes what is not marked durable: the longer it is in vain, the rarer it is made. */
  #isTimeToReopen(): boolean {
    const ticks = this.#reopenTicks;
    if (this.#writer?.state.kind !== "read-only") {
      this.#reopenTicks = { left: 1, next: 2 };
      return false;
    }
    ticks.left--;
    if (ticks.left > 0) return false;
    this.#reopenTicks = { left: ticks.next, next: Math.min(2 * ticks.next, REOPEN_TICKS_MAX) };
    return true;
  }

  /** How long ago the first entry of the open segment was seen here; 0 while it has none. */
  #openAgeMs(): number {
    const { open } = this.chain;
    if (open.entries === 0) return 0;
    return this.#nowMs() - (this.#mark.segment === open.first ? this.#mark.sinceMs : this.#nowMs());
  }

  #nowMs(): number {
    return Number(this.#parts.clock.nowNs() / NS_PER_MS);
  }

  /** Of sealed segments whose index is still in memory only. */
  async #writeIndexes(): Promise<void> {
    for (const segment of this.chain.all) {
      const { first, memoryIndex, sealedAtNs } = segment;
      if (memoryIndex === undefined || sealedAtNs === undefined) continue;
      const written = await writeIndex(this.#parts, memoryIndex, { first, sealedAtNs });
      if (written !== undefined) segment.attachFile(written);
    }
  }

  async #saveProducers(): Promise<void> {
    const { fileSystem, folder, producers } = this.#parts;
    const next = this.chain.open.last + 1;
    if (this.#snapshots.at(-1) === next) return;
    await writeSnapshot(fileSystem, folder, next, producers.durableEntries());
    this.#snapshots.push(next);
    while (this.#snapshots.length > SNAPSHOTS_KEPT) {
      await removeIfThere(fileSystem, `${folder}/${snapshotFile(this.#snapshots[0]!)}`);
      this.#snapshots.shift();
    }
  }

  async #applyRetention(): Promise<void> {
    const { clock, retention } = this.#parts;
    await this.#removeLeaving();
    for (;;) {
      const reason = findReason(this.chain, retention, clock.nowNs());
      if (reason === undefined) return;
      await this.#drop(reason);
    }
  }

  /** Drops the oldest segment, which is sealed. Returns its bytes. */
  async #drop(reason: "bytes" | "age" | "space"): Promise<number> {
    const { producers, incidents } = this.#parts;
    // Q3. Only who wrote last in what is dropped would be forgotten.
    const { last } = this.chain.all[0]!;
    if (producers.hasBefore(last + 1) && (this.#snapshots.at(-1) ?? 0) <= last) await this.#saveProducers();
    this.#leaving = this.chain.dropFirst();
    const { first, bytes, storedBytes, indexBytes } = this.#leaving;
    await this.#removeLeaving();
    incidents.tell({ kind: "segment-removed", first, last, bytes, reason });
    return storedBytes + indexBytes;
  }

  /** Q2. What could not be removed is tried again before anything else goes. */
  async #removeLeaving(): Promise<void> {
    if (this.#leaving === undefined) return;
    await removeSegment(this.#leaving, this.#parts);
    this.#leaving = undefined;
  }

  /** U2. */
  async #saveMark(): Promise<void> {
    const { fileSystem, folder, recovered } = this.#parts;
    const { open } = this.chain;
    const sinceMs = this.#mark.segment === open.first && this.#mark.bytes > 0 ? this.#mark.sinceMs : this.#nowMs();
    const mark = { segment: open.first, bytes: open.bytes, sequence: open.last, sinceMs };
    if (isSamePlace(mark, this.#mark)) return;
    await writeEpochs(fileSystem, folder, { epochs: recovered.epochs, mark });
    this.#mark = mark;
  }

  /** Serves from memory at once; the next tick writes it. */
  async #rebuild(segment: Segment): Promise<void> {
    const { epochs } = this.#parts.recovered;
    const isExpected = (epoch: number, sequence: number) => epochOf(epochs, sequence) === epoch;
    segment.attachMemory(await buildIndex(this.#parts, segment.first, isExpected));
    this.#parts.incidents.tell({ kind: "index-rebuilt", first: segment.first });
  }

  /** U1, for whoever must know how the job ended. */
  #alone(job: () => Promise<void>): Promise<void> {
    const done = this.#jobs.then(job);
    this.#jobs = done.catch(() => undefined);
    return done;
  }

  /** U1. */
  #do(what: string, job: () => Promise<void>): void {
    this.#jobs = this.#jobs.then(job).catch((error: unknown) => {
      this.#parts.incidents.fault(`cannot ${what}: ${error instanceof Error ? error.message : String(error)}`);
    });
  }
}
