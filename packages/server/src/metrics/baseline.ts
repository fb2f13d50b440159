// What one subscriber, or all that are in step, have been sent: the newest point of each series, and how many came before.
//
// B1. A point is sent once: what has no newer point since is left out, but on purpose (`isResend`).
// B2. `coalesced` is exact: the points since the last one that was sent.
import { CounterMode, type PointCause } from "@sluice/api";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import { ByteSink } from "../stream/byte-sink.ts";
import { quantilesOf, writeQuantiles } from "./quantile.ts";
import { PointTag } from "./point-fields.ts";
import type { EarlierPoint } from "./series-columns.ts";
import type { DescribedSeries, Point, Series, SeriesNow } from "./series.ts";

export interface RoundOptions {
  readonly cause: PointCause;
  readonly isResend: boolean;
  /** Of the last frame; default: none. */
  readonly cursor?: string;
}

export interface BaselineOptions {
  readonly counterMode: CounterMode;
  readonly suppressRedundant: boolean;
  /** Of histograms and summaries. Default: none. */
  readonly quantiles?: readonly number[];
}

export class Baseline {
  readonly #options: BaselineOptions;
  /** Values are replaced, never changed, so that a copy of the map is a copy; they are shared with other baselines. */
  readonly #sent: Map<Series, SeriesNow>;
  /** Those of them that count as sent, although nothing of them was. */
  readonly #untold: Set<Series>;

  constructor(options: BaselineOptions, sent = new Map<Series, SeriesNow>(), untold = new Set<Series>()) {
    this.#options = options;
    this.#sent = sent;
    this.#untold = untold;
  }

