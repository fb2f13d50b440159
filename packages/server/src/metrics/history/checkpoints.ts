// Checkpoints: what the history has got since the last one goes to disk compressed, in slices; then the records that it stands
// for may go (J3 of history-log.ts).
//
// C1. Nothing is written of a point whose record is not durable: a chunk never knows more than the records.
// C2. A series is described in every checkpoint that has a chunk of it, so that older ones can go.
import { zstdCompressSync } from "node:zlib";
import type { Clock } from "../../store/contract.ts";
import type { Log } from "../../store/log.ts";
import { ByteSink } from "../../stream/byte-sink.ts";
import { nextTurn } from "../../stream/turn.ts";
import type { DescribedSeries } from "../series.ts";
import type { Stretch } from "./arena.ts";
import type { History } from "./history.ts";
import { batchOf, encodeRecord, writeDefinition } from "./record.ts";

/** Sealed in one go: a millisecond or so. */
const SLICE_SERIES = 500;
const SERIES_PER_RECORD = 500;
const TICKS_PER_RECORD = 20_000;

type Described = readonly [id: number, series: DescribedSeries];

/** Where a checkpoint ended. */
export interface Saved {
  readonly place: { readonly slab: number; readonly offset: number };
  readonly tick: number;
}

export interface CheckpointsOptions {
  readonly history: History;
  readonly points: Log;
  readonly chunks: Log;
  readonly clock: Clock;
  /** What was found on disk, and how many bytes of records were read behind it. */
  readonly loaded: { readonly saved: Saved; readonly recordBytes: number };
  readonly everyMs: number;
  readonly bytes: number;
  /** Resolves when everything that was written so far is durable. */
  readonly commit: () => Promise<void>;
  readonly onFault?: (text: string) => void;
}

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  #saved: Saved;
  #recordBytes: number;
  #lastMs: number;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
    this.#saved = options.loaded.saved;
    this.#recordBytes = options.loaded.recordBytes;
    this.#lastMs = options.clock.monotonicMs();
  }

  /** So many bytes of records have become durable: looks whether it is time. */
  note(bytes: number): void {
    const { everyMs, clock, onFault } = this.#options;
    this.#recordBytes += bytes;
    if (this.#recordBytes === 0 || this.#running !== undefined) return;
    const isDue = this.#recordBytes >= this.#options.bytes || clock.monotonicMs() - this.#lastMs >= everyMs;
    if (!isDue) return;
    this.run().catch((error: unknown) => {
      onFault?.(`cannot write a checkpoint of metrics: ${error instanceof Error ? error.message : String(error)}`);
    });
  }

  /** One now, or the one that runs. @throws what the store says */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Ends before what is not written yet: the next start does without it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running?.catch(() => undefined);
  }

  async #run(): Promise<void> {
    const { history, points, clock, commit } = this.#options;
    this.#lastMs = clock.monotonicMs();
    this.#recordBytes = 0;
    history.expire();
    const sequence = points.reader.head.sequence;
    const from = this.#saved;
    for (let id = 0; id < history.ids; id++) {
      if (id % SLICE_SERIES === SLICE_SERIES - 1) await nextTurn();
      if (history.seriesOf(id) !== undefined) history.seal(id);
    }
    const stretches = [...history.since(from.place)];
    const saved = { place: history.end, tick: history.ticks.next };
    const described = this.#describedSince(from);
    // C1.
    await commit();
    if (this.#isClosed) return;
    await this.#write(stretches, described, from, saved);
    await this.#append({
      case: "done",
      value: { pointsSequence: BigInt(sequence), nextTick: BigInt(saved.tick) },
    });
    this.#saved = saved;
    await this.#dropRecords(sequence);
  }

  /** C2. As they are now: a number may be another series' before all is written. */
  #describedSince(from: Saved): Described[] {
    const { history } = this.#options;
    const described: Described[] = [];
    for (const each of history.all()) if (history.hasChunkSince(each[0], from.place)) described.push(each);
    return described;
  }

  async #write(stretches: readonly Stretch[], described: readonly Described[], from: Saved, to: Saved): Promise<void> {
    const { ticks } = this.#options.history;
    await this.#append({ case: "begun", value: {} });
    for (const { slab, offset, bytes, sealedMs } of stretches) {
      await this.#append({
        case: "chunks",
        value: { slab, offset, bytes, sealedAt: BigInt(sealedMs) * 1_000_000n },
      });
    }
    for (let first = Math.max(from.tick, ticks.begin); first < to.tick; first += TICKS_PER_RECORD) {
      const count = Math.min(TICKS_PER_RECORD, to.tick - first);
      const timestamps = Array.from({ length: count }, (_, i) => ticks.timestampNs(first + i));
      const sequences = Array.from({ length: count }, (_, i) =>
        BigInt(ticks.sequence(first + i) - (i === 0 ? 0 : ticks.sequence(first + i - 1))),
      );
      await this.#append({ case: "ticks", value: { firstTick: BigInt(first), timestamps, sequences } });
    }
    // A SeriesList.
    const list = new ByteSink(64 * 1024);
    for (let at = 0; at < described.length; at += SERIES_PER_RECORD) {
      list.used = 0;
      for (const each of described.slice(at, at + SERIES_PER_RECORD)) writeDefinition(list, ...each);
      const series = zstdCompressSync(list.bytes.subarray(0, list.used));
      await this.#append({ case: "series", value: { series } });
    }
  }

  async #append(kind: Parameters<typeof encodeRecord>[0]): Promise<void> {
    const { writer } = this.#options.chunks;
    const { next: sequence, epoch } = writer;
    await writer.append(sequence, batchOf(encodeRecord(kind), { sequence, epoch }));
  }

  async #dropRecords(upTo: number): Promise<void> {
    const { points } = this.#options;
    for (let oldest = points.oldestSealed; oldest !== undefined && oldest.last <= upTo; oldest = points.oldestSealed) {
      if ((await points.dropOldest()) === 0) return;
    }
  }
}
