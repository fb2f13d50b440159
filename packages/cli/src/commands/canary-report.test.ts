import { expect, test } from "vitest";
import { CanaryLedger } from "./canary-ledger.ts";
import {
  type CanaryReport,
  formatMs,
  formatReport,
  isBroken,
  reportToJson,
  reportToPrometheus,
} from "./canary-report.ts";

const plain = (_style: unknown, text: string): string => text;

function report(): CanaryReport {
  const ledger = new CanaryLedger({ graceMs: 1000 });
  for (let number = 1; number <= 4; number++) ledger.write(0);
  ledger.acknowledge(4, 2);
  for (const number of [1, 2, 4, 4]) ledger.see(number, 5);
  const run = { run: "r", isReaderConnected: true, readerDisconnects: 2, writerDisconnects: 1 };
  return { ...run, ...ledger.counts(5), latencies: ledger.latencies() };
}

test("a line for people", () => {
  expect(formatReport(report(), plain)).toBe(
    "seen 3 of 4 · missing 1 · duplicate 1 · out of order 0 · p50 5.0 ms, p99 5.0 ms, max 5.0 ms",
  );
  expect(formatReport({ ...report(), isReaderConnected: false, gaps: 2, unknown: 1 }, plain)).toMatch(
    / · unknown 1 · 2 gaps · the reader is cut off$/u,
  );
});

test("an object for programs, 64-bit numbers as strings", () => {
  const json: unknown = JSON.parse(JSON.stringify(reportToJson(report(), "summary")));
  expect(json).toMatchObject({ event: "summary", run: "r", written: 4, acknowledged: 4, seen: 3, gapEntries: "0" });
  expect(json).toMatchObject({ missing: 1, duplicates: 1, outOfOrder: 0, readerDisconnects: 2, writerDisconnects: 1 });
  expect(json).toMatchObject({ delivery: { count: 3, p50Ms: 5, p99Ms: 5, maxMs: 5 } });
});

// The grammar of the format: each sample belongs to a metric that was described, and was typed, before.
test("Prometheus's text format", () => {
  const lines = reportToPrometheus(report(), report().latencies).split("\n");
  expect(lines.at(-1)).toBe("");
  const described = new Set<string>();
  const typed = new Set<string>();
  for (const line of lines.slice(0, -1)) {
    const [, keyword = "", name = ""] = /^# (HELP|TYPE) ([a-z_]+) /u.exec(line) ?? [];
    if (keyword === "HELP") described.add(name);
    else if (keyword === "TYPE") typed.add(name);
    else {
      const sample = /^([a-z_]+)(\{quantile="(?:0\.5|0\.99|1)"\})? (\d+(?:\.\d+)?|NaN)$/u.exec(line);
      expect(sample, line).not.toBeNull();
      const metric = sample?.[1]?.replace(/_(sum|count)$/u, "") ?? "";
      expect(described.has(metric) && typed.has(metric), line).toBe(true);
    }
  }
  expect(lines).toContain("sluice_canary_missing 1");
  expect(lines).toContain("sluice_canary_duplicates_total 1");
  expect(lines).toContain('sluice_canary_delivery_seconds{quantile="1"} 0.005');
  expect(lines).toContain("sluice_canary_delivery_seconds_count 3");
});

test("quantiles of an interval in which nothing came are no numbers", () => {
  const empty = new CanaryLedger({ graceMs: 1 }).latencies();
  expect(reportToPrometheus(report(), empty)).toContain('sluice_canary_delivery_seconds{quantile="0.5"} NaN');
});

test("what an outage does not explain is a defect", () => {
  const good = { ...report(), missing: 0, duplicates: 0 };
  expect(isBroken({ ...good, onTheWay: 5, gaps: 1 })).toBe(false);
  for (const count of ["missing", "duplicates", "outOfOrder", "unknown"]) {
    expect(isBroken({ ...good, [count]: 1 }), count).toBe(true);
  }
});

test.each([
  [0, "0.00 ms"],
  [0.432, "0.43 ms"],
  [9.94, "9.9 ms"],
  [12.3, "12 ms"],
  [3210, "3.2 s"],
])("%d ms reads %s", (ms, text) => {
  expect(formatMs(ms)).toBe(text);
});
