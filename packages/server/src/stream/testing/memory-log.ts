// A log in memory for tests: the storage contract with its inside in the test's hands. Entries become durable when the
// test says so, history can be "on disk" (runs as promises), cut by retention, damaged, or of several eras.
import type {
  Batch,
  CountOptions,
  CountRow,
  EntryRun,
  LabelStatistics,
  LogReader,
  LogWriter,
  Position,
  ProducerState,
  Run,
  Scan,
  ScanQuery,
} from "../../store/contract.ts";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/api";
import { frameOf } from "@sluice/rpc";
import { Fenced } from "../../errors.ts";

interface Row {
  readonly frame: Uint8Array;
  readonly timestamp: bigint;
  readonly severity: number;
  readonly label: number;
}

interface Append {
  readonly rows: readonly Row[];
  readonly producer: { readonly id: string; readonly state: ProducerState } | undefined;
  readonly resolve: (last: number) => void;
  readonly reject: (error: Error) => void;
}

export class MemoryLog implements LogReader, LogWriter {
  readonly name: string;
  /** Appends become durable at once; else by `commit`. */
  isAutomatic = true;
  /** Entries up to here are read from disk: their runs come as promises. */
  onDiskTo = 0;
  /** Most entries in a run. */
  runEntriesMax = 3;
  /** What `room` answers. */
  roomGate: Promise<void> | undefined = undefined;
  /** Thrown by the next scans' reads. */
  readError: Error | undefined = undefined;
  epochs: Position[];
  first = 1;
  openScans = 0;
  /** How often scans were told that the memory of their runs is free. */
  releases = 0;
  readonly damaged = new Set<number>();
  readonly batches: Batch[] = [];

  readonly #rows: Row[] = [];
  readonly #labels: string[] = [];
  readonly #producers = new Map<string, ProducerState>();
  readonly #pending: Append[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #labelsMax: number;
  #next = 1;

  constructor(name = "default", options: { epoch?: number; labelsMax?: number } = {}) {
    this.name = name;
    this.epochs = [{ epoch: options.epoch ?? 1, sequence: 1 }];
    this.#labelsMax = options.labelsMax ?? 1000;
  }

  get epoch(): number {
    return this.epochs.at(-1)!.epoch;
  }

  get next(): number {
    return this.#next;
  }

  undone = 0;

  hasRoom(): boolean {
    return this.roomGate === undefined;
  }

