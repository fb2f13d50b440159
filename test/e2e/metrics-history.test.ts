// The history of metrics over real sockets: a server that is killed and started again, readers who come back, and queries.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AggregationTemporality,
  CounterMode,
  type MetricPoint,
  MetricsMode,
  MetricsService,
  OtlpMetricSchema,
  OtlpMetricsService,
  PointCause,
  QueryFunction,
  type QueryMetricsRequestSchema,
  SeedMetricsService,
} from "@sluice/api";
import { type Channel, type Client, Code, createClient, openChannel } from "@sluice/rpc";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

const MINUTE_NS = 60_000_000_000n;
const SECOND_NS = 1_000_000_000n;

const resources = new AsyncDisposableStack();
let folder: TemporaryFolder;
let server: ServerProcess;
let channel: Channel;
let metrics: Client<typeof MetricsService>;
let otlp: Client<typeof OtlpMetricsService>;
/** A whole minute, some minutes ago. */
let baseNs: bigint;

/** Names of metrics of one test. */
let room: string;
let hall: string;
let requests: string;
let tests = 0;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("metrics-history"));
  await start();
  baseNs = (BigInt(Math.floor(Date.now() / 60_000)) - 20n) * MINUTE_NS;
});
beforeEach(() => {
  tests++;
  [room, hall, requests] = [`room.${tests}`, `hall.${tests}`, `requests.${tests}`];
});
afterAll(() => resources.disposeAsync());

async function start(words: readonly string[] = []): Promise<void> {
  const started = await startServer(words, { folder: folder.path });
  server = resources.use(started);
  channel = openChannel(server.address);
  const opened = channel;
  resources.defer(() => opened.close());
  metrics = createClient(MetricsService, channel);
  otlp = createClient(OtlpMetricsService, channel);
}

type Kind = "gauge" | "sum";

