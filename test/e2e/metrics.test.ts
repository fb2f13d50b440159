// Metrics over real sockets: this machine's own numbers against what the test reads of /proc by itself, programs that write
// by OTLP, readers that leave, and the command line.
import { readFileSync } from "node:fs";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ExportMetricsServiceRequestSchema,
  type MetricPoint,
  MetricsMode,
  MetricsService,
  OtlpMetricsService,
  SeedMetricsService,
} from "@sluice/api";
import { connect } from "@sluice/client";
import { BadRequestSchema, type Channel, type Client, Code, createClient, openChannel, RpcError } from "@sluice/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import { collect } from "../support/log-client.ts";
import { type ProbedServer, startProbedServer } from "../support/probed-server.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

const resources = new AsyncDisposableStack();
let folder: TemporaryFolder;
let server: ProbedServer;
let channel: Channel;
let metrics: Client<typeof MetricsService>;
let seed: Client<typeof SeedMetricsService>;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("metrics"));
  server = resources.use(await startProbedServer(folder.path));
  channel = openChannel(server.address);
  resources.defer(() => channel.close());
  metrics = createClient(MetricsService, channel);
  seed = createClient(SeedMetricsService, channel);
});
afterAll(() => resources.disposeAsync());

async function take(stream: AsyncIterable<MetricPoint>, count: number): Promise<MetricPoint[]> {
  const points: MetricPoint[] = [];
  for await (const point of stream) {
    points.push(point);
    if (points.length === count) break;
  }
  return points;
}

type Export = MessageInitShape<typeof ExportMetricsServiceRequestSchema>;
const nowNs = () => BigInt(Date.now()) * 1_000_000n;

/** What a program exports: one gauge. */
function gauge(name: string, values: Readonly<Record<string, number>>): Export {
  const dataPoints = Object.entries(values).map(([room, value]) => ({
    timeUnixNano: nowNs(),
    attributes: [{ key: "room", value: { value: { case: "stringValue" as const, value: room } } }],
    value: { case: "asDouble" as const, value },
  }));
  const service = { key: "service.name", value: { value: { case: "stringValue" as const, value: "heating" } } };
  const metric = { name, unit: "Cel", data: { case: "gauge" as const, value: { dataPoints } } };
  return { resourceMetrics: [{ resource: { attributes: [service] }, scopeMetrics: [{ metrics: [metric] }] }] };
}

test("Real time metrics", async () => {
  const points = await take(seed.streamMetrics({ metricNames: ["cpu", "memory"], intervalSeconds: 1 }), 6);
  expect(points.every(({ control }) => control === undefined)).toBe(true);
  expect(new Set(points.map(({ name }) => name))).toEqual(new Set(["cpu", "memory"]));
  for (const { value, metricType } of points) {
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value).toBeLessThanOrEqual(100);
    expect(metricType).toBe("gauge");
  }
  for (const name of ["cpu", "memory"]) {
    const times = points.filter((point) => point.name === name).map(({ timestamp }) => timestamp);
    expect(times).toEqual([...new Set(times)].toSorted((a, b) => Number(a - b)));
  }
});

test("Custom interval", async () => {
  const points = await take(seed.streamMetrics({ metricNames: ["memory"], intervalSeconds: 2 }), 4);
  // The first is as it is; from then on two seconds lie between two measurements, however late they are read.
  const seconds = points.slice(2).map(({ timestamp }, i) => Number(timestamp - points[i + 1]!.timestamp) / 1e9);
  for (const each of seconds) expect(Math.round(each)).toBe(2);
});

