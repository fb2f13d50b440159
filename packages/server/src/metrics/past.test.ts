import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { MetricsRequestSchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, onTestFinished, test } from "vitest";
import { CursorExpired } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { openHistoryLog } from "./history/history-log.ts";
import { MetricIntake } from "./intake.ts";
import { findPast } from "./past.ts";
import { parseMetricsQuery } from "./query.ts";
import { Selection } from "./selection.ts";
import { SeriesTable } from "./series.ts";

const MINUTE_MS = 60_000;

test("who was away for longer than the history is kept is told of the gap; who knows no gaps is refused", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sluice-past-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const clock = new ManualClock();
  using table = new SeriesTable({ clock, seriesMax: 10, silentMs: 1e12 });
  await using log = await openHistoryLog({
    folder: join(folder, "metrics"),
    parent: folder,
    fileSystem: nodeFileSystem,
    clock,
    options: { keepMs: 10 * MINUTE_MS, bytesMax: 1e9 },
    isLive: () => true,
  });
  using intake = new MetricIntake({ table, log });
  const write = async (value: number): Promise<void> => {
    const description = { name: "m", type: "gauge", unit: "", description: "", labels: [], origin: "" } as const;
    const batch = intake.begin();
    batch.write("m", { value, timestampNs: clock.nowNs(), startNs: 0n }, () => description);
    await batch.commit();
  };
  const past = (wanted: { readonly resumeAfter?: string; readonly startTimestamp?: bigint }, isVersioned = true) => {
    const query = parseMetricsQuery(create(MetricsRequestSchema, wanted), DEFAULT_LIMITS, isVersioned);
    const about = { query, table, clock, seriesMax: 10, refresh: () => undefined, cursor: () => log.cursor };
    using selection = new Selection(about);
    return findPast(query, selection, log);
  };

  const startTimestamp = clock.nowNs();
  await write(1);
  const seen = log.cursor;
  clock.advance(1000);
  await write(2);
  await log.checkpoint();
  expect(past({ resumeAfter: seen })?.gap).toBeUndefined();
  clock.advance(12 * MINUTE_MS);
  await write(3);

  expect(past({ resumeAfter: seen })?.gap).toMatchObject({ afterCursor: seen, count: 1, reason: "retention" });
  expect(past({ startTimestamp })?.gap).toMatchObject({ reason: "retention" });
  for (const wanted of [{ resumeAfter: seen }, { startTimestamp }]) {
    expect(() => past(wanted, false)).toThrow(CursorExpired);
  }
  // What is told after the gap is all that there is.
  expect(past({ startTimestamp: clock.nowNs() })?.gap).toBeUndefined();
  const pieces = await Array.fromAsync(past({ resumeAfter: seen })!.frames);
  expect(pieces).toHaveLength(1);
});
