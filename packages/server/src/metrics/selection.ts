// All subscribers that ask for the same: one list of series, one clock, and one encoding for those in step.
//
// L1. A round is encoded once for all who have been sent the same: those in step; those who have just come; those who were
//     busy for the same rounds. Whatever they had missed, all are told up to the same moment, and are in step again.
// L2. What slow readers cost is one entry for each series, and that once for all who fell behind in the same round: they get
//     the newest point of each series, and how many they missed.
// L3. Samples are due at multiples of the interval, `phaseMs` later: they do not drift, and one that is late is left out, not made
//     up for.
import { PointCause } from "@sluice/api";
import type { Clock, Timer } from "../store/contract.ts";
import { ByteSink } from "../stream/byte-sink.ts";
import { Baseline } from "./baseline.ts";
import { type MetricsQuery, seriesIn } from "./query.ts";
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
  /** What it has been sent, where it is not in step; undefined: it is. Never changed: others may have been sent the same. */
  told: Baseline | undefined;
  /** A round went by while it was busy. */
  hasMissed: boolean;
}

/** Frames, and what whoever gets them has been sent then; undefined: it is in step. */
interface CatchUp {
  readonly frames: Uint8Array;
  readonly cursor: string;
  readonly told: Baseline | undefined;
}

/** What those get who come while no point does. */
interface Beginning {
  readonly admissions: number;
  readonly updates: number;
  /** All as it is. */
  initial?: CatchUp & { readonly told: Baseline };
  /** Nothing: all that is there counts as told. */
  skipped?: Baseline;
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
  /** Changes with the set of series. */
  #admissions = 0;
  #beginning: Beginning | undefined;
  /** Up to the last round, by what has been sent. */
  readonly #catchUps = new Map<Baseline, CatchUp>();
  /** Of the last round. */
  #cursor = "";

