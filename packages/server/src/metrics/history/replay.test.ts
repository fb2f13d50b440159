import { fromBinary } from "@bufbuild/protobuf";
import { CounterMode, type MetricPoint, MetricPointSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import { expect, test } from "vitest";
import { PastSeries } from "../series.ts";
import { History } from "./history.ts";
import { replayFrames, type ReplayOptions } from "./replay.ts";

const SECOND_NS = 1_000_000_000n;
const SERIES = 60;
const SECONDS = 1000;
const BASE_NS = 1_700_000_000n * SECOND_NS;
const EVERYTHING = { fromNs: -(2n ** 63n), toNs: 2n ** 63n };

/** More points than a window has: each second one of each series, every hundredth of them five seconds late. */
function fill(): { readonly history: History; readonly ids: number[] } {
  const history = new History({ keepMs: 1e15, bytesMax: 1e9, nowMs: () => 0, isLive: () => true });
  const ids = Array.from({ length: SERIES }, (_, i) =>
    history.add(
      new PastSeries(`${i}`, { name: `m${i}`, type: "gauge", unit: "", description: "", labels: [], origin: "" }),
    ),
  );
  const add = (id: number, second: number): void => {
    const timestampNs = BASE_NS + BigInt(second) * SECOND_NS;
    const tick = history.ticks.add(timestampNs, second + 1);
    history.append(id, tick, { value: second, timestampNs, startNs: 0n, isStale: false });
  };
  for (let second = 0; second < SECONDS + 5; second++) {
    for (const id of ids) {
      if (second < SECONDS && second % 100 !== 50) add(id, second);
      if (second % 100 === 55) add(id, second - 5);
    }
  }
  return { history, ids };
}

async function replay(options: Partial<ReplayOptions>): Promise<MetricPoint[]> {
  const { history, ids } = fill();
  const told = new Set<number>();
  const all = { counterMode: CounterMode.CUMULATIVE, suppressRedundant: false, isRaw: false, intervalNs: SECOND_NS };
  const points: MetricPoint[] = [];
  for await (const piece of replayFrames(history, { ids, range: EVERYTHING, options: { ...all, ...options }, told })) {
    for (let at = 0; at < piece.length;) {
      const start = at + FRAME_HEADER_BYTES;
      at = start + new DataView(piece.buffer, piece.byteOffset).getUint32(at + 1);
      points.push(fromBinary(MetricPointSchema, piece.subarray(start, at)));
    }
  }
  expect(told.size).toBe(SERIES);
  return points;
}

test("over many windows each interval of each series is told once, by time, and the counts add up to all points", async () => {
  const points = await replay({ intervalNs: 10n * SECOND_NS });
  expect(points).toHaveLength((SERIES * SECONDS) / 10);
  expect(points.reduce((sum, { coalesced }) => sum + Number(coalesced), 0)).toBe(SERIES * SECONDS);
  const intervals = points.map(({ name, timestamp }) => `${name} ${timestamp / (10n * SECOND_NS)}`);
  expect(new Set(intervals).size).toBe(points.length);
  expect(points.every(({ timestamp }, i) => i === 0 || timestamp >= points[i - 1]!.timestamp)).toBe(true);
  expect(points.every(({ timestamp }) => (timestamp / SECOND_NS) % 10n === 9n)).toBe(true);
});

test("raw, every point is told, those that came late in their place", async () => {
  const points = await replay({ isRaw: true });
  expect(points).toHaveLength(SERIES * SECONDS);
  const first = points.filter(({ name }) => name === "m0").map(({ value }) => value);
  expect(first).toEqual(Array.from({ length: SECONDS }, (_, second) => second));
});