test.runIf(process.platform === "linux")(
  "its numbers are the machine's: memory and CPU seconds as /proc has them",
  async () => {
    const sizeOf = (name: string) =>
      1024 * Number(new RegExp(`^${name}: +(\\d+) kB`, "mu").exec(readFileSync("/proc/meminfo", "utf8"))?.[1]);
    const secondsOf = () => Number(/^cpu0 (\d+)/mu.exec(readFileSync("/proc/stat", "utf8"))?.[1]) / 100;
    const before = secondsOf();
    const points = await collect(
      metrics.streamMetrics({ metricNames: ["system.memory.limit", "system.cpu.time"], mode: MetricsMode.ONCE }),
    );
    const after = secondsOf();
    expect(points.find(({ name }) => name === "system.memory.limit")?.value).toBe(sizeOf("MemTotal"));
    const user = points.find(({ labels }) => labels["cpu.logical_number"] === "0" && labels["cpu.mode"] === "user");
    expect(user?.value).toBeGreaterThanOrEqual(before - 1);
    expect(user?.value).toBeLessThanOrEqual(after + 1);
  },
);

test("what a program exports reaches who asked for it: by name, by label, when it changes", async () => {
  const otlp = createClient(OtlpMetricsService, channel);
  await otlp.export(gauge("warmth", { a: 20, b: 21 }));
  const stream = metrics.streamMetrics({
    metricNames: ["warm*"],
    labels: { room: "a" },
    mode: MetricsMode.ON_CHANGE,
    intervalMs: 10,
  });
  const iterator = stream[Symbol.asyncIterator]();
  const next = async () => (await iterator.next()).value as MetricPoint;
  expect(await next()).toMatchObject({
    name: "warmth",
    value: 20,
    unit: "Cel",
    labels: { room: "a", "service.name": "heating" },
  });
  expect((await next()).control?.kind.case).toBe("sync");
  await otlp.export(gauge("warmth", { a: 22.5, b: 1 }));
  expect(await next()).toMatchObject({ value: 22.5, coalesced: 1n });
  await iterator.return?.();
  const { metrics: listed } = await metrics.listMetrics({ metricNames: ["warmth"] });
  expect(listed).toMatchObject([{ name: "warmth", metricType: "gauge", unit: "Cel", series: 2n }]);
  const first = await metrics.listSeries({ metricNames: ["warmth"], pageSize: 1 });
  const second = await metrics.listSeries({ metricNames: ["warmth"], pageSize: 1, pageToken: first.nextPageToken });
  expect([...first.series, ...second.series].map(({ labels }) => labels["room"])).toEqual(["a", "b"]);
  expect(second.nextPageToken).toBe("");
});

test.each([
  [{ intervalMs: 5 }, "interval_ms"],
  [{ metricNames: [""] }, "metric_names[0]"],
  [{ matchers: [{ name: "a", kind: 3, value: "(" }] }, "matchers[0].value"],
  [{ matchers: [{ name: "", kind: 1, value: "" }] }, "matchers[0].name"],
  [{ matchers: [{ name: "a", kind: 9, value: "" }] }, "matchers[0].kind"],
  [{ mode: 9 }, "mode"],
  [{ counterMode: 9 }, "counter_mode"],
  [{ intervalSeconds: 100_000 }, "interval_seconds"],
])("%o is refused with the field that is wrong", async (request, field) => {
  const error: unknown = await collect(metrics.streamMetrics(request as object)).catch((each: unknown) => each);
  expect(error).toBeInstanceOf(RpcError);
  expect((error as RpcError).code).toBe(Code.INVALID_ARGUMENT);
  const [detail] = (error as RpcError).findDetails(BadRequestSchema);
  expect(detail?.fieldViolations.map((each) => each.field)).toEqual([field]);
});

test("more series than max_series are an error that says how many", async () => {
  const error: unknown = await collect(metrics.streamMetrics({ metricNames: ["system.*"], maxSeries: 1 })).catch(
    (e: unknown) => e,
  );
  expect(error).toMatchObject({
    code: Code.RESOURCE_EXHAUSTED,
    message: expect.stringMatching(/\d+ series match, max_series is 1/u) as string,
  });
});