  constructor(options: SelectionOptions) {
    this.#options = options;
    const { query, table, clock } = options;
    for (const series of seriesIn(table, query)) this.#admit(series);
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

  /** Whether some were left out, for there were too many. */
  get isFull(): boolean {
    return this.#leftOut > 0;
  }

  get subscribers(): number {
    return this.#seats.size;
  }

  /** It gets what is there now, unless it wants updates only, and then takes part in rounds. */
  join(reader: RoundReader, { updatesOnly = false }: { readonly updatesOnly?: boolean } = {}): void {
    if (updatesOnly) this.#seats.set(reader, { reader, told: this.#skipped(), hasMissed: false });
    else {
      const initial = this.#initial();
      hand(reader, initial);
      this.#seats.set(reader, { reader, told: initial.told, hasMissed: false });
    }
    if (this.#leftOut > 0) reader.onLeftOut(this.#leftOut);
  }

  /** It gets the history first: a seat is kept for it, and all that is there now counts as told. */
  joinLater(reader: RoundReader): void {
    this.#seats.set(reader, { reader, told: this.#skipped(), hasMissed: false });
    if (this.#leftOut > 0) reader.onLeftOut(this.#leftOut);
  }

  /** It has got the history, but nothing of these: they are told as they are now. */
  introduce(reader: RoundReader, all: readonly Series[]): void {
    const seat = this.#seats.get(reader);
    if (seat?.told === undefined) return;
    const told = seat.told.copy();
    for (const series of all) told.forget(series);
    const sink = new ByteSink(256 + 64 * all.length);
    const cursor = this.#options.cursor();
    told.encode(all, sink, { cause: PointCause.INITIAL, isResend: false, cursor });
    seat.told = told;
    if (sink.used > 0) reader.take(sink.bytes.subarray(0, sink.used), cursor);
  }

  leave(reader: RoundReader): void {
    this.#seats.delete(reader);
  }

  /** A reader has sent all it had: it gets at once what it has missed meanwhile. */
  onIdle(reader: RoundReader): void {
    const seat = this.#seats.get(reader);
    if (seat?.told === undefined || !seat.hasMissed) return;
    this.#catchUp(seat, seat.told, { cause: this.#cause, isResend: false });
  }

  onAdded(series: Series): void {
    if (this.#options.query.matches(series) && this.#admit(series)) this.#onChange();
  }

  onPoint(series: Series): void {
    if (this.#series.has(series)) this.#onChange();
  }

  onRemoved(series: Series): void {
    if (!this.#series.delete(series)) return;
    this.#admissions++;
    this.#forgetShared();
    this.#inStep.forget(series);
    const others = new Set<Baseline>();
    for (const { told } of this.#seats.values()) if (told !== undefined) others.add(told);
    for (const told of others) told.forget(series);
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#listening[Symbol.dispose]();
  }

  get #cause(): PointCause {
    return this.#options.query.mode === "on-change" ? PointCause.CHANGE : PointCause.SAMPLE;
  }

  /** Takes one that matches, if there is room. */
  #admit(series: Series): boolean {
    const { seriesMax } = this.#options;
    if (this.#series.size >= seriesMax) {
      this.#leftOut++;
      if (this.#leftOut === 1) for (const { reader } of this.#seats.values()) reader.onLeftOut(1);
      return false;
    }
    this.#series.add(series);
    this.#admissions++;
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
    // A timer may fire a little early: what is due then is not due a second time.
    const tickMs = Math.max(nowMs, this.#dueMs);
    this.#dueMs = query.mode === "on-change" ? nowMs + query.intervalMs : this.#alignedAfter(tickMs);
    refresh(query.matchesName);
    const isResend = this.#isResendDue(query.mode === "on-change" ? nowMs : this.#dueMs - query.intervalMs);
    this.#cursor = this.#options.cursor();
    const how = { cause: isResend ? PointCause.RESEND : this.#cause, isResend, cursor: this.#cursor };
    const before = this.#hasBusyInStep() ? this.#inStep.copy() : undefined;
    const sink = new ByteSink(256 + 64 * this.#series.size);
    this.#inStep.encode(this.#series, sink, how);
    this.#forgetShared();
    const all = { frames: sink.bytes.subarray(0, sink.used), cursor: this.#cursor };
    // A round without anything to tell keeps nothing back.
    if (sink.used === 0) this.#lastRoundMs = lastRoundMs;
    for (const seat of this.#seats.values()) {
      if (seat.reader.isBusy) {
        seat.hasMissed = true;
        seat.told ??= before;
      } else if (seat.told === undefined) hand(seat.reader, all);
      else this.#catchUp(seat, seat.told, how);
    }
    this.#forgetShared();
    this.#setTimer();
  }

  /** Times are those at which rounds are due: how late one is does not put off the next. */
  #isResendDue(tickMs: number): boolean {
    const { resendMs } = this.#options.query;
    if (resendMs === 0 || tickMs - this.#lastResendMs < resendMs) return false;
    this.#lastResendMs = tickMs;
    return true;
  }

  /** L3. */
  #alignedAfter(nowMs: number): number {
    const { query, phaseMs = 0 } = this.#options;
    return (Math.floor((nowMs - phaseMs) / query.intervalMs) + 1) * query.intervalMs + phaseMs;
  }

  #hasBusyInStep(): boolean {
    for (const { reader, told } of this.#seats.values()) if (told === undefined && reader.isBusy) return true;
    return false;
  }

  /** What was made for many leads up to a round that is over, or is held for nobody any more. */
  #forgetShared(): void {
    this.#beginning = undefined;
    this.#catchUps.clear();
  }

  /** Tells it up to the last round. */
  #catchUp(seat: Seat, told: Baseline, how: { readonly cause: PointCause; readonly isResend: boolean }): void {
    let lacking = this.#catchUps.get(told);
    if (lacking === undefined) {
      const sink = new ByteSink(256 + 64 * this.#series.size);
      const cursor = this.#cursor;
      const reached = told.encodeUpTo(this.#inStep, sink, { ...how, cursor });
      const frames = sink.bytes.subarray(0, sink.used);
      lacking = { frames, cursor, told: reached === this.#inStep ? undefined : reached };
      this.#catchUps.set(told, lacking);
    }
    seat.hasMissed = false;
    seat.told = lacking.told;
    hand(seat.reader, lacking);
  }

  #initial(): CatchUp & { readonly told: Baseline } {
    const beginning = this.#begin();
    if (beginning.initial === undefined) {
      const told = new Baseline(this.#options.query);
      const sink = new ByteSink(256 + 64 * this.#series.size);
      const cursor = this.#options.cursor();
      told.encode(this.#series, sink, { cause: PointCause.INITIAL, isResend: false, cursor });
      beginning.initial = { frames: sink.bytes.subarray(0, sink.used), cursor, told };
    }
    return beginning.initial;
  }

  #skipped(): Baseline {
    const beginning = this.#begin();
    if (beginning.skipped === undefined) {
      beginning.skipped = new Baseline(this.#options.query);
      beginning.skipped.skip(this.#series);
    }
    return beginning.skipped;
  }

  /** What is still true of those who came before, or nothing. */
  #begin(): Beginning {
    let updates = 0;
    for (const series of this.#series) updates += series.updates;
    const known = this.#beginning;
    if (known?.admissions === this.#admissions && known.updates === updates) return known;
    this.#beginning = { admissions: this.#admissions, updates };
    return this.#beginning;
  }
}

function hand(reader: RoundReader, { frames, cursor }: Pick<CatchUp, "frames" | "cursor">): void {
  if (frames.length > 0) reader.take(frames, cursor);
  else reader.onNothing(cursor);
}

function listenerOf(selection: Selection): Required<SeriesListener> {
  return {
    onAdded: (series) => selection.onAdded(series),
    onPoint: (series) => selection.onPoint(series),
    onRemoved: (series) => selection.onRemoved(series),
  };
}
