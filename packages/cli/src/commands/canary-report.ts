// A canary's state in the three forms in which it is read: a line for people, an object for programs, and the text format
// of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/).
import type { LatencySummary } from "./canary-latency.ts";
import type { CanaryCounts, CanaryLatencies } from "./canary-ledger.ts";
import { formatCount, type Paint } from "../terminal.ts";

/** What is known at a moment. */
export interface CanaryReport extends CanaryCounts {
  /** Names this canary's entries: their field `canary_run`. */
  readonly run: string;
  readonly isReaderConnected: boolean;
  /** Lost connections. */
  readonly readerDisconnects: number;
  readonly writerDisconnects: number;
  /** Since the report before; of the last report: since the start. */
  readonly latencies: CanaryLatencies;
}

/** Whether something is wrong that no outage explains. A gap alone is not: it may cover the entries of others. */
export function isBroken({ missing, duplicates, outOfOrder, unknown }: CanaryCounts): boolean {
  return missing > 0 || duplicates > 0 || outOfOrder > 0 || unknown > 0;
}

export function formatReport(report: CanaryReport, paint: Paint): string {
  const { delivery } = report.latencies;
  const alarm = (label: string, count: number): string =>
    count === 0 ? `${label} 0` : paint(["bold", "red"], `${label} ${formatCount(count)}`);
  const parts = [
    `seen ${formatCount(report.seen)} of ${formatCount(report.acknowledged)}`,
    alarm("missing", report.missing),
    alarm("duplicate", report.duplicates),
    alarm("out of order", report.outOfOrder),
    delivery.count === 0
      ? "nothing delivered"
      : `p50 ${formatMs(delivery.p50Ms)}, p99 ${formatMs(delivery.p99Ms)}, max ${formatMs(delivery.maxMs)}`,
    ...(report.unknown === 0 ? [] : [alarm("unknown", report.unknown)]),
    ...(report.gaps === 0 ? [] : [`${formatCount(report.gaps)} gaps`]),
    ...(report.isReaderConnected ? [] : [paint("yellow", "the reader is cut off")]),
  ];
  return parts.join(" · ");
}

/** 0.4321 → "0.43 ms", 12.3 → "12 ms", 3210 → "3.2 s". */
export function formatMs(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 1 ? 2 : ms < 10 ? 1 : 0)} ms`;
}

/** @param event "report" on the way, "summary" at the end */
export function reportToJson(report: CanaryReport, event: "report" | "summary"): object {
  const { run, latencies, gapEntries, ...counts } = report;
  return {
    event,
    run,
    ...counts,
    gapEntries: String(gapEntries),
    acknowledgement: latencyToJson(latencies.acknowledgement),
    delivery: latencyToJson(latencies.delivery),
  };
}

function latencyToJson({ count, p50Ms, p99Ms, maxMs }: LatencySummary): object {
  const rounded = (ms: number): number => Math.round(ms * 1000) / 1000;
  return { count, p50Ms: rounded(p50Ms), p99Ms: rounded(p99Ms), maxMs: rounded(maxMs) };
}

/** @param recent quantiles; `report.latencies` gives sums and counts since the start */
export function reportToPrometheus(report: CanaryReport, recent: CanaryLatencies): string {
  const { latencies } = report;
  return [
    ...metric("written_total", "counter", "Entries written.", report.written),
    ...metric("acknowledged_total", "counter", "Entries that the server acknowledged.", report.acknowledged),
    ...metric("seen_total", "counter", "Entries that came back, each counted once.", report.seen),
    ...metric(
      "missing",
      "gauge",
      "Entries acknowledged and not delivered, without an outage to explain it.",
      report.missing,
    ),
    ...metric(
      "duplicates_total",
      "counter",
      "Deliveries of an entry that had been delivered before.",
      report.duplicates,
    ),
    ...metric("out_of_order_total", "counter", "Entries that came after a later one.", report.outOfOrder),
    ...metric("unknown_total", "counter", "Entries with this run's stamp that it never wrote.", report.unknown),
    ...metric("on_the_way", "gauge", "Entries acknowledged and not delivered yet.", report.onTheWay),
    ...metric("gaps_total", "counter", "Holes that the server told of.", report.gaps),
    ...metric("reader_connected", "gauge", "1 while the reader is connected.", report.isReaderConnected ? 1 : 0),
    ...metric("reader_disconnects_total", "counter", "Connections that the reader lost.", report.readerDisconnects),
    ...metric("writer_disconnects_total", "counter", "Connections that the writer lost.", report.writerDisconnects),
    ...summary("acknowledgement_seconds", "From writing an entry to its acknowledgement.", {
      recent: recent.acknowledgement,
      total: latencies.acknowledgement,
    }),
    ...summary("delivery_seconds", "From writing an entry to its delivery.", {
      recent: recent.delivery,
      total: latencies.delivery,
    }),
    "",
  ].join("\n");
}

const PREFIX = "sluice_canary_";

function metric(name: string, type: "counter" | "gauge", help: string, value: number): string[] {
  return [`# HELP ${PREFIX}${name} ${help}`, `# TYPE ${PREFIX}${name} ${type}`, `${PREFIX}${name} ${value}`];
}

/** Quantiles are of the last interval, the maximum is the quantile 1; NaN when nothing came. */
function summary(name: string, help: string, latency: { recent: LatencySummary; total: LatencySummary }): string[] {
  const { recent, total } = latency;
  const seconds = (ms: number): string => (recent.count === 0 ? "NaN" : String(ms / 1000));
  return [
    `# HELP ${PREFIX}${name} ${help}`,
    `# TYPE ${PREFIX}${name} summary`,
    `${PREFIX}${name}{quantile="0.5"} ${seconds(recent.p50Ms)}`,
    `${PREFIX}${name}{quantile="0.99"} ${seconds(recent.p99Ms)}`,
    `${PREFIX}${name}{quantile="1"} ${seconds(recent.maxMs)}`,
    `${PREFIX}${name}_sum ${total.sumMs / 1000}`,
    `${PREFIX}${name}_count ${total.count}`,
  ];
}
