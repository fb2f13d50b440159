// 100 series over two hours, a point each second, asked for in steps of 15 s.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@sluice/client";
import { type Server, takeTurns, withServers } from "../contest.ts";
import { MetricGroup, otlpPaths, sendMetrics } from "../metric-load.ts";
import { findPrometheus } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, type Scenario, versionsOf } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const seriesCount = 100;
const stepSeconds = 15;
const secondNs = 1_000_000_000n;

export const metricsQuery: Scenario = {
  name: "metrics-query",
  summary: "100 series × 2 h at 1 s, average in steps of 15 s, in ms, and a small call beside it; beside Prometheus",
  async run(context) {
    const data = join(context.folder, "sluice");
    await mkdir(data);
    const seconds = context.isQuick ? 900 : 7200;
    const { contestants, missing } = partEntrants([
      { kind: "ready", contestant: sluice(data) },
      await findPrometheus(context.folder),
    ]);
    return await withServers(contestants, async (servers) => {
      const toNs = (BigInt(Math.floor(Date.now() / 60_000)) * 60n - 60n) * secondNs;
      const fromNs = toNs - BigInt(seconds) * secondNs;
      for (const server of servers) {
        context.say(`${server.who}: writing ${seriesCount * seconds} points`);
        await fill(server, fromNs, seconds);
      }
      const range = { fromNs, toNs, steps: seconds / stepSeconds };
      const measured = await takeTurns(servers, context.runs, (server) => ask(server, range));
      const beside: number[] = [];
      for (let run = 0; run < context.runs; run++) beside.push(await callBeside(servers[0]!, range));
      const cases: CaseOutcome[] = [
        {
          title: `average of ${seriesCount} series, ${range.steps} steps`,
          unit: "ms",
          isSmallerBetter: true,
          measured,
          notes: [],
        },
        {
          title: "the slowest of many small calls on another connection, meanwhile",
          unit: "ms",
          isSmallerBetter: true,
          measured: [{ who: us, samples: beside }],
          notes: [],
        },
      ];
      return {
        scenario: "metrics-query",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion },
        missing,
        cases,
        notes: ["Prometheus: avg_over_time(…[15s]) by query_range, JSON parsed; ours: QueryMetrics, decoded"],
      };
    });
  },
};

interface Range {
  readonly fromNs: bigint;
  readonly toNs: bigint;
  readonly steps: number;
}

async function fill({ who, process }: Server, fromNs: bigint, seconds: number): Promise<void> {
  const url = `http://${process.address}${who === us ? otlpPaths.sluice : otlpPaths.prometheus}`;
  const group = new MetricGroup(0, seriesCount);
  for (let second = 0; second < seconds; second++) await sendMetrics(url, group.at(fromNs + BigInt(second) * secondNs));
}

async function ask(server: Server, range: Range): Promise<number> {
  return server.who === us ? await askUs(server, range) : await askPrometheus(server, range);
}

async function askUs({ process }: Server, { fromNs, toNs, steps }: Range): Promise<number> {
  await using client = connect(process.address);
  await client.listMetrics(["bench.*"]);
  const startMs = performance.now();
  const { series } = await client.queryMetrics({
    names: ["bench.*"],
    startTimestamp: fromNs,
    endTimestamp: toNs,
    stepMs: stepSeconds * 1000,
    function: "avg",
  });
  const tookMs = performance.now() - startMs;
  if (series.length !== seriesCount) throw new Error(`${series.length} series in place of ${seriesCount}`);
  for (const { values } of series) {
    if (values.length !== steps || values.some(Number.isNaN)) throw new Error("a series has not all steps");
  }
  return tookMs;
}

interface PrometheusAnswer {
  readonly data: { readonly result: readonly { readonly values: readonly unknown[] }[] };
}

async function askPrometheus({ process }: Server, { fromNs, toNs, steps }: Range): Promise<number> {
  // Its windows end at a step, and ours begin there.
  const start = Number(fromNs / secondNs) + stepSeconds - 1;
  const query = new URLSearchParams({
    query: `avg_over_time({__name__=~"bench.*"}[${stepSeconds}s])`,
    start: `${start}`,
    end: `${Number(toNs / secondNs) - 1}`,
    step: `${stepSeconds}`,
  });
  const startMs = performance.now();
  const response = await fetch(`http://${process.address}/api/v1/query_range?${query.toString()}`);
  const { data } = (await response.json()) as PrometheusAnswer;
  const tookMs = performance.now() - startMs;
  if (data.result.length !== seriesCount) throw new Error(`${data.result.length} series in place of ${seriesCount}`);
  for (const { values } of data.result) if (values.length !== steps) throw new Error(`${values.length} steps`);
  return tookMs;
}

/** The longest that a small call takes while four queries run. */
async function callBeside(server: Server, range: Range): Promise<number> {
  await using client = connect(server.process.address);
  let isRunning = true;
  const queries = Promise.all(Array.from({ length: 4 }, () => askUs(server, range))).finally(() => {
    isRunning = false;
  });
  let slowest = 0;
  while (isRunning) {
    const startMs = performance.now();
    await client.listMetrics(["bench.gauge"]);
    slowest = Math.max(slowest, performance.now() - startMs);
  }
  await queries;
  return slowest;
}
