// All subscribers that ask for the same: one list of series, one clock, and one encoding for those in step.
//
// L1. A round is encoded once, for all who have had the round before. Who has not (the reader is slow, or has just come)
//     is encoded alone, up to the same moment, and is in step again.
// L2. What a slow reader costs is one entry for each series: it gets the newest point of each, and how many it missed.
// L3. Samples are due at multiples of the interval, `phaseMs` later: they do not drift, and one that is late is left out, not made
//     up for.
import { PointCause } from "@sluice/api";
import type { Clock, Timer } from "../store/contract.ts";
import { ByteSink } from "../stream/byte-sink.ts";
import { Baseline } from "./baseline.ts";
import type { MetricsQuery } from "./query.ts";
import type { Series, SeriesListener, SeriesTable } from "./series.ts";

/** A subscriber, as its selection sees it. */
export interface RoundReader {
  /** Whether it still has bytes of an earlier round to send. */
  readonly isBusy: boolean;
  /** Gets frames to send. `cursor`: what has been told with the last of them. */
  take(frames: Uint8Array, cursor: string): void;
  /** There was nothing to tell up to here. */
  onNothing(cursor: string): void;
  /** Series were left out, for there are too many. */
  onLeftOut(count: number): void;
}

interface Seat {
  readonly reader: RoundReader;
  /** What it has been sent, where it is not in step; undefined: it is. */
  own: Baseline | undefined;
  /** A round went by while it was busy. */
  hasMissed: boolean;
}

export interface SelectionOptions {
  readonly query: MetricsQuery;
  readonly table: SeriesTable;
  readonly clock: Clock;
  readonly seriesMax: number;
  /** Called before a round: whoever measures only when asked does it now. */
  readonly refresh: (matchesName: (name: string) => boolean) => void;
  /** A place in the history: everything that is durable. Empty: there is none. */
  readonly cursor: () => string;
  /** Default: 0. */
  readonly phaseMs?: number;
  /** Hears how late each round begins. */
  readonly onRound?: (lateMs: number) => void;
}

export class Selection implements SeriesListener, Disposable {
  readonly #options: SelectionOptions;
  readonly #series = new Set<Series>();
  readonly #seats = new Map<RoundReader, Seat>();
  readonly #listening: Disposable;
  #inStep: Baseline;
  #timer: Timer | undefined;
  /** Monotonic ms. */
  #dueMs = 0;
  #lastRoundMs = -Infinity;
  #lastResendMs: number;
  #leftOut = 0;

  constructor(options: SelectionOptions) {
    this.#options = options;
    const { query, table, clock } = options;
    for (const series of table.all()) this.#admit(series);
    this.#inStep = new Baseline(query);
    this.#inStep.skip(this.#series);
    // Samples do not wait for points: thousands of selections need not hear of each.
    const { onPoint, ...others } = listenerOf(this);
    this.#listening = table.listen(query.mode === "on-change" ? { ...others, onPoint } : others);
    this.#lastResendMs = clock.monotonicMs();
    this.#dueMs = this.#alignedAfter(clock.monotonicMs());
    if (query.mode !== "once") this.#setTimer();
  }

  get size(): number {
    return this.#series.size;
  }

  /** Its series, as they are now. */
  series(): Iterable<Series> {
    return this.#series;
  }

  get subscribers(): number {
    return this.#seats.size;
  }

