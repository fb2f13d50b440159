// What happens to segments beside writing and reading them: they are made, sealed, rebuilt. Owned by the log.
//
// U1. Jobs run one after the other; `close` waits for them. A job that fails says so in `faults` and breaks nothing:
//     what it would have made can be derived.
import type { Clock, FrameCodec } from "./contract.ts";
import type { FilePool } from "./file-pool.ts";
import type { File, FileSystem } from "./file-system.ts";
import type { SegmentMaker } from "./group-commit.ts";
import type { LabelDictionary } from "./labels.ts";
import type { ProducerEntry, ProducerTable } from "./producers.ts";
import type { Recovered } from "./recovery.ts";
import { SegmentChain } from "./chain.ts";
import { epochOf } from "./epochs.ts";
import { writeIndexFile } from "./index-file.ts";
import { MemoryIndex } from "./memory-index.ts";
import { writeSnapshot } from "./producer-snapshot.ts";
import { createSegmentFile, openIndex, rebuildIndex } from "./recovery.ts";
import { Segment } from "./segment.ts";

const FAULTS_MAX = 100;
const DAMAGED_RANGES_MAX = 1000;

export interface DamagedRange {
  readonly first: number;
  readonly last: number;
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
}

export class Upkeep implements SegmentMaker {
  readonly chain = new SegmentChain();
  readonly faults: string[] = [];
  readonly damage: DamagedRange[] = [];
  readonly #parts: UpkeepParts;
  #jobs: Promise<void> = Promise.resolve();
  #ordinals = 0;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    for (const { first, index } of parts.recovered.segments) {
      this.chain.add(this.#segment(first, index));
    }
  }

  readonly onDamage = (_segment: Segment, first: number, last: number): void => {
    const { damage } = this;
    const known = damage.find((range) => first >= range.first && last <= range.last);
    if (known !== undefined || damage.length >= DAMAGED_RANGES_MAX) return;
    const before = damage.findIndex((range) => range.last === first - 1);
    if (before < 0) damage.push({ first, last });
    else damage[before] = { first: damage[before]!.first, last };
  };

  async makeSegment(first: number): Promise<File> {
    const { fileSystem, folder, labels, producers, clock } = this.#parts;
    const file = await createSegmentFile(fileSystem, folder, first);
    const full = this.chain.open;
    full.sealedAtNs = clock.nowNs();
    this.chain.add(this.#segment(first, new MemoryIndex(labels)));
    const known = producers.durableEntries();
    this.#do(`seal segment ${full.first}`, () => this.#seal(full, known, first));
    return file;
  }

  async close(): Promise<void> {
    await this.#jobs;
  }

  async #seal(segment: Segment, producers: readonly ProducerEntry[], next: number): Promise<void> {
    const { fileSystem, folder } = this.#parts;
    await writeSnapshot(fileSystem, folder, next, producers);
    const index = segment.memoryIndex;
    if (index === undefined || segment.sealedAtNs === undefined) return;
    await writeIndexFile(fileSystem, segment.indexPath, index, {
      first: segment.first,
      sealedAtNs: segment.sealedAtNs,
    });
    const written = await openIndex(this.#parts, segment.first);
    if (written !== undefined) segment.attachFile(written);
  }

  async #rebuild(segment: Segment): Promise<void> {
    const { epochs } = this.#parts.recovered;
    const isExpected = (epoch: number, sequence: number) => epochOf(epochs, sequence) === epoch;
    const index = await rebuildIndex(this.#parts, segment.first, isExpected);
    if ("pages" in index) segment.attachMemory(index);
    else segment.attachFile(index);
    this.#fault(`the index of segment ${segment.first} did not prove itself and was rebuilt`);
  }

  #segment(first: number, index: MemoryIndex | Recovered["segments"][number]["index"]): Segment {
    const host = {
      pool: this.#parts.pool,
      nextOrdinal: () => this.#ordinals++,
      rebuild: (segment: Segment) => this.#rebuild(segment),
      onTableLoaded: (segment: Segment) => this.chain.noteTable(segment),
    };
    return new Segment(host, this.#parts.folder, first, index);
  }

  /** U1. */
  #do(what: string, job: () => Promise<void>): void {
    this.#jobs = this.#jobs.then(job).catch((error: unknown) => {
      this.#fault(`cannot ${what}: ${error instanceof Error ? error.message : String(error)}`);
    });
  }

  #fault(text: string): void {
    if (this.faults.length >= FAULTS_MAX) this.faults.shift();
    this.faults.push(text);
  }
}