  copy(): Baseline {
    return new Baseline(this.#options, new Map(this.#sent), new Set(this.#untold));
  }

  forget(series: Series): void {
    this.#sent.delete(series);
    this.#untold.delete(series);
  }

  /** Counts what is there as sent, although it was not. */
  skip(all: Iterable<Series>): void {
    for (const series of all) this.#note(series, series.now, false);
  }

  /** Frames of what is to be told now. */
  encode(all: Iterable<Series>, sink: ByteSink, how: RoundOptions): void {
    let last = -1;
    for (const series of all) {
      const start = sink.used;
      const sent = this.#sent.get(series);
      if (sent?.updates === series.updates && !how.isResend) continue;
      const { now } = series;
      const outcome = this.#tell(sink, series, { now, how });
      if (outcome === "told") last = start;
      if (outcome === "told" || sent === undefined) this.#note(series, now, outcome === "told");
    }
    if (last >= 0 && how.cursor !== undefined && how.cursor !== "") addCursor(sink, last, how.cursor);
  }

  /**
   * Frames of what `target` has been sent and this has not. Answers what whoever gets them has been sent then: `target` itself,
   * unless something could not be said yet or this is ahead of it. Changes neither.
   */
  encodeUpTo(target: Baseline, sink: ByteSink, how: RoundOptions): Baseline {
    const differing = new Map<Series, SeriesNow>();
    let last = -1;
    for (const [series, now] of target.#sent) {
      const start = sink.used;
      const outcome = this.#tell(sink, series, { now, how });
      const sent = this.#sent.get(series);
      if (outcome === "told") last = start;
      else if (sent !== undefined && this.#isAhead(sent, now)) differing.set(series, sent);
      else if (outcome === "unsaid" && !target.#untold.has(series) && !this.#isTold(series)) differing.set(series, now);
    }
    if (last >= 0 && how.cursor !== undefined && how.cursor !== "") addCursor(sink, last, how.cursor);
    for (const [series, sent] of this.#sent) if (!target.#sent.has(series)) differing.set(series, sent);
    if (differing.size === 0) return target;
    const reached = target.copy();
    for (const [series, sent] of differing) reached.#note(series, sent, this.#isTold(series));
    return reached;
  }

  /** Adds a frame, if there is anything to tell, and if it can be said yet. */
  #tell(
    sink: ByteSink,
    series: Series,
    { now, how: { cause, isResend } }: { readonly now: SeriesNow; readonly how: RoundOptions },
  ): "told" | "unsaid" | "nothing" {
    const { updates } = now;
    const sent = this.#sent.get(series);
    if (sent !== undefined && updates <= sent.updates && !isResend) return "nothing";
    const { point, isStale } = now;
    const isRedundant = this.#options.suppressRedundant && !isResend && sent?.point.value === point.value && !isStale;
    if (isRedundant && point.shape === undefined && series.family.rateScale === undefined) return "nothing";
    // The point before that of a series which has gone on since is not known: its rate cannot be said.
    const previous = series.updates === updates ? series.previous : point;
    const before = sent?.point ?? previous;
    const coalesced = Math.max(1, updates - (sent?.updates ?? updates - 1));
    const told = { series, point, before, isStale, coalesced, cause, isFirst: !this.#isTold(series) };
    return encodeTold(sink, told, this.#options) ? "told" : "unsaid";
  }

  #isTold(series: Series): boolean {
    return this.#sent.has(series) && !this.#untold.has(series);
  }

  #isAhead(sent: SeriesNow, now: SeriesNow): boolean {
    if (sent.updates <= now.updates) return false;
    // Who is not told of the same value again does not have to be told how often it came, either.
    return !this.#options.suppressRedundant || sent.point.value !== now.point.value;
  }

  #note(series: Series, now: SeriesNow, isTold: boolean): void {
    this.#sent.set(series, now);
    if (isTold) this.#untold.delete(series);
    else this.#untold.add(series);
  }
}

/** A point, as a subscriber is to be told of it. */
export interface Told {
  readonly series: DescribedSeries;
  readonly point: Point;
  /** What rates and differences begin at; of the same time, or undefined: they cannot be said. */
  readonly before: EarlierPoint | undefined;
  readonly isStale: boolean;
  readonly coalesced: number;
  readonly cause: PointCause;
  /** Of its series on this stream. */
  readonly isFirst: boolean;
}

/** Adds a frame. False: there is nothing to compare with yet, so that its rate is known with the next point. */
export function encodeTold(sink: ByteSink, told: Told, options: BaselineOptions): boolean {
  const { series, point, before, isStale, coalesced, cause, isFirst } = told;
  const { counterMode, quantiles = [] } = options;
  const rate = rateOf(told, counterMode);
  if (rate === undefined) return false;
  const start = begin(sink);
  sink.raw(series.head, 0, series.head.length);
  if (isFirst) sink.raw(series.introduction, 0, series.introduction.length);
  encodePoint(sink, point, rate);
  if (quantiles.length > 0 && point.shape !== undefined) {
    const isOfInterval = counterMode === CounterMode.DELTA || counterMode === CounterMode.RATE;
    const since = isOfInterval && before?.timestampNs !== point.timestampNs ? before?.shape : undefined;
    writeQuantiles(sink, quantilesOf(point.shape, since, quantiles));
  }
  if (isStale) sink.varintField(PointTag.STALE, 1);
  sink.varintField(PointTag.COALESCED, coalesced);
  sink.varintField(PointTag.CAUSE, cause);
  finish(sink, start);
  return true;
}

/** To the frame that was added last. */
function addCursor(sink: ByteSink, start: number, cursor: string): void {
  sink.textField(PointTag.CURSOR, cursor);
  finish(sink, start);
}

/** "plain": the point's own value; a number: what takes its place; undefined: it cannot be said yet. */
function rateOf({ series, point, before, isStale }: Told, mode: CounterMode): number | "plain" | undefined {
  const { description } = series;
  const isCounter = description.type === "counter";
  const isRate = description.rateScale !== undefined || (isCounter && mode === CounterMode.RATE);
  if (!isRate && !(isCounter && mode === CounterMode.DELTA)) return "plain";
  // An end may have the time of the last point.
  if (before === undefined || (before.timestampNs === point.timestampNs && !isStale)) return undefined;
  // A counter that fell has begun anew.
  const added = point.value >= before.value ? point.value - before.value : point.value;
  if (!isRate) return added;
  const seconds = Number(point.timestampNs - before.timestampNs) / 1e9;
  if (seconds <= 0) return undefined;
  return Math.min((added / seconds) * (description.rateScale ?? 1), description.rateMax ?? Infinity);
}

const scratch = new DataView(new ArrayBuffer(8));

function encodePoint(sink: ByteSink, point: Point, rate: number | "plain"): void {
  const isPlain = rate === "plain";
  scratch.setFloat64(0, isPlain ? point.value : rate, true);
  sink.fixed64Field(PointTag.VALUE, scratch.getUint32(0, true), scratch.getUint32(4, true));
  int64Field(sink, PointTag.TIMESTAMP, point.timestampNs);
  if (point.startNs !== 0n) int64Field(sink, PointTag.START_TIMESTAMP, point.startNs);
  if (!isPlain) return;
  if (point.intValue !== undefined) int64Field(sink, PointTag.INT_VALUE, point.intValue);
  if (point.shape !== undefined) sink.raw(point.shape, 0, point.shape.length);
}

function int64Field(sink: ByteSink, tag: number, value: bigint): void {
  scratch.setBigInt64(0, value, true);
  sink.varint64Field(tag, scratch.getUint32(0, true), scratch.getUint32(4, true));
}

function begin(sink: ByteSink): number {
  sink.reserve(FRAME_HEADER_BYTES);
  const start = sink.used;
  sink.bytes[start] = 0;
  sink.used += FRAME_HEADER_BYTES;
  return start;
}

function finish(sink: ByteSink, start: number): void {
  sink.bytes.writeUInt32BE(sink.used - start - FRAME_HEADER_BYTES, start + 1);
}