  get head(): Position {
    return { epoch: this.epoch, sequence: this.#rows.length };
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  internLabel(name: string): number {
    const known = this.#labels.indexOf(name);
    if (known >= 0) return known;
    if (this.#labels.length >= this.#labelsMax) throw this.labelError;
    return this.#labels.push(name) - 1;
  }

  labelError: Error = new Error("no more labels");

  labelName(id: number): string {
    return this.#labels[id]!;
  }

  findLabel(name: string): number | undefined {
    const id = this.#labels.indexOf(name);
    return id < 0 ? undefined : id;
  }

  labels(): LabelStatistics[] {
    return this.#labels.map((name, label) => {
      const rows = this.#rows.filter((row) => row.label === label);
      const times = rows.map((row) => row.timestamp).toSorted((a, b) => (a < b ? -1 : 1));
      return {
        name,
        count: rows.length,
        firstTimestamp: times[0] ?? 0n,
        lastTimestamp: times.at(-1) ?? 0n,
        bytes: rows.reduce((sum, row) => sum + row.frame.length, 0),
      };
    });
  }

  producer(id: string): ProducerState | undefined {
    return this.#pending.findLast(({ producer }) => producer?.id === id)?.producer?.state ?? this.#producers.get(id);
  }

  append(expectedNext: number, batch: Batch): Promise<number> {
    if (expectedNext !== this.#next) throw new Fenced(expectedNext, this.#next);
    this.batches.push(batch);
    const rows = Array.from({ length: batch.count }, (_, i) => ({
      frame: batch.bytes.slice(batch.offsets[i], batch.offsets[i]! + batch.lengths[i]!),
      timestamp: batch.timestamps[i]!,
      severity: batch.severities[i]!,
      label: batch.labels[i]!,
    }));
    this.#next += rows.length;
    const state = { lastProducerSequence: batch.producer?.lastSequence ?? 0, lastSequence: this.#next - 1 };
    const producer = batch.producer === undefined ? undefined : { id: batch.producer.id, state };
    return new Promise((resolve, reject) => {
      this.#pending.push({ rows, producer, resolve, reject });
      if (this.isAutomatic) this.commit();
    });
  }

  /** Appends entries that are good enough for a reader. */
  write(...entries: readonly MessageInitShape<typeof LogEntrySchema>[]): Promise<number> {
    const frames = entries.map((entry, i) => {
      const sequence = BigInt(this.#next + i);
      return frameOf(toBinary(LogEntrySchema, create(LogEntrySchema, { ...entry, sequence })));
    });
    const { starts, bytes } = runOf(frames, [1]);
    return this.append(this.#next, {
      count: entries.length,
      bytes,
      offsets: starts,
      lengths: Uint32Array.from(frames, (frame) => frame.length),
      timestamps: BigInt64Array.from(entries, (entry) => entry.timestamp ?? 0n),
      severities: Uint8Array.from(entries, (entry) => entry.severityNumber ?? 0),
      labels: Uint32Array.from(entries, (entry) => this.internLabel(entry.application ?? "")),
    });
  }

  /** Makes all that was appended durable. */
  commit(): void {
    for (const { rows, producer, resolve } of this.#pending.splice(0)) {
      this.#rows.push(...rows);
      if (producer !== undefined) this.#producers.set(producer.id, producer.state);
      resolve(this.#rows.length);
      for (const listener of this.#listeners) listener();
    }
  }

  /** Makes all that is not durable fail. */
  failPending(error: Error): void {
    for (const { reject } of this.#pending.splice(0)) reject(error);
    this.#next = this.#rows.length + 1;
    this.undone++;
  }

  room(): Promise<void> | undefined {
    return this.roomGate;
  }

  durable(sequence: number): Promise<void> {
    if (sequence <= this.#rows.length) return Promise.resolve();
    return new Promise((resolve) => {
      const unsubscribe = this.onHead(() => {
        if (this.#rows.length < sequence) return;
        unsubscribe();
        resolve();
      });
    });
  }

  onHead(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Retention: only entries from `first` on are left. */
  dropBefore(first: number): void {
    this.first = first;
  }

  scan(after: number, query: ScanQuery = {}): Scan {
    this.openScans++;
    return new MemoryScan(this, after, query);
  }

  async findTail(count: number, before: number, query: ScanQuery = {}): Promise<number> {
    let left = count;
    for (let sequence = before - 1; sequence >= this.first; sequence--) {
      if (this.matches(sequence, query) && --left === 0) return sequence - 1;
    }
    return this.first - 1;
  }

  async count(query: ScanQuery, options: CountOptions): Promise<CountRow[]> {
    const rows = new Map<string, CountRow>();
    for (let sequence = this.first; sequence <= this.head.sequence; sequence++) {
      if (this.damaged.has(sequence) || !this.matches(sequence, query)) continue;
      const { timestamp, label, severity } = this.#rows[sequence - 1]!;
      const startNs = timestamp - (((timestamp % options.bucketNs) + options.bucketNs) % options.bucketNs);
      const row = {
        startNs,
        label: options.byLabel ? label : 0,
        severityRange: options.bySeverity ? Math.ceil(severity / 4) : 0,
      };
      const key = Object.values(row).join(" ");
      rows.set(key, { ...row, count: (rows.get(key)?.count ?? 0) + 1 });
    }
    return [...rows.values()].toSorted(
      (a, b) => Number(a.startNs - b.startNs) || a.label - b.label || a.severityRange - b.severityRange,
    );
  }

  frame(sequence: number): Uint8Array {
    return this.#rows[sequence - 1]!.frame;
  }

  matches(sequence: number, query: ScanQuery): boolean {
    const { minSeverity = 0, labels, startTimestamp, endTimestamp } = query;
    const row = this.#rows[sequence - 1]!;
    return (
      row.severity >= minSeverity &&
      (labels === undefined || labels.has(row.label)) &&
      (startTimestamp === undefined || row.timestamp >= startTimestamp) &&
      (endTimestamp === undefined || row.timestamp < endTimestamp)
    );
  }
}

class MemoryScan implements Scan {
  position: number;
  readonly #log: MemoryLog;
  readonly #query: ScanQuery;
  #isClosed = false;

  constructor(log: MemoryLog, after: number, query: ScanQuery) {
    this.#log = log;
    this.position = after;
    this.#query = query;
  }

  next(): Run | Promise<Run | undefined> | undefined {
    const log = this.#log;
    if (log.readError !== undefined) return Promise.reject(log.readError);
    if (this.position < Math.min(log.onDiskTo, log.head.sequence)) return Promise.resolve().then(() => this.#step());
    return this.#step();
  }

  release(): void {
    this.#log.releases++;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#log.openScans--;
  }

  #step(): Run | undefined {
    const log = this.#log;
    if (this.position + 1 < log.first) return this.#gap(log.first - 1, "retention");
    const frames: Uint8Array[] = [];
    const sequences: number[] = [];
    while (this.position < log.head.sequence && frames.length < log.runEntriesMax) {
      const sequence = this.position + 1;
      if (log.damaged.has(sequence)) {
        if (frames.length > 0) break;
        let last = sequence;
        while (log.damaged.has(last + 1)) last++;
        return this.#gap(last, "corruption");
      }
      this.position = sequence;
      if (!log.matches(sequence, this.#query)) continue;
      frames.push(log.frame(sequence));
      sequences.push(sequence);
    }
    return frames.length === 0 ? undefined : runOf(frames, sequences);
  }

  #gap(last: number, reason: "retention" | "corruption"): Run {
    const first = this.position + 1;
    this.position = last;
    return { kind: "gap", first, last, reason };
  }
}

function runOf(frames: readonly Uint8Array[], sequences: readonly number[]): EntryRun {
  const starts = new Uint32Array(frames.length + 1);
  for (const [i, frame] of frames.entries()) starts[i + 1] = starts[i]! + frame.length;
  return {
    kind: "entries",
    first: sequences[0]!,
    last: sequences.at(-1)!,
    count: frames.length,
    bytes: Buffer.concat(frames),
    starts,
  };
}
