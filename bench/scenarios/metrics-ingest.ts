// Exporters of metrics, answered when the points are kept.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { MetricsIngestOutcome, MetricsIngestTask } from "../clients/metrics-ingest.ts";
import { Pacer, type Server, takeTurns, withServers } from "../contest.ts";
import { otlpPaths, seriesPerRequest } from "../metric-load.ts";
import { findPrometheus } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, type Scenario, type ScenarioContext, versionsOf } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const series = 100_000;
const exporters = 4;
const requestsUnderWay = 2;
const timeoutMs = 120_000;
/** So far back the first points lie; every run goes on where the one before ended. */
const pastMs = 30 * 60_000;

export const metricsIngest: Scenario = {
  name: "metrics-ingest",
  summary: "OTLP in, batches of 1,000 points with 4 attributes over 100,000 series: points/s, beside Prometheus",
  async run(context) {
    const prometheus = await findPrometheus(context.folder);
    const { contestants, missing } = partEntrants([prometheus]);
    const folder = join(context.folder, us);
    await mkdir(folder);
    return await withServers([sluice(folder), ...contestants], async (servers) => {
      const clocks = new Map(servers.map(({ who }) => [who, Date.now() - pastMs]));
      return {
        scenario: "metrics-ingest",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion },
        missing,
        cases: [
          await measure(context, servers.slice(0, 1), "grpc", clocks),
          await measure(context, servers, "http", clocks),
        ],
        notes: [
          "the series are there before it is measured; every point is newer than the one before of its series",
          "ours answers when the points are on disk (group commit), and keeps two hours of them in memory",
        ],
      };
    });
  },
};

/** @param clocks of each server, the time that its next points have, ms */
async function measure(
  context: ScenarioContext,
  servers: readonly Server[],
  protocol: MetricsIngestTask["protocol"],
  clocks: Map<string, number>,
): Promise<CaseOutcome> {
  // The first run makes all series.
  const groups = series / seriesPerRequest / exporters;
  const pacer = new Pacer({ first: groups, most: 10_000, seconds: context.isQuick ? 1 : 3 });
  const measured = await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
    context.say(`${protocol}: ${who}`);
    const requestsPerExporter = Math.max(groups, pacer.units(who));
    const firstMs = clocks.get(who)!;
    clocks.set(who, firstMs + Math.ceil(requestsPerExporter / groups));
    const path = who === us ? otlpPaths.sluice : otlpPaths.prometheus;
    const shape = { protocol, path, exporters, requestsPerExporter, requestsUnderWay, series, firstMs };
    const task: MetricsIngestTask = { address, ...shape };
    const outcome = await runClient<MetricsIngestTask, MetricsIngestOutcome>("metrics-ingest", task, { timeoutMs });
    pacer.learn(who, requestsPerExporter / outcome.seconds);
    return outcome.points / outcome.seconds;
  });
  const way = protocol === "grpc" ? "gRPC" : "HTTP/1.1";
  return {
    title: `OTLP over ${way}, ${exporters} exporters`,
    unit: "points/s",
    measured,
    notes:
      protocol === "grpc" ? [`${requestsUnderWay} requests of each under way; Prometheus has no such entrance`] : [],
  };
}
