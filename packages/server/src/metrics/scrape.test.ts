import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { create, fromBinary } from "@bufbuild/protobuf";
import { sizeDelimitedEncode } from "@bufbuild/protobuf/wire";
import { MetricPointSchema, PrometheusFamilySchema, PrometheusType } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLogger } from "../telemetry/logger.ts";
import { MetricIntake } from "./intake.ts";
import { parseScrapeTarget, type ScrapeTarget } from "./scrape-target.ts";
import { Scraper } from "./scrape.ts";
import { SeriesGuard } from "./series-guard.ts";
import { SeriesTable } from "./series.ts";
import { PointWriter } from "./write-points.ts";

const resources = { stack: new AsyncDisposableStack() };
let clock: ManualClock;
let table: SeriesTable;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let requests: number;
let url: string;
let log: string[];
/** What targets name, beside the certificates of the tests. */
let files: Map<string, string>;

beforeEach(async () => {
  resources.stack = new AsyncDisposableStack();
  clock = new ManualClock();
  table = resources.stack.use(new SeriesTable({ clock, seriesMax: 100, silentMs: 300_000 }));
  requests = 0;
  log = [];
  files = new Map();
  const server = createServer((request, response) => {
    requests++;
    answer(request, response);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  resources.stack.defer(() => {
    server.close();
    server.closeAllConnections();
  });
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`;
});
afterEach(async () => {
  await resources.stack.disposeAsync();
});

/** As the configuration does, for the durations of this file. */
function parseDuration(text: string): number {
  const [, amount, unit = ""] = /^(\d+)(ms|s|m)$/u.exec(text) ?? [];
  if (amount === undefined) throw new Error(`${text} is no duration`);
  return Number(amount) * ({ ms: 1, s: 1000, m: 60_000 }[unit] ?? Number.NaN);
}

const target = (text: string): ScrapeTarget => {
  const found = parseScrapeTarget(text, parseDuration);
  if (typeof found === "string") throw new Error(found);
  return found;
};

function start(...targets: string[]): void {
  const guard = resources.stack.use(new SeriesGuard({ table, clock, perSubjectMax: 10 }));
  const writer = new PointWriter(new MetricIntake({ table }), guard);
  const write = (line: string): void => void log.push(line);
  const logger = createLogger({ format: "json", level: "info", clock, write });
  const settings = { targets: targets.map(target), intervalMs: 10_000, timeoutMs: 5000 };
  const readFile = async (path: string): Promise<Buffer | undefined> => {
    const text = files.get(path);
    return text === undefined ? undefined : Buffer.from(text);
  };
  resources.stack.use(new Scraper({ ...settings, writer, clock, logger, readFile }));
}

/** Lets the clock go on, and waits until what was due was scraped and written. */
async function scrape(ms: number): Promise<void> {
  const before = valueTime("up");
  const { timers } = clock;
  clock.advance(ms);
  await expect.poll(() => valueTime("up")).not.toBe(before);
  // The next one is due.
  await expect.poll(() => clock.timers).toBe(timers);
}

const found = (name: string) =>
  [...table.named(name)].map(({ description, point, isStale }) => {
    return {
      labels: Object.fromEntries(description.labels),
      value: point.value,
      isStale,
      timestampNs: point.timestampNs,
    };
  });
const valueTime = (name: string): bigint | undefined => found(name)[0]?.timestampNs;
const says = (text: string, type = "text/plain; version=0.0.4") => {
  answer = (_, response) => response.setHeader("content-type", type).end(text);
};
const instance = (): string => new URL(url).host;

test("a target's samples get its labels, and up and its like are told, at each interval", async () => {
  says('# TYPE a counter\na{b="c"} 1\n');
  start(`node=${url};interval=1s;labels.env=test`);
  await scrape(1);
  const labels = { job: "node", instance: instance(), env: "test" };
  expect(found("a")).toMatchObject([{ labels: { ...labels, b: "c" }, value: 1 }]);
  expect(found("up")).toMatchObject([{ labels, value: 1 }]);
  expect(found("scrape_samples_scraped")).toMatchObject([{ labels, value: 1 }]);
  expect(found("scrape_series_added")).toMatchObject([{ labels, value: 1 }]);
  expect(found("scrape_duration_seconds")).toHaveLength(1);
  says('# TYPE a counter\na{b="c"} 2\n');
  await scrape(1000);
  expect(found("a")).toMatchObject([{ value: 2 }]);
  expect(found("scrape_series_added")).toMatchObject([{ value: 0 }]);
  expect([requests, log]).toEqual([2, []]);
});

test("a series that is gone ends, all end with a target that is down, and what has times of its own goes on", async () => {
  says("a 1\nb 1\nc 1 1699999999000\n");
  start(url);
  await scrape(1);
  says("a 2\nc 1 1699999999000\n");
  await scrape(10_000);
  expect([found("a"), found("b"), found("c")]).toMatchObject([
    [{ isStale: false }],
    [{ isStale: true }],
    [{ isStale: false }],
  ]);
  answer = (_, response) => response.writeHead(503).end();
  await scrape(10_000);
  expect([found("a"), found("c"), found("up")]).toMatchObject([
    [{ isStale: true }],
    [{ isStale: false }],
    [{ value: 0 }],
  ]);
  says("a 3\n");
  await scrape(10_000);
  expect([found("a"), found("up")]).toMatchObject([[{ isStale: false, value: 3 }], [{ value: 1 }]]);
  expect(log.map((line) => (JSON.parse(line) as { event: string }).event)).toEqual([
    "scrape-failed",
    "scrape-succeeded",
  ]);
  expect(log[0]).toContain("it answered 503");
});

test("one wrong line, and nothing of the scrape is written", async () => {
  says("a 1\nb\n");
  start(url);
  await scrape(1);
  expect([found("a"), found("up")]).toMatchObject([[], [{ value: 0 }]]);
  expect(log[0]).toContain("line 2");
});

test("a target that does not answer is given up after its timeout", async () => {
  answer = () => {};
  start(`${url};timeout=2s`);
  clock.advance(1);
  await expect.poll(() => requests).toBe(1);
  clock.advance(2000);
  await expect.poll(() => found("up")).toMatchObject([{ value: 0 }]);
  expect(log[0]).toContain("it did not answer within 2000 ms");
});

test("nobody is there", async () => {
  start("http://127.0.0.1:1/metrics");
  await scrape(1);
  expect([found("up"), log[0]]).toMatchObject([[{ value: 0 }], expect.stringContaining("ECONNREFUSED")]);
});

const problems = () => log.map((line) => (JSON.parse(line) as { problem?: string }).problem);

test("a bearer token is read from its file for each scrape; without the file the target is down", async () => {
  const shown: (string | undefined)[] = [];
  answer = (request, response) => {
    shown.push(request.headers.authorization);
    response.end("a 1\n");
  };
  files.set("/run/token", "first\n");
  start(`${url};bearerTokenFile=/run/token;interval=1s`);
  await scrape(1);
  files.set("/run/token", "second");
  await scrape(1000);
  files.delete("/run/token");
  await scrape(1000);
  files.set("/run/token", "two\nlines");
  await scrape(1000);
  expect(shown).toEqual(["Bearer first", "Bearer second"]);
  expect([found("up"), problems()]).toMatchObject([
    [{ value: 0 }],
    [expect.stringMatching(/: its bearerTokenFile \/run\/token does not exist$/u)],
  ]);
});

test("a user with a password from a file, or both in the URL", async () => {
  const shown: (string | undefined)[] = [];
  answer = (request, response) => {
    shown.push(Buffer.from(request.headers.authorization?.replace("Basic ", "") ?? "", "base64").toString());
    response.end("a 1\n");
  };
  files.set("/run/password", "pass:word\n");
  start(`a=${url};username=us;passwordFile=/run/password`, `b=${url.replace("http://", "http://someone:secret@")}`);
  clock.advance(1000);
  await expect.poll(() => found("up").map(({ value }) => value)).toEqual([1, 1]);
  expect(new Set(shown)).toEqual(new Set(["someone:secret", "us:pass:word"]));
  expect(found("up").map(({ labels }) => labels["instance"])).toEqual([instance(), instance()]);
});

/** Of test/fixtures/tls. */
const pem = (name: string) => readFileSync(new URL(`../../../../test/fixtures/tls/${name}`, import.meta.url), "utf8");

test("over TLS: from an authority of its own, with a certificate to show; not without", async () => {
  const key = pem("localhost.key");
  const web = createTlsServer(
    { cert: pem("localhost.crt"), key, requestCert: true, ca: pem("client.crt") },
    (_, response) => response.end("a 1\n"),
  );
  await new Promise<void>((resolve) => {
    web.listen(0, "127.0.0.1", resolve);
  });
  resources.stack.defer(() => {
    web.close();
    web.closeAllConnections();
  });
  for (const name of ["localhost.crt", "client.crt", "client.key"]) files.set(`/tls/${name}`, pem(name));
  url = `https://127.0.0.1:${(web.address() as AddressInfo).port}/metrics`;
  const own = ";certFile=/tls/client.crt;keyFile=/tls/client.key";
  start(`all=${url};caFile=/tls/localhost.crt${own};serverName=localhost`);
  start(`stranger=${url}${own}`);
  start(`nobody=${url};caFile=/tls/localhost.crt`);
  clock.advance(1);
  await expect.poll(() => found("up")).toHaveLength(3);
  const up = new Map(found("up").map(({ labels, value }) => [labels["job"], value]));
  expect([up.get("all"), up.get("stranger"), up.get("nobody")]).toEqual([1, 0, 0]);
  const why = (job: string) => log.find((line) => line.includes(`"job":"${job}"`));
  expect(why("all")).toBeUndefined();
  expect(why("stranger")).toContain("self-signed certificate");
  // How the end of the connection comes to be known is up to the system.
  expect(why("nobody")).toMatch(/certificate required|handshake failure|ECONNRESET|EPIPE|socket hang up/u);
});

test("protobuf is asked for first, gzip is taken, and a native histogram arrives", async () => {
  answer = (request, response) => {
    expect(request.headers.accept).toMatch(/^application\/vnd\.google\.protobuf;/u);
    const histogram = {
      sampleCount: 3n,
      schema: 2,
      zeroThreshold: 1e-9,
      positiveSpan: [{ offset: 4, length: 1 }],
      positiveDelta: [3n],
    };
    const family = create(PrometheusFamilySchema, {
      name: "n",
      type: PrometheusType.HISTOGRAM,
      metric: [{ histogram }],
    });
    response.setHeader(
      "content-type",
      "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    );
    response.setHeader("content-encoding", "gzip").end(gzipSync(sizeDelimitedEncode(PrometheusFamilySchema, family)));
  };
  start(url);
  await scrape(1);
  const [series] = table.named("n");
  expect(fromBinary(MetricPointSchema, series!.point.shape!)).toMatchObject({
    exponentialHistogram: { scale: 2, positive: { offset: 3, bucketCounts: [3n] } },
  });
});

test("OpenMetrics by its content type", async () => {
  says("a_total 1 1.5\n# EOF\n", "application/openmetrics-text; version=1.0.0; charset=utf-8");
  start(url);
  await scrape(1);
  expect(valueTime("a_total")).toBe(1_500_000_000n);
});

test("too many series of one target are told, up to the limit they are written, and others are not in the way", async () => {
  says(Array.from({ length: 20 }, (_, i) => `a{user="${i}"} 1\n`).join(""));
  start(`bad=${url}`, `good=${url}?good`);
  const many = answer;
  answer = (request, response) =>
    request.url?.endsWith("?good") === true ? response.end("b 1\n") : many(request, response);
  clock.advance(1000);
  await expect.poll(() => found("up")).toHaveLength(2);
  expect(found("up").map(({ value }) => value)).toEqual([1, 1]);
  expect([found("a").length, found("b").length]).toEqual([10, 1]);
  expect(log[0]).toContain('its label \\"user\\" has the most values: 10');
});

test.each([
  [
    "node=http://h:9100",
    { job: "node", intervalMs: undefined, honorLabels: false, honorTimestamps: true },
    "http://h:9100/metrics",
  ],
  ["https://h/custom?a=b=c", { job: "h" }, "https://h/custom?a=b=c"],
  [
    "x=http://h/m;interval=1m;timeout=500ms;labels.a=b;labels.c=d=e;honorLabels=true;honorTimestamps=false",
    {
      intervalMs: 60_000,
      timeoutMs: 500,
      labels: [
        ["a", "b"],
        ["c", "d=e"],
      ],
      honorLabels: true,
      honorTimestamps: false,
    },
    "http://h/m",
  ],
])("%s is a target", (text, expected, href) => {
  expect(target(text)).toMatchObject(expected);
  expect(target(text).url.href).toBe(href);
});

test.each([
  ["h:9100", "is no http URL"],
  ["ftp://h/", "is no http URL"],
  ["http://h/;interval=x", '"x" is no interval'],
  ["http://h/;caFile=/ca.pem", "caFile, certFile and serverName are for https"],
  ["https://h/;certFile=/a", "certFile and keyFile stand together"],
  ["http://h/;username=a", "username and passwordFile stand together"],
  ["http://a:b@h/;bearerTokenFile=/t", "are three ways to say who asks"],
  ["http://h/;bearerTokenFile=", "bearerTokenFile is empty"],
  ["http://h/;interval=1ms", '"1ms" is no interval'],
  ["http://h/;honorLabels=maybe", 'honorLabels is true or false, not "maybe"'],
  ["http://h/;colour=red", '"colour" is no option'],
  ["http://h/;alone", '"alone" is no option'],
])("%s is none", (text, why) => {
  expect(parseScrapeTarget(text, parseDuration)).toContain(why);
});
