// What a subscriber has missed, from the history: of each series the newest point in each interval and how many it stands for,
// or every point.
//
// R1. By time, over all series. Exact: the counts add up to the points that are there.
// R2. What is held is one window of time, of some ten thousand points; windows are whole intervals.
// R3. In slices: the event loop is free between two of them, whoever else reads (turns.ts).
import { type CounterMode, PointCause } from "@sluice/api";
import { ByteSink } from "../../stream/byte-sink.ts";
import { type BaselineOptions, encodeTold } from "../baseline.ts";
import type { DescribedSeries } from "../series.ts";
import type { TickPoint } from "./chunk-reader.ts";
import type { History, PointRange } from "./history.ts";
import type { Slices } from "./turns.ts";

export interface ReplayOptions extends BaselineOptions {
  readonly counterMode: CounterMode;
  readonly intervalNs: bigint;
  /** Every point. */
  readonly isRaw: boolean;
}

const WINDOW_POINTS = 50_000;
const PIECE_BYTES = 64 * 1024;
/** So far back a rate may begin. */
const BEFORE_NS = 300_000_000_000n;

/** A point that is to be told. */
interface Row {
  readonly id: number;
  readonly point: TickPoint;
  readonly coalesced: number;
}

/** Frames of what is in the range, some at a time. Adds to `told` the numbers of the series that had something. */
export async function* replayFrames(
  history: History,
  request: {
    readonly ids: readonly number[];
    readonly range: PointRange;
    readonly options: ReplayOptions;
    readonly told: Set<number>;
  },
): AsyncGenerator<Uint8Array, void, void> {
  const { ids, range, options, told } = request;
  const pause = history.turns.slices();
  const concerned: number[] = [];
  let count = 0;
  let fromNs = 2n ** 63n;
  let toNs = -fromNs;
  for (const id of ids) {
    if (pause.isDue) await pause.next();
    const extent = history.extent(id, range);
    if (extent === undefined) continue;
    concerned.push(id);
    count += extent.count;
    if (extent.oldestNs < fromNs) fromNs = extent.oldestNs;
    if (extent.newestNs >= toNs) toNs = extent.newestNs + 1n;
  }
  if (fromNs < range.fromNs) ({ fromNs } = range);
  if (toNs > range.toNs) ({ toNs } = range);
  const before = new Map<number, TickPoint>();
  for (const window of windowsOf(fromNs, toNs, { count, intervalNs: options.intervalNs })) {
    const rows: Row[] = [];
    for (const id of concerned) {
      if (pause.isDue) await pause.next();
      rows.push(...rowsOf(id, history.points(id, { ...range, ...window }), options));
    }
    rows.sort((a, b) =>
      a.point.timestampNs < b.point.timestampNs ? -1 : a.point.timestampNs > b.point.timestampNs ? 1 : 0,
    );
    yield* encode(history, rows, { options, told, before, pause });
  }
}

async function* encode(
  history: History,
  rows: readonly Row[],
  to: {
    readonly options: ReplayOptions;
    readonly told: Set<number>;
    readonly before: Map<number, TickPoint>;
    readonly pause: Slices;
  },
): AsyncGenerator<Uint8Array, void, void> {
  const { options, told, before, pause } = to;
  let sink = new ByteSink(PIECE_BYTES);
  for (const { id, point, coalesced } of rows) {
    if (pause.isDue) await pause.next();
    const series = history.seriesOf(id);
    // It may have left the history since.
    if (series === undefined) continue;
    const earlier = before.get(id) ?? pointBefore(history, id, point, series);
    before.set(id, point);
    const { isStale } = point;
    const isRedundant = options.suppressRedundant && earlier?.value === point.value && !isStale;
    if (isRedundant && point.shape === undefined && series.description.rateScale === undefined) continue;
    const cause = PointCause.REPLAY;
    const isFirst = !told.has(id);
    if (!encodeTold(sink, { series, point, before: earlier, isStale, coalesced, cause, isFirst }, options)) continue;
    told.add(id);
    if (sink.used < PIECE_BYTES) continue;
    yield sink.bytes.subarray(0, sink.used);
    sink = new ByteSink(PIECE_BYTES);
  }
  if (sink.used > 0) yield sink.bytes.subarray(0, sink.used);
}

/** The newest of each interval, or all. */
function rowsOf(id: number, points: readonly TickPoint[], { isRaw, intervalNs }: ReplayOptions): Row[] {
  if (isRaw) return points.map((point) => ({ id, point, coalesced: 1 }));
  const rows: Row[] = [];
  let interval: bigint | undefined;
  let coalesced = 0;
  points.forEach((point, i) => {
    const mine = point.timestampNs / intervalNs;
    if (mine !== interval) coalesced = 0;
    interval = mine;
    coalesced++;
    const next = points[i + 1];
    if (next === undefined || next.timestampNs / intervalNs !== mine) rows.push({ id, point, coalesced });
  });
  return rows;
}

/** What the first rate of a series begins at. */
function pointBefore(
  history: History,
  id: number,
  { timestampNs }: TickPoint,
  { description }: DescribedSeries,
): TickPoint | undefined {
  if (description.type === "gauge" && description.rateScale === undefined) return undefined;
  return history.points(id, { fromNs: timestampNs - BEFORE_NS, toNs: timestampNs }).at(-1);
}

/** R2. */
function* windowsOf(
  fromNs: bigint,
  toNs: bigint,
  { count, intervalNs }: { readonly count: number; readonly intervalNs: bigint },
): Generator<{ readonly fromNs: bigint; readonly toNs: bigint }> {
  if (count === 0) return;
  const windows = BigInt(Math.ceil(count / WINDOW_POINTS));
  const width = ((toNs - fromNs) / windows / intervalNs + 1n) * intervalNs;
  for (let at = fromNs - (fromNs % intervalNs); at < toNs; at += width) {
    yield { fromNs: at < fromNs ? fromNs : at, toNs: at + width < toNs ? at + width : toNs };
  }
}
