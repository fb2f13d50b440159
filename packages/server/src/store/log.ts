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
import type { DamagedRange } from "./upkeep.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { FilePool } from "./file-pool.ts";
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
  readonly producersMax: number;
}

export const DEFAULT_LOG_OPTIONS: LogOptions = {
  segmentBytes: 64 * MIB,
  groupBytesMax: 8 * MIB,
  batchBytesMax: 64 * MIB,
  pendingBytesMax: DEFAULT_LIMITS.pendingBytesMax,
  tailBytes: 8 * MIB,
  historyBytesMax: 64 * MIB,
  openFilesMax: 128,
  applicationsMax: DEFAULT_LIMITS.applicationsMax,
  producersMax: DEFAULT_LIMITS.producersMax,
};

export interface OpenLogRequest {
  /** Of this log alone; made when it is missing. */
  readonly folder: string;
  readonly name: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly codec: FrameCodec;
  readonly options?: Partial<LogOptions>;
}

export interface LogState {
  readonly writer: WriterState;
  readonly segments: number;
  readonly bytes: number;
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
  readonly report: RecoveryReport;
  readonly state: LogState;
}

/** Opens a log, or makes it; recovers it first. One process, one opener: see `data-folder.ts`. */
export async function openLog(request: OpenLogRequest): Promise<Log> {
  if (endianness() !== "LE") throw new Error("The store needs a little-endian machine: its files are read in place");
  return EmbeddedLog.open(request, { ...DEFAULT_LOG_OPTIONS, ...request.options });
}

class EmbeddedLog implements Log {
  readonly writer: GroupCommit;
  readonly reader: EmbeddedReader;
  readonly report: RecoveryReport;
  readonly #core: LogCore;
  readonly #pool: FilePool;
  readonly #upkeep: Upkeep;

  private constructor(parts: {
    core: LogCore;
    pool: FilePool;
    upkeep: Upkeep;
    writer: GroupCommit;
    report: RecoveryReport;
  }) {
    this.#core = parts.core;
    this.#pool = parts.pool;
    this.#upkeep = parts.upkeep;
    this.writer = parts.writer;
    this.reader = new EmbeddedReader(parts.core);
    this.report = parts.report;
  }

  static async open(request: OpenLogRequest, options: LogOptions): Promise<EmbeddedLog> {
    const { folder, name, fileSystem, clock, codec } = request;
    await makeLogFolder(fileSystem, folder);
    const pool = new FilePool(fileSystem, { openMax: options.openFilesMax });
    const labels = new LabelDictionary(options.applicationsMax);
    const producers = new ProducerTable(options.producersMax);
    const source = { folder, fileSystem, codec, pool, labels, clock };
    const recovered = await recoverLog({ ...source, producers });
    const upkeep = new Upkeep({ ...source, producers, recovered });
    const headSequence = upkeep.chain.open.last;
    const core = new LogCore({
      name,
      chain: upkeep.chain,
      tail: new Tail(headSequence + 1, { bytesMax: options.tailBytes }),
      history: new History({ bytesMax: options.historyBytesMax, codec, onDamage: upkeep.onDamage }),
      labels,
      epochs: recovered.epochs,
      headSequence,
    });
    const writer = new GroupCommit({ core, producers, segments: upkeep, file: recovered.file, options });
    return new EmbeddedLog({ core, pool, upkeep, writer, report: recovered.report });
  }

  get state(): LogState {
    return {
      writer: this.writer.state,
      segments: this.#core.chain.all.length,
      bytes: this.#core.chain.bytes,
      pendingBytes: this.writer.pendingBytes,
      damage: this.#upkeep.damage,
      faults: this.#upkeep.faults,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.writer.close();
    await this.#upkeep.close();
    this.#core.history.clear();
    await this.#pool.close();
  }
}

/** The folder's own name must be durable before anything in it is acknowledged. */
async function makeLogFolder(fileSystem: FileSystem, folder: string): Promise<void> {
  await fileSystem.makeFolder(folder);
  await fileSystem.syncFolder(dirname(folder));
}
