// What the history takes for metrics of a real machine: test/fixtures/system-metrics is one that was measured every 5 s for 20
// minutes while it built and tested programs.
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { History } from "../../packages/server/src/metrics/history/history.ts";
import { PastSeries } from "../../packages/server/src/metrics/series.ts";

interface Recorded {
  readonly timestamps: readonly string[];
  readonly series: readonly { readonly name: string; readonly values: readonly (number | null)[] }[];
}

const EVERYTHING = { fromNs: 0n, toNs: 2n ** 63n };
/** Of a tick: seconds, nanoseconds, place in the log. */
const TICK_BYTES = 20;

test("a point of a real machine takes 2.5 bytes at most, its time and all heads included, and comes back as it was", () => {
  const path = new URL("../fixtures/system-metrics/recorded.json.gz", import.meta.url);
  const { timestamps, series } = JSON.parse(gunzipSync(readFileSync(path)).toString()) as Recorded;
  const history = new History({ keepMs: 7_200_000, bytesMax: 1e9, isLive: () => true, nowMs: () => 0 });
  const labels: [] = [];
  const ids = series.map(({ name }, i) =>
    history.add(new PastSeries(`${i}`, { name, type: "gauge", unit: "", description: "", labels, origin: "system" })),
  );
  let points = 0;
  timestamps.forEach((text, moment) => {
    const timestampNs = BigInt(text);
    const tick = history.ticks.add(timestampNs, moment + 1);
    for (const [i, id] of ids.entries()) {
      const value = series[i]!.values[moment];
      if (value === null || value === undefined) continue;
      history.append(id, tick, { value, timestampNs, startNs: 0n, isStale: false });
      points++;
    }
  });
  for (const id of ids) history.seal(id);
  expect(points).toBeGreaterThan(25_000);
  const { slab, offset } = history.end;
  expect(slab).toBe(1);
  const bytesPerPoint = (offset + TICK_BYTES * timestamps.length) / points;
  process.stderr.write(`${points} points of ${series.length} series: ${bytesPerPoint.toFixed(2)} bytes a point\n`);
  expect(bytesPerPoint).toBeLessThanOrEqual(2.5);
  for (const [i, id] of ids.entries()) {
    const expected = timestamps.flatMap((text, moment) => {
      const value = series[i]!.values[moment];
      return value === null || value === undefined ? [] : [[BigInt(text), value]];
    });
    expect(history.points(id, EVERYTHING).map(({ timestampNs, value }) => [timestampNs, value])).toEqual(expected);
  }
});
