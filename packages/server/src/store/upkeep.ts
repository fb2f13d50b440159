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
import type { SegmentMaker } from "./group-commit.ts";
import type { LabelDictionary } from "./labels.ts";
import type { ProducerTable } from "./producers.ts";
import type { FileIndex } from "./index-file.ts";
import type { Recovered } from "./recovery.ts";
import type { RetentionPolicy } from "./retention.ts";
import { SegmentChain } from "./chain.ts";
import { epochOf, isSamePlace, writeEpochs } from "./epochs.ts";
import { MemoryIndex } from "./memory-index.ts";
import { snapshotFile, writeSnapshot } from "./producer-snapshot.ts";
import { buildIndex, createSegmentFile, writeIndex } from "./segment-files.ts";
import { findReason, removeIfThere, removeSegment } from "./retention.ts";
import { Segment } from "./segment.ts";

/** With retention by age, a segment is sealed when its oldest entry has this share of the age: so little stays longer. */
const SEAL_AGE_SHARE = 8;
/** Producer snapshots kept: the newest, and one more in case it cannot be read. */
const SNAPSHOTS_KEPT = 2;
const NS_PER_MS = 1_000_000n;

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
  readonly tickMs: number;
}

export class Upkeep implements SegmentMaker {
  readonly chain = new SegmentChain();
  readonly #parts: UpkeepParts;
  /** Seals the open segment; given by `start`. */
  #roll: () => Promise<void> = () => Promise.resolve();
  #jobs: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #ordinals = 0;
  #mark: DurableMark;
  /** Positions of producer snapshots, ascending; all that were written here are durable. */
  readonly #snapshots: number[];
  /** Taken out of the chain, still on disk. */
  #leaving: Segment | undefined;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.#mark = parts.recovered.mark;
    this.#snapshots = [...parts.recovered.snapshots];
    for (const { first, index } of parts.recovered.segments) {
      this.#addSegment(first, index);
    }
    for (const segment of this.chain.all.slice(0, -1)) segment.sealedAtNs ??= parts.clock.nowNs();
  }

  start(roll: () => Promise<void>): void {
    this.#roll = roll;
    this.#timer = this.#parts.clock.setTimer(() => this.#tick(), this.#parts.tickMs);
  }

  /** Ends the background work when what was begun is done, and says on disk how far all is durable (U2). */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#do("write the mark", () => this.#saveMark());
    await this.#jobs;
  }

  async makeSegment(first: number): Promise<File> {
    const { fileSystem, folder, labels, clock } = this.#parts;
    const file = await createSegmentFile(fileSystem, folder, first);
    const full = this.chain.open;
    full.sealedAtNs = clock.nowNs();
    this.#addSegment(first, new MemoryIndex(labels));
    this.#parts.incidents.tell({ kind: "segment-sealed", first: full.first, last: full.last, bytes: full.bytes });
    this.#do("write indexes", () => this.#writeIndexes());
    this.#do("write the table of producers", () => this.#saveProducers());
    this.#do("apply the retention", () => this.#applyRetention());
    return file;
  }

  #addSegment(first: number, index: MemoryIndex | FileIndex): void {
    const host = {
      pool: this.#parts.pool,
      nextOrdinal: () => this.#ordinals++,
      rebuild: (segment: Segment) => this.#rebuild(segment),
      onTableLoaded: (segment: Segment) => this.chain.noteTable(segment),
    };
    this.chain.add(new Segment(host, this.#parts.folder, first, index));
  }

  #tick(): void {
    const { clock, tickMs, retention } = this.#parts;
    this.#do("write indexes", () => this.#writeIndexes());
    this.#do("apply the retention", () => this.#applyRetention());
    this.#do("write the mark", () => this.#saveMark());
    const isOld = retention.ageMs !== undefined && this.#openAgeMs() > retention.ageMs / SEAL_AGE_SHARE;
    const rolled = isOld ? this.#roll() : Promise.resolve();
    this.#do("seal a segment", () => rolled);
    this.#timer = clock.setTimer(() => this.#tick(), tickMs);
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
    const { clock, retention, producers } = this.#parts;
    await this.#removeLeaving();
    for (;;) {
      const reason = findReason(this.chain, retention, clock.nowNs());
      if (reason === undefined) return;
      // Q3. Only who wrote last in what is dropped would be forgotten.
      const { last } = this.chain.all[0]!;
      if (producers.hasBefore(last + 1) && (this.#snapshots.at(-1) ?? 0) <= last) await this.#saveProducers();
      this.#leaving = this.chain.dropFirst();
      const { first, bytes } = this.#leaving;
      await this.#removeLeaving();
      this.#parts.incidents.tell({ kind: "segment-removed", first, last, bytes, reason });
    }
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

  /** U1. */
  #do(what: string, job: () => Promise<void>): void {
    this.#jobs = this.#jobs.then(job).catch((error: unknown) => {
      this.#parts.incidents.fault(`cannot ${what}: ${error instanceof Error ? error.message : String(error)}`);
    });
  }
}
