// The history on disk: two logs of the store, and what keeps them short.
//
//   points/   what was written, a record for each commit; a cursor is a place in it
//   chunks/   checkpoints: what the history holds compressed, written behind what was written before
//
// J1. What was written before `commit` was called is durable when it resolves. Points of a turn, and all that come while a
//     commit runs, go to disk together.
// J2. A record that could not be written stays, and is tried again with the next commit: points that are in memory, and may
//     have been seen, are acknowledged only when they are on disk.
// J3. A checkpoint stands for all records up to one of them, which then may go. One that was not completed is void.
// J4. At the start the chunks come back as they are, and only the records behind the last checkpoint are read. Points that are in
//     both are taken once: a series has them in the order of their ticks, and its chunks end at one.
import { LimitExceeded } from "../../errors.ts";
import type { Clock, LogReader, Timer } from "../../store/contract.ts";
import { makeFolderIn } from "../../store/data-folder.ts";
import type { FileSystem } from "../../store/file-system.ts";
import { type Log, openLog } from "../../store/log.ts";
import { cursorOf } from "../../stream/cursor.ts";
import type { DescribedSeries, Point, Series } from "../series.ts";
import { Checkpoints } from "./checkpoints.ts";
import { History } from "./history.ts";
import { loadHistory } from "./load.ts";
import { batchOf, metricsFrameCodec, OpenRecord } from "./record.ts";

const MIB = 1024 * 1024;

export interface HistoryLogOptions {
  /** So long points are kept. */
  readonly keepMs: number;
  /** What they may take in memory; beyond it the oldest go sooner. */
  readonly bytesMax: number;
  /** Between two checkpoints at most, while points come. */
  readonly checkpointMs?: number;
  /** Of records, between two checkpoints: what is read again at a start. */
  readonly checkpointBytes?: number;
  readonly segmentBytes?: number;
  readonly slabBytes?: number;
}

export interface OpenHistoryLogRequest {
  /** Of the history alone; made when it is missing. */
  readonly folder: string;
  /** The folder above it. */
  readonly parent: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly options: HistoryLogOptions;
  readonly isLive: (series: DescribedSeries) => boolean;
  /** Hears of what goes wrong in the background, in a sentence. */
  readonly onFault?: (text: string) => void;
}

const CHECKPOINT_MS = 30 * 60_000;
const CHECKPOINT_BYTES = 128 * MIB;
const SEGMENT_BYTES = 16 * MIB;
const TICK_MS = 60_000;
/** A record of so much is complete. */
const RECORD_BYTES = 4 * MIB;
/** Records that could not be written, together. */
const WAITING_BYTES_MAX = 64 * MIB;
const RETRY_AFTER_MS = 1000;
/** Of cursors. */
export const HISTORY_LOG_NAME = "metrics";

interface Group {
  readonly record: OpenRecord;
  done: PromiseWithResolvers<void>;
  message: Uint8Array | undefined;
}

/** Opens the history of a data folder, or makes it, and reads it back. */
export async function openHistoryLog(request: OpenHistoryLogRequest): Promise<HistoryLog> {
  const { folder, parent, fileSystem, clock, options, onFault } = request;
  await makeFolderIn(fileSystem, parent, folder);
  await using opening = new AsyncDisposableStack();
  const open = async (name: string): Promise<Log> => {
    const log = opening.use(
      await openLog({
        folder: `${folder}/${name}`,
        name: name === "points" ? HISTORY_LOG_NAME : `metrics ${name}`,
        fileSystem,
        clock,
        codec: metricsFrameCodec,
        options: {
          segmentBytes: options.segmentBytes ?? SEGMENT_BYTES,
          tailBytes: MIB,
          historyBytesMax: MIB,
          openFilesMax: 4,
          applicationsMax: 1,
          producersMax: 0,
          tickMs: TICK_MS,
          scrubBytesPerSecond: MIB,
          ...(name === "chunks" ? { retentionAgeMs: options.keepMs } : {}),
        },
        onEvent(event) {
          if (event.kind === "fault") onFault?.(event.text);
        },
      }),
    );
    // Records have no label: the log gives the empty one the number that they all have.
    log.writer.internLabel("");
    return log;
  };
  const points = await open("points");
  const chunks = await open("chunks");
  const loaded = await loadHistory({ points: points.reader, chunks: chunks.reader, onFault }, (firstTick) => {
    const { keepMs, bytesMax, slabBytes } = options;
    const nowMs = (): number => Number(clock.nowNs() / 1_000_000n);
    return new History(
      { keepMs, bytesMax, nowMs, isLive: request.isLive, ...(slabBytes === undefined ? {} : { slabBytes }) },
      firstTick,
    );
  });
  return new HistoryLog({ request, points, chunks, loaded, resources: opening.move() });
}

