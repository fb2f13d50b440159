import { create, fromBinary } from "@bufbuild/protobuf";
import { MetricPointSchema, MetricsRequestSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { parseMetricsQuery } from "./query.ts";
import { type RoundReader, Selection } from "./selection.ts";
import { SeriesTable } from "./series.ts";

const SERIES = 100;

let clock: ManualClock;
let table: SeriesTable;
let selection: Selection;
let rounds: number;
let late: number[];

beforeEach(() => {
  clock = new ManualClock();
  table = new SeriesTable({ clock, seriesMax: SERIES, silentMs: 300_000 });
  rounds = 0;
  writeAll(0);
  const query = parseMetricsQuery(create(MetricsRequestSchema, {}), DEFAULT_LIMITS, true);
  const refresh = () => void rounds++;
  late = [];
  const onRound = (lateMs: number) => void late.push(lateMs);
  selection = new Selection({ query, table, clock, seriesMax: SERIES, refresh, cursor: () => "", onRound });
});
afterEach(() => {
  selection[Symbol.dispose]();
  table[Symbol.dispose]();
});

function writeAll(value: number): void {
  for (let i = 0; i < SERIES; i++) {
    const name = `metric.${i}`;
    const description = { name, type: "gauge" as const, unit: "", description: "", labels: [], origin: "" };
    table.write(name, { value, timestampNs: clock.nowNs(), startNs: 0n }, () => description);
  }
}

/** Takes what it is given; sends it at once, or never. */
class FakeReader implements RoundReader {
  isBusy = false;
  readonly isStopped: boolean;
  readonly taken: Uint8Array[] = [];

  constructor({ isStopped = false } = {}) {
    this.isStopped = isStopped;
  }
  take(frames: Uint8Array): void {
    this.taken.push(frames);
    this.isBusy = this.isStopped;
  }
  onNothing(): void {}
  onLeftOut(): void {}
}

function join(count: number, options: { readonly isStopped?: boolean } = {}): FakeReader[] {
  return Array.from({ length: count }, () => {
    const reader = new FakeReader(options);
    selection.join(reader);
    return reader;
  });
}

function pass(seconds: number): void {
  for (let i = 1; i <= seconds; i++) {
    clock.advance(500);
    writeAll(rounds + i);
    clock.advance(500);
  }
}

function framesIn(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let frames = 0;
  for (let at = 0; at < bytes.length; at += FRAME_HEADER_BYTES + view.getUint32(at + 1)) frames++;
  return frames;
}

test("a thousand readers in step share the bytes of each round: it is encoded once", () => {
  const readers = join(1000);
  pass(10);
  const all = readers.flatMap(({ taken }) => taken);
  expect(all).toHaveLength(11_000);
  // One of them is what there was when they came.
  expect(new Set(all).size).toBe(11);
  expect(all.map(framesIn).every((frames) => frames === SERIES)).toBe(true);
});

test("a reader that has stopped holds one round, whatever comes; then it gets each series once", () => {
  const [stopped] = join(1, { isStopped: true });
  const [other] = join(1);
  stopped!.isBusy = false;
  pass(1);
  stopped!.taken.length = 0;
  pass(500);
  expect(stopped!.taken).toEqual([]);
  expect(other!.taken.length).toBeGreaterThan(500);
  stopped!.isBusy = false;
  selection.onIdle(stopped!);
  expect(stopped!.taken.map(framesIn)).toEqual([SERIES]);
});

test("those who were busy for the same rounds share what they get then, and what they wait with", () => {
  const [quick] = join(1);
  const slow = join(1000);
  pass(1);
  for (const reader of slow) reader.isBusy = true;
  pass(3);
  for (const reader of slow) {
    reader.isBusy = false;
    reader.taken.length = 0;
    selection.onIdle(reader);
  }
  const caughtUp = slow.flatMap(({ taken }) => taken);
  expect(caughtUp.map(framesIn)).toEqual(Array.from({ length: 1000 }, () => SERIES));
  expect(new Set(caughtUp).size).toBe(1);
  pass(1);
  expect(new Set([...slow, quick!].map(({ taken }) => taken.at(-1))).size).toBe(1);
});

test("who is ready only at the next round gets what it brings, not what others who were busy for the same got before", () => {
  const [first, second] = join(2);
  pass(1);
  for (const reader of [first!, second!]) reader.isBusy = true;
  pass(2);
  first!.isBusy = false;
  selection.onIdle(first!);
  second!.isBusy = false;
  pass(1);
  const counts = [first!, second!].map(({ taken }) => coalescedIn(taken.at(-1)!));
  expect(counts).toEqual([1n, 3n]);
});

/** Of the first point. */
function coalescedIn(frames: Uint8Array): bigint {
  const end = FRAME_HEADER_BYTES + new DataView(frames.buffer, frames.byteOffset).getUint32(1);
  return fromBinary(MetricPointSchema, frames.subarray(FRAME_HEADER_BYTES, end)).coalesced;
}

test("a timer that fires early does not make a second round of the same moment", () => {
  const early = { ...earlyBy(1, clock), monotonicMs: () => clock.monotonicMs(), nowNs: () => clock.nowNs() };
  const query = parseMetricsQuery(create(MetricsRequestSchema, {}), DEFAULT_LIMITS, true);
  let own = 0;
  const refresh = (): void => void own++;
  const other = new Selection({ query, table, clock: early, seriesMax: SERIES, refresh, cursor: () => "" });
  for (let i = 0; i < 10; i++) clock.advance(1000);
  expect(own).toBe(10);
  other[Symbol.dispose]();
});

/** Its timers fire so many ms too early, but for those that are nearly due. */
function earlyBy(ms: number, of: ManualClock): Pick<ManualClock, "setTimer"> {
  return { setTimer: (callback, delayMs) => of.setTimer(callback, delayMs > ms ? delayMs - ms : delayMs) };
}

test("a round costs one measurement, however many readers there are, and ticks do not pile up behind a pause", () => {
  join(1000);
  rounds = 0;
  pass(5);
  expect(rounds).toBe(5);
  // The process stood still for a minute: one round follows, not sixty, and the next is at its time again.
  const sinceMs = clock.monotonicMs() % 1000;
  clock.skip(60_300 - sinceMs);
  clock.advance(0);
  expect(rounds).toBe(6);
  clock.advance(699);
  expect(rounds).toBe(6);
  clock.advance(1);
  expect(rounds).toBe(7);
  expect(late).toEqual([0, 0, 0, 0, 0, 59_300, 0]);
});

test("rounds of a selection with a phase keep it", () => {
  const query = parseMetricsQuery(create(MetricsRequestSchema, {}), DEFAULT_LIMITS, true);
  let own = 0;
  const other = new Selection({
    query,
    table,
    clock,
    seriesMax: SERIES,
    refresh: () => void own++,
    cursor: () => "",
    phaseMs: 618,
  });
  clock.advance(1000 - (clock.monotonicMs() % 1000));
  own = 0;
  for (const [ms, expected] of [
    [617, 0],
    [1, 1],
    [999, 1],
    [1, 2],
  ] as const) {
    clock.advance(ms);
    expect(own).toBe(expected);
  }
  other[Symbol.dispose]();
});
