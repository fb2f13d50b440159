// The storage contract: what a service may ask of a log. The embedded engine (`log.ts`) implements it; an engine of a
// cluster will. A service sees no file, no segment and no sync from here.
//
// C1. A reader sees only entries whose fdatasync returned.
// C2. Sequences start at 1 and have no holes. They are safe integers (2^53 entries are 285 years at 1 M/s).
// C3. Frames handed out are never changed, nor is their memory used again before the reader releases them: they may be
//     sent by reference.

/** Last entry read or written. Sequence 0 is before the first entry. */
export interface Position {
  readonly epoch: number;
  readonly sequence: number;
}

/**
 * Entries to append: whole gRPC frames, checked and stamped, one after the other, with the columns of the index.
 * All columns are at least `count` long. Ownership passes to the log.
 */
export interface Batch {
  readonly count: number;
  /** The frames, contiguous: frame i is bytes[offsets[i] .. offsets[i] + lengths[i]). */
  readonly bytes: Uint8Array;
  readonly offsets: Uint32Array;
  readonly lengths: Uint32Array;
  /** Event time, Unix nanoseconds. */
  readonly timestamps: BigInt64Array;
  /** OpenTelemetry severity number, 0 (unspecified) to 24. */
  readonly severities: Uint8Array;
  /** From `LogWriter.internLabel`: the application. */
  readonly labels: Uint32Array;
  /** Set when the entries come from an idempotent producer; the log remembers the last one, also across a crash. */
  readonly producer?: { readonly id: string; readonly lastSequence: number } | undefined;
}

export interface ProducerState {
  /** The producer's sequence of its last appended entry. */
  readonly lastProducerSequence: number;
  /** The log's sequence of that entry (may not be durable yet: await `durable`). */
  readonly lastSequence: number;
}

/** The one writer of a log. */
export interface LogWriter {
  readonly epoch: number;
  /** The sequence that the next appended entry gets. */
  readonly next: number;
  /** How often `next` has gone back: what somebody noted beside entries that were not durable then may be void. */
  readonly undone: number;
  /** The id of an application's name in the index. @throws LimitExceeded past the limit of names. */
  internLabel(name: string): number;
  /** What is known of a producer, appended or recovered; undefined: never seen, or forgotten (bounded, oldest first). */
  producer(id: string): ProducerState | undefined;
  /**
   * Appends, and resolves with the last sequence when it is durable. Assignment of sequences is synchronous: `next` has
   * moved when this returns. @throws Fenced when `expectedNext` is not `next`; LogReadOnly; DiskFull when too little is free;
   * QuotaExceeded; LimitExceeded; the promise
   * rejects with DiskFull or LogReadOnly, and then `next` has gone back: nothing of the batch was or will be read.
   */
  append(expectedNext: number, batch: Batch): Promise<number>;
  /**
   * Resolves when `bytes` more fit under the bound of what is appended and not durable yet; undefined: they fit now.
   * `append` past the bound is refused (LimitExceeded with a time to retry), so a stream of writes waits here first.
   */
  room(bytes: number): Promise<void> | undefined;
  /**
   * Whether `bytes` more fit now, and nobody waits for room.
   * @throws what `append` refuses with beside that: LogReadOnly, DiskFull, QuotaExceeded
   */
  hasRoom(bytes: number): boolean;
  /** Resolves when everything up to `sequence` is durable; rejects when it can no longer become so. */
  durable(sequence: number): Promise<void>;
}

/** Reads a log. Any number of them; none costs the writer anything. */
export interface LogReader {
  readonly name: string;
  /** The last durable entry. */
  readonly head: Position;
  /** The oldest entry still there; head.sequence + 1 when the log is empty. */
  readonly first: number;
  /** The table of eras: (epoch, first sequence of it), ascending. */
  readonly epochs: readonly Position[];
  /** The name behind a label id, and the id of a name, undefined when no entry ever carried it. */
  labelName(id: number): string;
  findLabel(name: string): number | undefined;
  /** One row per application. */
  labels(): LabelStatistics[];
  /** A position that moves: everything after `after`. */
  scan(after: number, query?: ScanQuery): Scan;
  /** Calls back (synchronously, in the turn of the commit) whenever the head has moved. Returns the unsubscribe. */
  onHead(listener: () => void): () => void;
  /**
   * Counts matching entries up to the head of the moment, from the index alone: entries that are damaged do not count.
   * Rows come by time, then label id, then severity. @throws LimitExceeded when there are more than `rowsMax`
   */
  count(query: ScanQuery, options: CountOptions): Promise<CountRow[]>;
  /** The sequence before which `count` matching entries lie, counted back from `before` (exclusive): tail_lines. */
  findTail(count: number, before: number, query?: ScanQuery): Promise<number>;
}

