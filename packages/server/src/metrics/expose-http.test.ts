import { text } from "node:stream/consumers";
import type { HttpHandler, HttpRequest, HttpResponse } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LimitExceeded, PermissionDenied } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import type { Authorize } from "../security/authorize.ts";
import { createMetricsHttpHandlers, METRICS_PATH, preferredFormat } from "./expose-http.ts";
import { SeriesTable } from "./series.ts";

let table: SeriesTable;
let refreshes: number;
let authorize: Authorize;
let handlers: Readonly<Record<string, HttpHandler>>;

beforeEach(() => {
  table = new SeriesTable({ clock: new ManualClock(), seriesMax: 100_000, silentMs: 300_000 });
  refreshes = 0;
  authorize = () => {};
  handlers = createMetricsHttpHandlers({
    authorize: (...question) => authorize(...question),
    limits: DEFAULT_LIMITS,
    source: table,
    isOwn: ({ description }) => description.origin === "own",
    refresh: () => void refreshes++,
  });
});
afterEach(() => table[Symbol.dispose]());

function write(name: string, origin: string): void {
  const description = { name, type: "gauge" as const, unit: "", description: "", labels: [], origin };
  table.write(name, { value: 1, timestampNs: 1_000_000n, startNs: 0n }, () => description);
}

interface Scrape {
  readonly answer: HttpResponse;
  /** The client is gone, or has all. */
  readonly end: () => void;
}

async function scrape(path: string, query = "", headers: Readonly<Record<string, string>> = {}): Promise<Scrape> {
  const controller = new AbortController();
  const request = {
    method: "GET",
    path,
    query: new URLSearchParams(query),
    headers: new Map(Object.entries(headers)),
    signal: controller.signal,
    peer: { address: "127.0.0.1:1" },
  } as unknown as HttpRequest;
  return { answer: await handlers[path]!(request), end: () => controller.abort() };
}

const bodyOf = ({ answer }: Scrape): Promise<string> => text(answer.body as AsyncIterable<Uint8Array>);

test("what is measured here is measured anew and told without times, all else with theirs", async () => {
  write("mine", "own");
  write("theirs", "");
  expect(await bodyOf(await scrape(METRICS_PATH))).toBe("# TYPE mine gauge\nmine 1\n");
  expect(refreshes).toBe(1);
  const federated = await scrape("/federate", 'match[]={__name__=~".*s"}&match[]=mine');
  expect(await bodyOf(federated)).toBe("# TYPE theirs gauge\ntheirs 1 1\n");
  expect(refreshes).toBe(1);
});

test("it is asked whether they may be read, before anything is measured", async () => {
  authorize = () => {
    throw new PermissionDenied();
  };
  await expect(scrape(METRICS_PATH)).rejects.toThrow(PermissionDenied);
  expect(refreshes).toBe(0);
});

test("no more than eight scrapes at a time; one that has ended makes room", async () => {
  const scrapes = await Promise.all(Array.from({ length: 8 }, () => scrape(METRICS_PATH)));
  await expect(scrape(METRICS_PATH)).rejects.toThrow(LimitExceeded);
  scrapes[0]!.end();
  await scrape(METRICS_PATH);
  await expect(scrape(METRICS_PATH)).rejects.toThrow(LimitExceeded);
});

test("many series are looked at and told in turns, between which others have the event loop", async () => {
  for (let i = 0; i < 10_000; i++) write(`metric.${i}`, "own");
  let turns = 0;
  let isOver = false;
  const others = (): void => {
    turns++;
    if (!isOver) setImmediate(others);
  };
  setImmediate(others);
  const body = await bodyOf(await scrape(METRICS_PATH));
  isOver = true;
  expect(body.split("\n")).toHaveLength(20_001);
  // While they are chosen, while they are put in order, and after each piece of 64 KiB.
  expect(turns).toBeGreaterThan(20 + 20 + 3);
});

test.each([
  ["", "text"],
  ["*/*", "text"],
  ["text/plain;version=0.0.4", "text"],
  ["application/openmetrics-text", "openmetrics"],
  ["application/openmetrics-text;version=0.0.1", "text"],
  ["text/plain;version=0.0.4;q=0.3, application/openmetrics-text; version=1.0.0; q=0.5", "openmetrics"],
  ["application/openmetrics-text;version=1.0.0;q=0.2,*/*;q=0.3", "text"],
  ["application/openmetrics-text;q=x", "text"],
])("of %s the scraper prefers %s", (accept, format) => {
  expect(preferredFormat(accept)).toBe(format);
});
