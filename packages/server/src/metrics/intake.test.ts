import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { MetricIntake } from "./intake.ts";
import { SeriesTable } from "./series.ts";

const MINUTE_NS = 60_000_000_000n;

test("a point far ahead of the server's time is refused, by whatever way, and does not shut out those that are right", () => {
  const clock = new ManualClock();
  using table = new SeriesTable({ clock, seriesMax: 10, silentMs: 3_600_000 });
  using intake = new MetricIntake({ table });
  const nowNs = clock.nowNs();
  const description = { name: "m", type: "gauge", unit: "", description: "", labels: [], origin: "" } as const;
  const at = (timestampNs: bigint) => ({ value: 1, timestampNs, startNs: 0n });
  const batch = intake.begin();
  const write = (timestampNs: bigint) => batch.write("m", at(timestampNs), () => description);
  const message: unknown = expect.stringContaining("10 minutes");
  const early = { reason: "early", message };
  expect(write(nowNs + 10n * MINUTE_NS + 1n)).toEqual(early);
  expect(table.size).toBe(0);
  expect(write(nowNs)).toBe("taken");
  const series = table.find("m")!;
  expect(batch.writeTo(series, at(nowNs + 11n * MINUTE_NS))).toEqual(early);
  expect(write(nowNs + 10n * MINUTE_NS - 1n)).toBe("taken");
  // An end is one, whatever its time.
  batch.end("m", nowNs + 60n * MINUTE_NS);
  expect([series.isStale, series.timestampNs]).toEqual([true, nowNs]);
});