/** What the index alone can answer: pages that hold nothing of it are skipped unread. */
export interface ScanQuery {
  /** Smallest severity number; 0 or absent: all. */
  readonly minSeverity?: number;
  /** Label ids; absent: all. Kept by reference: an application that appears later may be added. */
  readonly labels?: ReadonlySet<number>;
  /** Event time, inclusive and exclusive, Unix ns. */
  readonly startTimestamp?: bigint;
  readonly endTimestamp?: bigint;
  /**
   * Marks (`FrameCodec.marks`) that every entry has which is looked for: segments whose filter lacks one are skipped
   * unread. What is handed out may lack them all the same.
   */
  readonly marks?: Uint32Array;
  /** Of one scan at a time. */
  readonly sought?: Sought;
}

/**
 * Looks through the bytes of many entries at once, before anything else is known of them: those in which nothing is found
 * are passed over, when they come from disk.
 */
export interface Sought {
  /**
   * Whether something that is looked for may be in these whole frames. A promise: not known yet; asked again with the same
   * bytes when it has resolved. Keeps no bytes about which it has answered.
   */
  mayBeIn(frames: Uint8Array): boolean | Promise<void>;
}

/** What is counted apart. */
export interface CountOptions {
  /** Width of a bucket of event time, ns, above 0. Buckets are aligned to the Unix epoch. */
  readonly bucketNs: bigint;
  readonly byLabel: boolean;
  /** In OpenTelemetry's ranges of four. */
  readonly bySeverity: boolean;
  readonly rowsMax: number;
  /** Called between short pieces of work: what it answers is waited for, so that others have the event loop. */
  readonly giveWay: () => Promise<void> | undefined;
}

export interface CountRow {
  /** Event time of the beginning of the bucket, Unix ns; the least int64 when it would lie before that. */
  readonly startNs: bigint;
  /** Label id; 0 when labels are not counted apart. */
  readonly label: number;
  /** 1 (TRACE) to 6 (FATAL), 0 for none, and when severities are not counted apart. */
  readonly severityRange: number;
  readonly count: number;
}

/** A cursor in motion, pulled by one reader. */
export interface Scan {
  /** Everything up to and including this sequence was handed out or skipped. */
  readonly position: number;
  /**
   * The next run of matching entries: at once when it is in the shared tail or already read, as a promise when it
   * must come from disk, undefined at the head. One call at a time.
   */
  next(maxBytes: number): Run | Promise<Run | undefined> | undefined;
  /**
   * Says that nobody looks at the bytes of any run that was handed out so far: their memory is used again. Need not be
   * called: what is not released is left to the garbage collector, which costs more (a third of the time of a long read).
   */
  release?(): void;
  close(): void;
}

/** What a scan hands out: entries in order, or a hole that must be told to the reader. */
export type Run = EntryRun | GapRun;

export interface EntryRun {
  readonly kind: "entries";
  /** Sequence of the first entry of `bytes`; the last is `last`. Without holes unless the query skipped some. */
  readonly first: number;
  readonly last: number;
  readonly count: number;
  /** Whole frames, contiguous, only those that match the ScanQuery. Frame i starts at starts[i], ends at starts[i + 1]. */
  readonly bytes: Uint8Array;
  readonly starts: Uint32Array;
  /** The same object is handed to all readers at this place: what becomes of it may be remembered for all. */
  readonly isShared?: boolean;
}

export interface GapRun {
  readonly kind: "gap";
  /** The entries first..last are not there any more. */
  readonly first: number;
  readonly last: number;
  readonly reason: "retention" | "epoch" | "corruption";
}

export interface LabelStatistics {
  readonly name: string;
  readonly count: number;
  readonly firstTimestamp: bigint;
  readonly lastTimestamp: bigint;
  readonly bytes: number;
}

/** How the store reads a stored frame, to rebuild an index or a producer table from frames alone. Given by the service. */
export interface FrameCodec {
  /**
   * Reads one whole frame (flag, length, message). Returns undefined when it does not prove itself: checksum or wire
   * format wrong. `expect` is where it must belong: a frame of another place is no proof.
   */
  describe(bytes: Uint8Array, start: number, end: number): FrameDescription | undefined;
  /**
   * Adds the marks of one frame: numbers of 32 bits that stand for what may be looked for in it. Who looks for something
   * must know of a mark that every frame has which holds it.
   */
  readonly marks?: (bytes: Uint8Array, start: number, end: number, to: { add(mark: number): void }) => void;
}

export interface FrameDescription {
  readonly epoch: number;
  readonly sequence: number;
  readonly timestamp: bigint;
  readonly severity: number;
  readonly label: string;
  readonly producer: string;
  readonly producerSequence: number;
  /** Ids in the log's dictionary. */
  readonly references?: readonly number[];
}

/** Time, owned by whoever runs the process (or a simulation). */
export interface Clock {
  /** Unix time in ns. */
  nowNs(): bigint;
  /** Monotonic ms. */
  monotonicMs(): number;
  setTimer(callback: () => void, ms: number): Timer;
}
export interface Timer {
  cancel(): void;
}