  /** It gets what is there now, unless it wants updates only, and then takes part in rounds. */
  join(reader: RoundReader): void {
    const { query } = this.#options;
    const own = new Baseline(query);
    if (query.updatesOnly) own.skip(this.#series);
    else this.#sendAlone(reader, own, { cause: PointCause.INITIAL, isResend: false });
    this.#seats.set(reader, { reader, own, hasMissed: false });
    if (this.#leftOut > 0) reader.onLeftOut(this.#leftOut);
  }

  /** It gets the history first: a seat is kept for it, and all that is there now counts as told. */
  joinLater(reader: RoundReader): void {
    const own = new Baseline(this.#options.query);
    own.skip(this.#series);
    this.#seats.set(reader, { reader, own, hasMissed: true });
    if (this.#leftOut > 0) reader.onLeftOut(this.#leftOut);
  }

  /** It has got the history, but nothing of these: they are told as they are now. */
  introduce(reader: RoundReader, all: readonly Series[]): void {
    const own = this.#seats.get(reader)?.own;
    if (own === undefined) return;
    for (const series of all) own.forget(series);
    const sink = new ByteSink(256 + 64 * all.length);
    const cursor = this.#options.cursor();
    own.encode(all, sink, { cause: PointCause.INITIAL, isResend: false, cursor });
    if (sink.used > 0) reader.take(sink.bytes.subarray(0, sink.used), cursor);
  }

  leave(reader: RoundReader): void {
    this.#seats.delete(reader);
  }

  /** A reader has sent all it had: it gets at once what it has missed meanwhile. */
  onIdle(reader: RoundReader): void {
    const seat = this.#seats.get(reader);
    if (seat?.own === undefined || !seat.hasMissed) return;
    seat.hasMissed = false;
    this.#sendAlone(reader, seat.own, { cause: this.#cause, isResend: false });
  }

  onAdded(series: Series): void {
    if (this.#admit(series)) this.#onChange();
  }

  onPoint(series: Series): void {
    if (this.#series.has(series)) this.#onChange();
  }

  onRemoved(series: Series): void {
    if (!this.#series.delete(series)) return;
    this.#inStep.forget(series);
    for (const { own } of this.#seats.values()) own?.forget(series);
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#listening[Symbol.dispose]();
  }

  get #cause(): PointCause {
    return this.#options.query.mode === "on-change" ? PointCause.CHANGE : PointCause.SAMPLE;
  }

  #admit(series: Series): boolean {
    const { query, seriesMax } = this.#options;
    if (!query.matches(series)) return false;
    if (this.#series.size >= seriesMax) {
      this.#leftOut++;
      if (this.#leftOut === 1) for (const { reader } of this.#seats.values()) reader.onLeftOut(1);
      return false;
    }
    this.#series.add(series);
    return true;
  }

  /** Told when a point comes: at once, but not sooner than the interval after the last round. */
  #onChange(): void {
    const { query, clock } = this.#options;
    if (query.mode !== "on-change") return;
    const atMs = Math.max(clock.monotonicMs(), this.#lastRoundMs + query.intervalMs);
    if (atMs >= this.#dueMs) return;
    this.#dueMs = atMs;
    this.#setTimer();
  }

  #setTimer(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    const waitMs = Math.max(0, Math.ceil(this.#dueMs - clock.monotonicMs()));
    this.#timer = clock.setTimer(() => this.#round(), waitMs);
  }

  #round(): void {
    const { query, clock, refresh } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#options.onRound?.(Math.max(0, nowMs - this.#dueMs));
    // Due again before what is measured now comes in: an on-change selection does not wake itself.
    const lastRoundMs = this.#lastRoundMs;
    this.#lastRoundMs = nowMs;
    this.#dueMs = query.mode === "on-change" ? nowMs + query.intervalMs : this.#alignedAfter(nowMs);
    refresh(query.matchesName);
    const isResend = query.resendMs > 0 && nowMs - this.#lastResendMs >= query.resendMs;
    if (isResend) this.#lastResendMs = nowMs;
    const cursor = this.#options.cursor();
    const how = { cause: isResend ? PointCause.RESEND : this.#cause, isResend, cursor };
    let missed: Baseline | undefined;
    const sink = new ByteSink(256 + 64 * this.#series.size);
    const before = this.#hasBusyInStep() ? this.#inStep.copy() : undefined;
    this.#inStep.encode(this.#series, sink, how);
    const frames = sink.bytes.subarray(0, sink.used);
    // A round without anything to tell keeps nothing back.
    if (frames.length === 0) this.#lastRoundMs = lastRoundMs;
    for (const seat of this.#seats.values()) {
      if (seat.reader.isBusy) {
        seat.hasMissed = true;
        if (seat.own === undefined) {
          seat.own = missed === undefined ? before! : missed.copy();
          missed = seat.own;
        }
        continue;
      }
      if (seat.own === undefined) {
        if (frames.length > 0) seat.reader.take(frames, cursor);
        else seat.reader.onNothing(cursor);
      } else {
        this.#sendAlone(seat.reader, seat.own, how);
        seat.own = undefined;
        seat.hasMissed = false;
      }
    }
    this.#setTimer();
  }

  /** L3. */
  #alignedAfter(nowMs: number): number {
    const { query, phaseMs = 0 } = this.#options;
    return (Math.floor((nowMs - phaseMs) / query.intervalMs) + 1) * query.intervalMs + phaseMs;
  }

  #hasBusyInStep(): boolean {
    for (const { reader, own } of this.#seats.values()) if (own === undefined && reader.isBusy) return true;
    return false;
  }

  #sendAlone(
    reader: RoundReader,
    own: Baseline,
    how: { readonly cause: PointCause; readonly isResend: boolean },
  ): void {
    const sink = new ByteSink(256 + 64 * this.#series.size);
    const cursor = this.#options.cursor();
    own.encode(this.#series, sink, { ...how, cursor });
    if (sink.used > 0) reader.take(sink.bytes.subarray(0, sink.used), cursor);
    else reader.onNothing(cursor);
  }
}

function listenerOf(selection: Selection): Required<SeriesListener> {
  return {
    onAdded: (series) => selection.onAdded(series),
    onPoint: (series) => selection.onPoint(series),
    onRemoved: (series) => selection.onRemoved(series),
  };
}
