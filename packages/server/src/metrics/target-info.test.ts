import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { fromBinary } from "@bufbuild/protobuf";
import { RemoteWriteV1RequestSchema } from "@sluice/api";
import type { HttpRequest } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { createMetricsHttpHandlers } from "./expose-http.ts";
import type { ForwardedPoint } from "./forward.ts";
import { openRemoteWrite } from "./forward-remote-write.ts";
import { formatOrigin } from "./otlp-origin.ts";
import { SeriesTable } from "./series.ts";
import { decompressSnappy } from "./snappy.ts";

let table: SeriesTable;
beforeEach(() => {
  table = new SeriesTable({ clock: new ManualClock(), seriesMax: 100, silentMs: 300_000 });
});
afterEach(() => table[Symbol.dispose]());

type Resource = Readonly<Record<string, unknown>>;
const SHOP = { "service.name": "shop", "service.namespace": "prod", "host.name": 'web "1"', "process.pid": 7 };
const MS = 1_000_000n;

function write(name: string, resource: Resource, timestampNs: bigint): void {
  const origin = formatOrigin({
    resource: Object.entries(resource),
    schemaUrl: "",
    scope: { name: "", version: "", attributes: [] },
    unit: "",
    type: "gauge",
    kind: "gauge",
    isDelta: false,
  });
  const labels = Object.entries(resource).flatMap(([key, value]) =>
    key.startsWith("service.") ? [[key, String(value)] as const] : [],
  );
  const description = { name, type: "gauge" as const, unit: "", description: "", labels, origin };
  table.write(origin + name, { value: 1, timestampNs, startNs: 0n }, () => description);
}

async function federate(selector: string): Promise<string> {
  const handlers = createMetricsHttpHandlers({
    authorize: () => {},
    limits: DEFAULT_LIMITS,
    source: table,
    isOwn: () => false,
    refresh: () => {},
  });
  const request = {
    method: "GET",
    query: new URLSearchParams({ "match[]": selector }),
    headers: new Map(),
    signal: new AbortController().signal,
    peer: { address: "127.0.0.1:1" },
  } as unknown as HttpRequest;
  const answer = await handlers["/federate"]!(request);
  return await text(answer.body as AsyncIterable<Uint8Array>);
}

test("/federate has what programs say of themselves, once, with the newest time of their series", async () => {
  write("a", SHOP, MS);
  write("b", SHOP, 5n * MS);
  // Nothing beside its names, and no name at all: there is nothing to join.
  write("c", { "service.name": "plain" }, MS);
  write("d", { "host.name": "h" }, MS);
  const told = [
    "# HELP target_info Target metadata",
    "# TYPE target_info gauge",
    String.raw`target_info{host_name="web \"1\"",job="prod/shop",process_pid="7"} 1 5`,
    "",
  ].join("\n");
  expect(await federate("target_info")).toBe(told);
  expect(await federate('target_info{host_name=~"web.*"}')).toBe(told);
  expect(await federate('target_info{job="other"}')).toBe("");
  expect(await federate('{job="prod/shop"}')).toContain('a{job="prod/shop"} 1 1\n');
});

test("remote write tells it with their points, ascending in time, again when it was not taken", async () => {
  const told: string[][] = [];
  const status = [503];
  const web = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { timeseries } = fromBinary(RemoteWriteV1RequestSchema, decompressSnappy(Buffer.concat(chunks), 1_000_000));
      told.push(
        timeseries.map(
          ({ labels, samples }) => `${labels.find(({ name }) => name === "__name__")?.value} ${samples[0]?.timestamp}`,
        ),
      );
      response.writeHead(status.shift() ?? 204).end();
    });
  });
  await new Promise<void>((resolve) => {
    web.listen(0, "127.0.0.1", resolve);
  });
  onTestFinished(() => {
    web.close();
    web.closeAllConnections();
  });
  const url = new URL(`http://127.0.0.1:${(web.address() as AddressInfo).port}/`);
  await using target = openRemoteWrite(url, new ManualClock());
  const send = async (...times: bigint[]) => {
    write("a", SHOP, times[0]!);
    const [series] = table.named("a");
    const points = times.map((timestampNs): ForwardedPoint => {
      const point = { value: 1, timestampNs, startNs: 0n };
      return { series: series!, point, value: 1, isStale: false };
    });
    return await target.send(points, new AbortController().signal);
  };
  expect(await send(2n * MS)).toMatchObject({ kind: "later" });
  expect(await send(2n * MS)).toMatchObject({ kind: "taken" });
  // A late one says nothing new of its program.
  await send(MS);
  await send(3n * MS, 4n * MS);
  expect(told).toEqual([["target_info 2", "a 2"], ["target_info 2", "a 2"], ["a 1"], ["target_info 4", "a 3", "a 4"]]);
});
