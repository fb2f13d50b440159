// A log in the embedded engine: makes its parts, and owns its background work.
//
//   writer  group-commit.ts → frames file, then in one turn: memory-index.ts, tail.ts, head (log-core.ts)
//   reader  scan.ts → tail.ts, or history.ts → segment.ts → frames and index file
//   upkeep  sealing (index-file.ts, producer-snapshot.ts), retention.ts, scrubber.ts, the mark of epochs.ts
import { endianness } from "node:os";
import { dirname } from "node:path";
import type { Clock, FrameCodec, LogReader, LogWriter } from "./contract.ts";
import type { FileSystem } from "./file-system.ts";
import type { WriterState } from "./group-commit.ts";
import type { RecoveryReport } from "./recovery.ts";
import type { DamagedRange, LogEvent } from "./events.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { makeFolderIn } from "./data-folder.ts";
import { type Dictionary, type DictionaryOptions, type OpenDictionary, openDictionary } from "./dictionary.ts";
import { Incidents } from "./events.ts";
import { Scrubber } from "./scrubber.ts";
import { FilePool } from "./file-pool.ts";
import { FilterBuilder, type FilterMaker } from "./filter-builder.ts";
import { GroupCommit } from "./group-commit.ts";
import { History } from "./history.ts";
import { LabelDictionary } from "./labels.ts";
import { LogCore } from "./log-core.ts";
import { ProducerTable } from "./producers.ts";
import { EmbeddedReader } from "./reader.ts";
import { recoverLog } from "./recovery.ts";
import { Tail } from "./tail.ts";
import { Upkeep } from "./upkeep.ts";

const MIB = 1024 * 1024;
/** Of bytes in a segment. */
const PLACES_MAX = 2 ** 32;

export interface LogOptions {
  /** A segment is sealed before it would grow beyond. Less than 4 GiB: places in a segment are 32 bits wide. */
  readonly segmentBytes: number;
  /** Written and synced at once, unless it is a single batch. */
  readonly groupBytesMax: number;
  readonly batchBytesMax: number;
  readonly pendingBytesMax: number;
  /** Newest entries kept in memory for those who follow. */
  readonly tailBytes: number;
  /** History kept in memory, for all readers together. */
  readonly historyBytesMax: number;
  /** Files of sealed segments kept open for reading. */
  readonly openFilesMax: number;
  readonly applicationsMax: number;
  /** 0: of none, and no table of them is written. */
  readonly producersMax: number;
  /** The oldest segments are dropped when frames and indexes take more; undefined: never. */
  readonly retentionBytes?: number | undefined;
  /** The oldest segments are dropped when their newest entry came longer ago; undefined: never. */
  readonly retentionAgeMs?: number | undefined;
  /** Writes are refused when frames and indexes would take more; undefined: never. */
  readonly quotaBytes?: number | undefined;
  /** Segments are compressed when they have been sealed for so long; undefined: never. */
  readonly compressAfterMs?: number | undefined;
  readonly dictionary?: Partial<DictionaryOptions>;
  /** Between two looks at retention by age and at what is to be tried again. */
  readonly tickMs: number;
  /** How fast sealed segments are read through, to find damage early. */
  readonly scrubBytesPerSecond: number;
  /** Between two such rounds. */
  readonly scrubRestMs: number;
  /** How fast the filters of sealed segments are made, in bytes of frames. */
  readonly filterBytesPerSecond: number;
}

export const DEFAULT_LOG_OPTIONS: LogOptions = {
  segmentBytes: 64 * MIB,
  // Takes its turn of the event loop when it is durable: 4 MiB of small entries are about 3 ms.
  groupBytesMax: 4 * MIB,
  batchBytesMax: 64 * MIB,
  pendingBytesMax: DEFAULT_LIMITS.pendingBytesMax,
  tailBytes: 8 * MIB,
  historyBytesMax: 24 * MIB,
  openFilesMax: 128,
  applicationsMax: DEFAULT_LIMITS.applicationsMax,
  producersMax: DEFAULT_LIMITS.producersMax,
  tickMs: 5_000,
  scrubBytesPerSecond: 8 * MIB,
  scrubRestMs: 24 * 60 * 60 * 1000,
  // A sixth of what the thread that makes them can do, or so: it shares the machine with those who write.
  filterBytesPerSecond: 20 * MIB,
};

