// Subscribers to metrics: what each of them costs when all ask for the same, and when no two do; how late rounds begin, and
// how long they are on their way.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { MetricsSubscribeOutcome, MetricsSubscribeTask } from "../clients/metrics-subscribe.ts";
import type { CaseOutcome } from "../report.ts";
import type { Scenario } from "../scenario.ts";
import { ServerProcess } from "../server-process.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const seriesPerSubscriber = 100;
const timeoutMs = 240_000;

interface Load {
  readonly title: string;
  readonly task: Omit<MetricsSubscribeTask, "address" | "rounds">;
}

const loads: readonly Load[] = [
  {
    title: "1,000 subscribers, no two of which ask for the same",
    task: { connections: 10, subscribersPerConnection: 100, seriesPerSubscriber, groups: 100, isDistinct: true },
  },
  {
    title: "10,000 subscribers, all of which ask for the same",
    task: { connections: 20, subscribersPerConnection: 500, seriesPerSubscriber, groups: 1, isDistinct: false },
  },
];

interface Figures {
  readonly cpuMicroseconds: number;
  readonly bytes: number;
  readonly lateMs: number;
  readonly spreadMs: number;
}

export const metricsStream: Scenario = {
  name: "metrics-stream",
  summary:
    "subscribers to 100 series each, every second: CPU and memory of each, how late rounds begin and how long they take",
  async run(context) {
    const rounds = context.isQuick ? 8 : 30;
    const cases: CaseOutcome[] = [];
    for (const { title, task } of loads) {
      const all: Figures[] = [];
      for (let run = 0; run < context.runs; run++) {
        context.say(`${title}, run ${run + 1}`);
        const data = join(context.folder, `metrics-${cases.length}-${run}`);
        await mkdir(data);
        await using server = await ServerProcess.start(sluice(data, { withMemoryProbe: true }).command);
        all.push(await measure(server, { ...task, address: server.address, rounds }));
      }
      cases.push(...casesOf(title, all));
    }
    return {
      scenario: "metrics-stream",
      runs: context.runs,
      versions: { [us]: ourVersion },
      missing: [],
      cases,
      notes: [
        `${seriesPerSubscriber} series for each subscriber, all with a new point each second, exported by OTLP over gRPC`,
        "the client is our own, on raw sockets, on the same cores; what it reads late counts as delivered late",
      ],
    };
  },
};

async function measure(server: ServerProcess, task: MetricsSubscribeTask): Promise<Figures> {
  const subscribers = task.connections * task.subscribersPerConnection;
  const found = { empty: 0, open: 0, cpuStart: 0, cpuEnd: 0 };
  let late: readonly Bucket[] = [];
  let lateMs = 0;
  const outcome = await runClient<MetricsSubscribeTask, MetricsSubscribeOutcome>("metrics-subscribe", task, {
    timeoutMs,
    onPause: async (at) => {
      if (at === "exported") found.empty = (await server.memory()).usedBytes;
      else if (at === "open") {
        found.open = (await server.memory()).usedBytes;
        late = await readLateness(server.address);
        found.cpuStart = server.cpuSeconds() ?? NaN;
      } else {
        found.cpuEnd = server.cpuSeconds() ?? NaN;
        lateMs = p99Ms(late, await readLateness(server.address));
      }
    },
  });
  const spreads = outcome.spreadsMs.toSorted((a, b) => a - b);
  return {
    cpuMicroseconds: ((found.cpuEnd - found.cpuStart) * 1e6) / (subscribers * task.rounds),
    bytes: (found.open - found.empty) / subscribers,
    lateMs,
    spreadMs: spreads[Math.ceil(spreads.length * 0.99) - 1] ?? NaN,
  };
}

function casesOf(title: string, all: readonly Figures[]): CaseOutcome[] {
  const one = (what: string, unit: string, of: (figures: Figures) => number, notes: string[]): CaseOutcome => ({
    title: `${title}: ${what}`,
    unit,
    isSmallerBetter: true,
    measured: [{ who: us, samples: all.map(of) }],
    notes,
  });
  return [
    one("CPU of each, a second", "µs", ({ cpuMicroseconds }) => cpuMicroseconds, [
      "all of the server's: what the export of the points costs is in it",
    ]),
    one("memory of each", "bytes", ({ bytes }) => bytes, [
      "heap and external memory in use, its connection's share included",
    ]),
    one("p99 of how late a round begins", "ms", ({ lateMs }) => lateMs, [
      "by the server's own metric, the upper bound of the bucket",
    ]),
    // Those who ask for different things are told at different times: what they get has no gaps in which a round would end.
    ...(all.some(({ spreadMs }) => Number.isNaN(spreadMs))
      ? []
      : [one("p99 from the first byte of a round to its last", "ms", ({ spreadMs }) => spreadMs, [])]),
  ];
}

/** An upper bound in seconds, and how many are not above it. */
type Bucket = readonly [bound: number, count: number];

async function readLateness(address: string): Promise<readonly Bucket[]> {
  const response = await fetch(`http://${address}/metrics`, { headers: { connection: "close" } });
  const lines = (await response.text()).matchAll(/^sluice_metric_round_delay_seconds_bucket\{le="(.+)"\} (\d+)$/gmu);
  return [...lines].map(([, bound, count]) => [bound === "+Inf" ? Infinity : Number(bound), Number(count)]);
}

function p99Ms(before: readonly Bucket[], after: readonly Bucket[]): number {
  const added = after.map(([bound, count], i): Bucket => [bound, count - (before[i]?.[1] ?? 0)]);
  const rank = 0.99 * (added.at(-1)?.[1] ?? NaN);
  const [bound] = added.find(([, count]) => count >= rank) ?? [NaN];
  return bound * 1000;
}