/** Points of one series: seconds after the base, and values. */
async function write(name: string, values: readonly (readonly [number, number])[], kind: Kind = "gauge") {
  const dataPoints = values.map(([second, value]) => ({
    timeUnixNano: baseNs + BigInt(Math.round(second * 1000)) * 1_000_000n,
    value: { case: "asDouble" as const, value },
  }));
  const sum = { dataPoints, isMonotonic: true, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  const metric =
    kind === "gauge"
      ? create(OtlpMetricSchema, { name, unit: "1", data: { case: "gauge", value: { dataPoints } } })
      : create(OtlpMetricSchema, { name, unit: "1", data: { case: "sum", value: sum } });
  return await otlp.export({ resourceMetrics: [{ scopeMetrics: [{ metrics: [metric] }] }] });
}

/** Points until the sync, and the cursor there. */
async function untilSync(
  request: Parameters<typeof metrics.streamMetrics>[0],
): Promise<{ points: MetricPoint[]; cursor: string; gaps: MetricPoint[] }> {
  const points: MetricPoint[] = [];
  const gaps: MetricPoint[] = [];
  for await (const point of metrics.streamMetrics(request)) {
    if (point.control?.kind.case === "sync") return { points, cursor: point.control.kind.value.cursor, gaps };
    if (point.control === undefined) points.push(point);
    else gaps.push(point);
  }
  throw new Error("The stream ended before its sync");
}

const shown = (points: readonly MetricPoint[]): unknown[] =>
  points.map(({ timestamp, value, coalesced }) => [Number(timestamp - baseNs) / 1e9, value, Number(coalesced)]);

test("what was acknowledged is there after a kill: series, newest points, history, in order, late ones among them", async () => {
  await write(room, [
    [0, 20],
    [15, 21],
    [45, 23],
  ]);
  await write(room, [[30, 22]]);
  server.kill("SIGKILL");
  await server.ended();
  await start();
  const listed = await metrics.listSeries({ metricNames: [room] });
  expect(shown(listed.series)).toEqual([[45, 23, 1]]);
  expect(listed.series[0]).toMatchObject({ unit: "1", metricType: "gauge" });
  const { points } = await untilSync({ metricNames: [room], startTimestamp: baseNs, raw: true });
  expect(shown(points)).toEqual([
    [0, 20, 1],
    [15, 21, 1],
    [30, 22, 1],
    [45, 23, 1],
  ]);
  expect(points.every(({ cause }) => cause === PointCause.REPLAY)).toBe(true);
});

test("a reader who comes back gets what it missed, once: of each interval the newest, with how many it stands for", async () => {
  await write(room, [[0, 1]]);
  const { cursor } = await untilSync({ metricNames: [room] });
  const nothing = await untilSync({ metricNames: [room], resumeAfter: cursor });
  expect(nothing.points).toEqual([]);
  await write(room, [
    [1, 2],
    [2, 3],
    [11, 4],
    [25, 5],
    [26, 6],
  ]);
  const missed = { metricNames: [room], resumeAfter: cursor, intervalSeconds: 10 };
  const { points, gaps } = await untilSync(missed);
  expect(shown(points)).toEqual([
    [2, 3, 2],
    [11, 4, 1],
    [26, 6, 2],
  ]);
  expect(gaps).toEqual([]);
  server.kill("SIGKILL");
  await server.ended();
  await start();
  expect(shown((await untilSync(missed)).points)).toEqual(shown(points));
});

test("live follows the history without a hole: what comes while it is read is told after the sync", async () => {
  await write(room, [[0, 1]]);
  const { cursor } = await untilSync({ metricNames: [room] });
  await write(room, [[1, 2]]);
  const seen: unknown[] = [];
  let more: Promise<unknown> | undefined;
  for await (const point of metrics.streamMetrics({
    metricNames: [room],
    resumeAfter: cursor,
    mode: MetricsMode.ON_CHANGE,
    intervalMs: 10,
  })) {
    if (point.control?.kind.case === "sync") more = write(room, [[2, 3]]);
    else if (point.control === undefined) seen.push([Number(point.timestamp - baseNs) / 1e9, point.cause]);
    if (seen.length === 2) break;
  }
  await more;
  expect(seen).toEqual([
    [1, PointCause.REPLAY],
    [2, PointCause.CHANGE],
  ]);
});

test("rates and differences of the history begin at the point before it", async () => {
  await write(
    requests,
    [
      [0, 100],
      [10, 150],
      [20, 10],
    ],
    "sum",
  );
  const since = { metricNames: [requests], startTimestamp: baseNs + 10n * SECOND_NS };
  const rates = await untilSync({ ...since, counterMode: CounterMode.RATE });
  expect(shown(rates.points)).toEqual([
    [10, 5, 1],
    [20, 1, 1],
  ]);
  const deltas = await untilSync({ ...since, counterMode: CounterMode.DELTA });
  expect(deltas.points.map(({ value }) => value)).toEqual([50, 10]);
});

test("a series without anything in the range is told as it is now", async () => {
  await write(room, [[0, 1]]);
  await write(hall, [[100, 2]]);
  const { points } = await untilSync({ metricNames: [room, hall], startTimestamp: baseNs + 50n * SECOND_NS });
  expect(points.map(({ name, cause }) => [name, cause])).toEqual([
    [hall, PointCause.REPLAY],
    [room, PointCause.INITIAL],
  ]);
});

test("late points are taken within ten minutes; another value of the same time never, the same one again is no error", async () => {
  await write(room, [[700, 7]]);
  expect((await write(room, [[100, 1]])).partialSuccess).toBeUndefined();
  expect((await write(room, [[99, 1]])).partialSuccess?.errorMessage).toContain("10 minutes");
  expect((await write(room, [[100, 1]])).partialSuccess).toBeUndefined();
  expect((await write(room, [[100, 2]])).partialSuccess?.errorMessage).toContain("another value for the same time");
  expect((await write(room, [[700, 8]])).partialSuccess?.errorMessage).toContain("another value for the same time");
});

test("a query answers in steps: averages, extremes, the newest, rates, quantiles", async () => {
  await write(room, [
    [0, 1],
    [5, 2],
    [14, 6],
    [40, 4],
  ]);
  await write(
    requests,
    [
      [0, 0],
      [15, 30],
      [30, 90],
    ],
    "sum",
  );
  const range = { startTimestamp: baseNs, endTimestamp: baseNs + 45n * SECOND_NS, stepMs: 15_000 };
  const ask = async (name: string, how: QueryFunction, quantile = 0) => {
    const { series, steps } = await metrics.queryMetrics({ ...range, metricNames: [name], function: how, quantile });
    expect(steps).toBe(3);
    return series.map(({ values }) => values);
  };
  expect(await ask(room, QueryFunction.AVG)).toEqual([[3, Number.NaN, 4]]);
  expect(await ask(room, QueryFunction.MIN)).toEqual([[1, Number.NaN, 4]]);
  expect(await ask(room, QueryFunction.MAX)).toEqual([[6, Number.NaN, 4]]);
  expect(await ask(room, QueryFunction.LAST)).toEqual([[6, Number.NaN, 4]]);
  expect(await ask(room, QueryFunction.QUANTILE, 0.5)).toEqual([[2, Number.NaN, 4]]);
  expect(await ask(requests, QueryFunction.RATE)).toEqual([[Number.NaN, 2, 4]]);
  expect(await ask("no.such", QueryFunction.AVG)).toEqual([]);
});

test("a query that would be too large or makes no sense is refused, with what to change", async () => {
  const range = { startTimestamp: baseNs, endTimestamp: baseNs + 45n * SECOND_NS };
  const refused: MessageInitShape<typeof QueryMetricsRequestSchema>[] = [
    { stepMs: 1 },
    { quantile: 2 },
    { function: 99 as QueryFunction },
    { endTimestamp: baseNs },
  ];
  for (const wrong of refused) {
    await expect(metrics.queryMetrics({ ...range, ...wrong })).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
  }
});

test("a time before everything is no gap, as long as nothing was lost", async () => {
  const seed = createClient(SeedMetricsService, channel);
  await write(room, [[0, 1]]);
  for await (const point of seed.streamMetrics({ metricNames: [room], startTimestamp: 1n })) {
    expect(point).toMatchObject({ name: room, value: 1, cause: PointCause.REPLAY });
    break;
  }
});

test("sluice metrics query shows values over time; --since begins with the history", async () => {
  await write(room, [
    [0, 1],
    [30, 3],
    [70, 5],
  ]);
  const cli = (all: readonly string[]) => callCli(all, { folder: folder.path }).ended;
  const from = new Date(Number(baseNs / 1_000_000n)).toISOString();
  const words = ["metrics", "query", room, "--since", from, "--step", "1m", "--server", server.address];
  const asJson = await cli([...words, "--output", "json"]);
  const [line = ""] = asJson.stdout.trim().split("\n");
  const { name, steps } = JSON.parse(line) as { name: string; steps: { timestamp: string; value: number }[] };
  expect(name).toBe(room);
  expect(steps).toEqual([
    { timestamp: String(baseNs), value: 2 },
    { timestamp: String(baseNs + MINUTE_NS), value: 5 },
  ]);
  const text = await cli([...words, "--function", "max", "--utc"]);
  expect(text.stdout.split("\n")[0]).toBe(room);
  expect(text.stdout).toContain(from.replace("T", " "));
  expect(text.stdout).toMatch(/ 3$/mu);
  const streamed = await cli([
    "metrics",
    room,
    "--since",
    from,
    "--raw",
    "--mode",
    "once",
    "--output",
    "json",
    "--server",
    server.address,
  ]);
  const values = streamed.stdout
    .trim()
    .split("\n")
    .map((each) => (JSON.parse(each) as { value: number }).value);
  expect(values).toEqual([1, 3, 5]);
  const refused = await cli([...words, "--quantile", "2"]);
  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toContain("is no share");
});

test("cursors that are none, or ahead, are refused; so is a replay where no history is kept", async () => {
  const ask = (request: Parameters<typeof metrics.streamMetrics>[0]) => untilSync(request);
  await expect(ask({ resumeAfter: "nonsense" })).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
  await expect(ask({ resumeAfter: "AAAA", startTimestamp: 1n })).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
  const { cursor } = await untilSync({ metricNames: [room] });
  const ahead = Buffer.from(cursor, "base64url");
  ahead.writeUIntBE(2 ** 40, 4, 6);
  await expect(ask({ resumeAfter: ahead.toString("base64url") })).rejects.toMatchObject({ code: Code.OUT_OF_RANGE });
  await server[Symbol.asyncDispose]();
  await start(["--metrics-history", "off"]);
  await expect(ask({ startTimestamp: baseNs })).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION });
  await expect(metrics.queryMetrics({})).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION });
  expect((await untilSync({ metricNames: ["memory"] })).points.length).toBeGreaterThan(0);
});