export interface OpenLogRequest {
  /** Of this log alone; made when it is missing. */
  readonly folder: string;
  readonly name: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly codec: FrameCodec;
  readonly options?: Partial<LogOptions>;
  /** Makes the filters of sealed segments; without it there are none. */
  readonly filterMaker?: FilterMaker;
  /** Asked, and waited for, before a segment is made: whoever keeps space free makes it now. Never rejects. */
  readonly beforeSegment?: () => Promise<void>;
  /** Hears of what happens in the background. */
  readonly onEvent?: (event: LogEvent) => void;
}

export interface LogState {
  readonly writer: WriterState;
  readonly segments: number;
  readonly bytes: number;
  /** Frames and indexes, compressed or not. */
  readonly diskBytes: number;
  /** Why writes are refused now, in a sentence; empty: they are not. */
  readonly refusal: string;
  readonly pendingBytes: number;
  /** Entries found damaged since the log was opened: told to readers as gaps. Bounded; `damage.length` may be less. */
  readonly damage: readonly DamagedRange[];
  /** What background work could not do, newest last; bounded. */
  readonly faults: readonly string[];
}

/** An open log. Disposing brings what was appended to disk, stops the background work and closes all files. */
export interface Log extends AsyncDisposable {
  readonly writer: LogWriter;
  readonly reader: LogReader;
  /** What many of its entries share. */
  readonly dictionary: Dictionary;
  readonly report: RecoveryReport;
  readonly state: LogState;
  /** When the oldest segment that could be dropped was sealed, Unix ns; undefined: there is none. */
  readonly oldestSealedAtNs: bigint | undefined;
  /** The oldest segment, when it could be dropped: its entries, and its bytes on disk. */
  readonly oldestSealed: { readonly first: number; readonly last: number; readonly bytes: number } | undefined;
  /** Drops the oldest sealed segment because the disk has too little space. Returns its bytes; 0: it could not go. */
  dropOldest(): Promise<number>;
  /** Seals the open segment now, unless it is empty or the log refuses writes. */
  seal(): Promise<void>;
  /** Leaves the read-only state now, if nothing forbids it: what nobody was told to be durable is cut. @throws what is in the way */
  reopen(): Promise<void>;
  /** Refuses writes for this reason; undefined: no longer. */
  hold(why: string | undefined): void;
}

/** Opens a log, or makes it; recovers it first. One process, one opener: see `data-folder.ts`. */
export async function openLog(request: OpenLogRequest): Promise<Log> {
  if (endianness() !== "LE") throw new Error("The store needs a little-endian machine: its files are read in place");
  const options = settle({ ...DEFAULT_LOG_OPTIONS, ...request.options });
  const pool = new FilePool(request.fileSystem, { openMax: options.openFilesMax });
  try {
    return new EmbeddedLog(await openParts(request, options, pool));
  } catch (error) {
    await pool.close();
    throw error;
  }
}

/** Options that fit each other. @throws RangeError when places in a segment would not fit into 32 bits */
function settle(options: LogOptions): LogOptions {
  const { segmentBytes, groupBytesMax, batchBytesMax } = options;
  if (Math.max(segmentBytes, batchBytesMax) >= PLACES_MAX) {
    throw new RangeError(
      `Cannot keep segments of ${Math.max(segmentBytes, batchBytesMax)} bytes: they must be below 4 GiB`,
    );
  }
  return { ...options, groupBytesMax: Math.min(groupBytesMax, segmentBytes) };
}

/** What an open log consists of. */
interface LogParts {
  readonly core: LogCore;
  readonly pool: FilePool;
  readonly incidents: Incidents;
  readonly upkeep: Upkeep;
  readonly scrubber: Scrubber;
  /** Undefined: no filters are made. */
  readonly filters: FilterBuilder | undefined;
  readonly writer: GroupCommit;
  readonly dictionary: OpenDictionary;
  readonly report: RecoveryReport;
}