export class HistoryLog implements AsyncDisposable {
  readonly history: History;
  readonly #request: OpenHistoryLogRequest;
  readonly #points: Log;
  readonly #checkpoints: Checkpoints;
  readonly #resources: AsyncDisposableStack;
  /** The first one is on its way when `#isWriting`; the last one is being filled. */
  readonly #groups: Group[] = [];
  #isWriting = false;
  #isScheduled = false;
  #hasFailed = false;
  #nextSequence: number;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(parts: {
    request: OpenHistoryLogRequest;
    points: Log;
    chunks: Log;
    loaded: Awaited<ReturnType<typeof loadHistory>>;
    resources: AsyncDisposableStack;
  }) {
    const { request, points, chunks, loaded } = parts;
    const { options, clock, onFault } = request;
    this.#request = request;
    this.history = loaded.history;
    this.#points = points;
    this.#resources = parts.resources;
    this.#nextSequence = points.writer.next;
    this.#checkpoints = new Checkpoints({
      history: loaded.history,
      points,
      chunks,
      clock,
      loaded,
      everyMs: options.checkpointMs ?? CHECKPOINT_MS,
      bytes: options.checkpointBytes ?? CHECKPOINT_BYTES,
      commit: () => this.commit(),
      ...(onFault === undefined ? {} : { onFault }),
    });
    this.#setTimer();
  }

  /** Of the log that cursors are places in. */
  get reader(): LogReader {
    return this.#points.reader;
  }

  /** Of everything that is durable: what was told by now has been told up to there, at least. */
  get cursor(): string {
    return cursorOf(this.reader, this.reader.head.sequence);
  }

  /** @throws LimitExceeded: the disk takes nothing, and there is too much already that waits for it */
  assertRoom(): void {
    if (!this.#hasFailed) return;
    const bytes = this.#groups.reduce((sum, { record, message }) => sum + (message?.length ?? record.bytes), 0);
    if (bytes < WAITING_BYTES_MAX) return;
    throw new LimitExceeded(
      `Cannot take points: ${bytes} bytes of them wait for the disk, the limit is ${WAITING_BYTES_MAX}`,
      "bytes of metrics waiting for the disk",
      { retryAfterMs: RETRY_AFTER_MS },
    );
  }

  /** Takes a point of a live series; `isStale`: the series ends with it. Durable with the next commit. */
  write(series: Series, point: Point, isStale: boolean): void {
    const { history } = this;
    let id = series.historyId;
    if (id < 0) {
      const known = history.find(series.key);
      id = known ?? history.add(series);
      series.historyId = id;
      if (known === undefined) this.#filled().record.describe(id, series);
      else history.replace(id, series);
    }
    this.writePast(id, point, isStale);
  }

  /** The same of a series that the history knows, whether it is live or not. */
  writePast(id: number, point: Point, isStale: boolean): void {
    const { history } = this;
    const group = this.#filled();
    const { record } = group;
    const { value, timestampNs, startNs, intValue, shape } = point;
    const tick = record.tick(timestampNs, () => history.ticks.add(timestampNs, record.sequence));
    const past = { value, intValue, timestampNs, startNs, shape, isStale };
    record.add(id, tick, past);
    history.append(id, tick, past);
    if (record.bytes < RECORD_BYTES) return;
    this.#close(group);
    this.#schedule();
  }

  /** J1. @throws what the store says */
  commit(): Promise<void> {
    const last = this.#groups.at(-1);
    if (last === undefined) return Promise.resolve();
    this.#schedule();
    return last.done.promise;
  }

  /** Brings what is in memory into chunks on disk now. For tests, and for who wants to measure. */
  checkpoint(): Promise<void> {
    return this.#checkpoints.run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#checkpoints.close();
    await this.commit().catch(() => undefined);
    await this.#resources.disposeAsync();
  }

  /** The group that is being filled. */
  #filled(): Group {
    const last = this.#groups.at(-1);
    return last === undefined || last.message !== undefined ? this.#makeGroup() : last;
  }

  #makeGroup(): Group {
    const record = new OpenRecord(this.#nextSequence++, this.history.ticks.next);
    const group = { record, done: makeDone(), message: undefined };
    this.#groups.push(group);
    return group;
  }

  #close(group: Group): Uint8Array {
    return (group.message ??= group.record.toMessage());
  }

  /** At the end of this turn's microtasks, unless a commit runs: then behind it. */
  #schedule(): void {
    if (this.#isScheduled || this.#isWriting) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      void this.#hand();
    });
  }

  async #hand(): Promise<void> {
    const group = this.#groups[0];
    if (this.#isWriting || group === undefined) return;
    this.#isWriting = true;
    const message = this.#close(group);
    const { sequence } = group.record;
    const { writer } = this.#points;
    try {
      await writer.append(sequence, batchOf(message, { sequence, epoch: writer.epoch }));
    } catch (error) {
      this.#isWriting = false;
      this.#fail(error);
      return;
    }
    this.#isWriting = false;
    this.#hasFailed = false;
    this.#groups.shift();
    group.done.resolve();
    if (this.#groups.length > 0) this.#schedule();
    if (!this.#isClosed) this.#checkpoints.note(message.length);
  }

  /** J2. */
  #fail(error: unknown): void {
    this.#hasFailed = true;
    for (const group of this.#groups) {
      const { done } = group;
      group.done = makeDone();
      done.reject(error);
    }
  }

  #setTimer(): void {
    this.#timer = this.#request.clock.setTimer(() => {
      this.history.expire();
      this.#checkpoints.note(0);
      this.#setTimer();
    }, TICK_MS);
  }
}

function makeDone(): PromiseWithResolvers<void> {
  const done = Promise.withResolvers<void>();
  // Whoever waits hears of it by a promise of its own.
  done.promise.catch(() => undefined);
  return done;
}
