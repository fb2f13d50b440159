// What a sidecar has done and has now, and the same as Prometheus reads it.
import type { HttpHandler } from "@sluice/rpc";
import type { JobEnd } from "./lease-ledger.ts";

/** What a sidecar has, and has done since it began. */
export interface SidecarCounts {
  /** Workers that are connected to it. The service that jobs are pushed to is none of them. */
  readonly workers: number;
  /** Streams that it has at the server now. */
  readonly sessions: number;
  /** Jobs that its workers and the service would take more: what the server may send. */
  readonly free: number;
  /** Jobs at workers that are not started. */
  readonly offered: number;
  readonly running: number;
  /** What workers said of jobs, and the server has not answered. */
  readonly unanswered: number;
  readonly delivered: number;
  /** Jobs by how their worker, or the service, ended them. */
  readonly ended: Readonly<Record<JobEnd, number>>;
  /** Jobs that were given back for workers that were gone, or too slow in a drain. */
  readonly returned: number;
  /** How often a stream to the server was lost. */
  readonly losses: number;
}

/** Answers `GET /metrics` in Prometheus' text format. */
export function metricsHandler(queue: string, read: () => SidecarCounts): HttpHandler {
  const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store" };
  return () => ({ status: 200, headers, body: formatCounts(queue, read()) });
}

function formatCounts(queue: string, counts: SidecarCounts): string {
  const { ended } = counts;
  const ends = Object.entries(ended).map(([how, value]) => [`outcome="${how}"`, value] as const);
  const states = [
    ['state="offered"', counts.offered],
    ['state="running"', counts.running],
  ] as const;
  const families = [
    family("workers", "gauge", "Workers that are connected to the sidecar.", [["", counts.workers]]),
    family("upstream_sessions", "gauge", "Streams that it has at the server now.", [["", counts.sessions]]),
    family("free_slots", "gauge", "Jobs that it would take more.", [["", counts.free]]),
    family("jobs", "gauge", "Jobs at its workers.", states),
    family("unanswered", "gauge", "Words of workers that the server has not answered.", [["", counts.unanswered]]),
    family("delivered_total", "counter", "Jobs that came.", [["", counts.delivered]]),
    family("ended_total", "counter", "Jobs that ended, by how.", ends),
    family("returned_total", "counter", "Jobs given back in the place of a worker.", [["", counts.returned]]),
    family("upstream_losses_total", "counter", "Streams to the server that were lost.", [["", counts.losses]]),
  ];
  return families.join("");

  function family(name: string, type: string, help: string, rows: readonly (readonly [string, number])[]): string {
    const full = `sluice_sidecar_${name}`;
    const lines = rows.map(([label, value]) => {
      const labels = [`queue="${queue}"`, ...(label === "" ? [] : [label])].join(",");
      return `${full}{${labels}} ${value}\n`;
    });
    return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join("")}`;
  }
}