async function openParts(request: OpenLogRequest, options: LogOptions, pool: FilePool): Promise<LogParts> {
  const { folder, name, fileSystem, clock, codec } = request;
  await makeFolderIn(fileSystem, dirname(folder), folder);
  const labels = new LabelDictionary(options.applicationsMax);
  const producers = new ProducerTable(options.producersMax);
  const incidents = new Incidents(request.onEvent);
  const source = { folder, fileSystem, codec, pool, labels, clock, producers };
  const recovered = await recoverLog(source);
  const { compressAfterMs } = options;
  const retention = { bytes: options.retentionBytes, ageMs: options.retentionAgeMs };
  const upkeep = new Upkeep({
    ...source,
    recovered,
    incidents,
    retention,
    compressAfterMs,
    tickMs: options.tickMs,
    beforeSegment: request.beforeSegment,
  });
  const { chain } = upkeep;
  const core = new LogCore({
    name,
    chain,
    tail: new Tail(chain.open.last + 1, { bytesMax: options.tailBytes }),
    history: new History({ bytesMax: options.historyBytesMax, codec, onDamage: incidents.noteDamage }),
    labels,
    epochs: recovered.epochs,
    incidents,
  });
  const writer = new GroupCommit({ core, producers, segments: upkeep, file: recovered.file, incidents, options });
  const scrubOptions = { bytesPerSecond: options.scrubBytesPerSecond, restMs: options.scrubRestMs };
  const scrubber = new Scrubber({ chain, codec, clock, incidents, options: scrubOptions });
  const filterOptions = { bytesPerSecond: options.filterBytesPerSecond, tickMs: options.tickMs };
  const { filterMaker: maker } = request;
  const filters =
    maker && new FilterBuilder({ chain, clock, fileSystem, pool, incidents, maker, options: filterOptions });
  const dictionary = await openDictionary({
    folder,
    fileSystem,
    log: name,
    next: () => writer.next,
    first: () => upkeep.firstOnDisk,
    ...(options.dictionary === undefined ? {} : { options: options.dictionary }),
  });
  return { core, pool, incidents, upkeep, scrubber, filters, writer, dictionary, report: recovered.report };
}

class EmbeddedLog implements Log {
  readonly reader: LogReader;
  readonly #parts: LogParts;

  constructor(parts: LogParts) {
    this.#parts = parts;
    this.reader = new EmbeddedReader(parts.core);
    parts.upkeep.start(parts.writer);
    parts.scrubber.start();
    parts.filters?.start();
  }

  get writer(): LogWriter {
    return this.#parts.writer;
  }

  get dictionary(): Dictionary {
    return this.#parts.dictionary;
  }

  get report(): RecoveryReport {
    return this.#parts.report;
  }

  get state(): LogState {
    const { core, incidents, writer } = this.#parts;
    return {
      writer: writer.state,
      segments: core.chain.all.length,
      bytes: core.chain.bytes,
      diskBytes: core.chain.diskBytes,
      refusal: writer.refusal,
      pendingBytes: writer.pendingBytes,
      damage: incidents.damage,
      faults: incidents.faults,
    };
  }

  get oldestSealedAtNs(): bigint | undefined {
    return this.#parts.upkeep.oldestSealedAtNs;
  }

  get oldestSealed(): Log["oldestSealed"] {
    const oldest = this.#parts.core.chain.all[0];
    if (oldest?.sealedAtNs === undefined) return undefined;
    const { first, last, storedBytes, indexBytes } = oldest;
    return { first, last, bytes: storedBytes + indexBytes };
  }

  dropOldest(): Promise<number> {
    return this.#parts.upkeep.dropOldest();
  }

  seal(): Promise<void> {
    return this.#parts.writer.roll();
  }

  reopen(): Promise<void> {
    return this.#parts.writer.reopen();
  }

  hold(why: string | undefined): void {
    this.#parts.writer.hold(why);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { core, pool, upkeep, scrubber, filters, writer, dictionary } = this.#parts;
    // The last one first; what fails keeps no other from closing.
    await using closing = new AsyncDisposableStack();
    closing.defer(() => pool.close());
    closing.defer(() => core.history.clear());
    closing.defer(() => upkeep.close());
    closing.defer(() => writer.close());
    closing.use(dictionary);
    closing.defer(() => filters?.close());
    closing.defer(() => scrubber.close());
  }
}