/** A hundred subscriptions that have had their first point, and then leave. */
async function comeAndGo(): Promise<void> {
  const stop = new AbortController();
  const wanted = { metricNames: ["m*", "system.memory.*"] };
  const open = Array.from({ length: 100 }, () =>
    metrics.streamMetrics(wanted, { signal: stop.signal })[Symbol.asyncIterator](),
  );
  await Promise.all(open.map((each) => each.next()));
  const ended = open.map(collectRest);
  stop.abort();
  await Promise.all(ended);
}

test("1,000 subscriptions that come and go leave nothing behind", async () => {
  const before = await server.probe();
  for (let round = 0; round < 10; round++) await comeAndGo();
  await expect.poll(async () => (await server.probe()).counts.subscriptions).toBe(0);
  const after = await server.probe();
  expect(after.resources["Timeout"] ?? 0).toBeLessThanOrEqual(before.resources["Timeout"] ?? 0);
  expect(after.counts.openCalls).toBe(0);
});

async function collectRest(stream: AsyncIterator<MetricPoint>): Promise<void> {
  try {
    while ((await stream.next()).done !== true);
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
  }
}

test("a client's stream goes on with the next server", async () => {
  await using own = await openTemporaryFolder("metrics-again");
  let current = await startProbedServer(own.path);
  const { address } = current;
  await using client = connect(address);
  const kinds: string[] = [];
  for await (const event of client.streamMetrics(
    { names: ["memory"], intervalMs: 50 },
    { retry: { initialMs: 20, maxMs: 50 } },
  )) {
    if (kinds.at(-1) !== event.kind) kinds.push(event.kind);
    if (event.kind === "point" && kinds.length === 3) {
      await current[Symbol.asyncDispose]();
      current = await startProbedServer(own.path, { listen: address });
    }
    if (kinds.includes("resumed") && event.kind === "point") break;
  }
  await current[Symbol.asyncDispose]();
  // It has told of itself before; what it missed is what the history has got since, and of this there is nothing yet.
  expect(kinds).toEqual(["point", "sync", "point", "disconnected", "resumed", "sync", "point"]);
});

test("sluice metrics: lines, objects, names, series, and words that are wrong", async () => {
  const cli = async (...words: string[]) =>
    await callCli(["metrics", ...words, "--server", server.address], { folder: folder.path }).ended;
  const lines = await cli("memory", "load", "--mode", "once");
  expect(lines.exitCode).toBe(0);
  expect(lines.stdout.trimEnd().split("\n")).toEqual([
    expect.stringMatching(/ load \d/u),
    expect.stringMatching(/ memory [\d.]+ %$/u),
  ]);
  const objects = await cli(
    "system.memory.usage",
    "-l",
    "system.memory.state=~free|used",
    "--mode",
    "once",
    "--output",
    "json",
  );
  const points = objects.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { labels: object; value: number });
  expect(points.map(({ labels }) => Object.values(labels)[0] as string).toSorted()).toEqual(["free", "used"]);
  const list = await cli("list", "system.cpu.*");
  expect(list.stdout).toMatch(/^system\.cpu\.time +counter +s +\d+ /mu);
  const series = await cli("series", "system.memory.usage");
  expect(series.stdout).toMatch(/^system\.memory\.usage\{system\.memory\.state="free"\} [\d.]+ [KMG]iB$/mu);
  const wrong = await cli("-l", "nothing");
  expect(wrong.exitCode).toBe(2);
  expect(wrong.stderr).toContain('"nothing" is no condition on a label');
});

test("sluice metrics on a terminal draws a table over itself, with a sparkline, until Ctrl-C", async () => {
  const call = callCli(["metrics", "memory", "--interval", "50ms", "--server", server.address], {
    folder: folder.path,
    isTerminal: true,
  });
  await expect.poll(() => call.stdout()).toMatch(/memory +[\d.]+ % \S*[▁▂▃▄▅▆▇█]{3}/u);
  expect(call.stdout()).toContain("\u001b[1A\r\u001b[2Kmemory");
  call.interrupt();
  expect((await call.ended).exitCode).toBe(0);
});
