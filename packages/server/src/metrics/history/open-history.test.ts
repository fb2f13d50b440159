import { fromBinary } from "@bufbuild/protobuf";
import { SeriesListSchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { ByteSink } from "../../stream/byte-sink.ts";
import { SeriesGuard } from "../series-guard.ts";
import { type DescribedSeries, PastSeries, SeriesTable } from "../series.ts";
import { History } from "./history.ts";
import { restoreSeries } from "./open-history.ts";
import { seriesOf, writeDefinition } from "./record.ts";

/** As it comes back from disk. */
function kept(series: DescribedSeries): DescribedSeries {
  const sink = new ByteSink(64);
  writeDefinition(sink, 0, series);
  return seriesOf(fromBinary(SeriesListSchema, sink.bytes.subarray(0, sink.used)).series[0]!);
}

test("series that come back count towards the limit of who brought them", () => {
  const clock = new ManualClock();
  using table = new SeriesTable({ clock, seriesMax: 10, silentMs: 3_600_000 });
  const history = new History({ keepMs: 1e9, bytesMax: 1e9, nowMs: () => 0, isLive: () => true });
  for (const [i, owner] of ["ada", "ada", "bob", undefined].entries()) {
    const about = { name: "m", type: "gauge", unit: "", description: "", labels: [], origin: `${i}`, owner } as const;
    const id = history.add(kept(new PastSeries(`${i}`, about)));
    const tick = history.ticks.add(1n, 1);
    history.append(id, tick, { value: 1, timestampNs: 1n, startNs: 0n, isStale: false });
  }
  restoreSeries(history, table, 10);
  using guard = new SeriesGuard({ table, clock, perSubjectMax: 2 });
  expect(["ada", "bob"].map((owner) => guard.countOf(owner))).toEqual([2, 1]);
  expect(guard.findRefusal("ada", "new", "m")).toMatchObject({ reason: "limit" });
  expect(guard.findRefusal("bob", "new", "m")).toBeUndefined();
});
