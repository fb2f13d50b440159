// Resource and scope of OpenTelemetry's programs: stored once for a log, as safe as the entries that refer to them.
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { OtlpLogsService, type ResourceLogs } from "@sluice/api";
import { createClient } from "@sluice/rpc";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { runCli } from "../support/cli-process.ts";
import { collect, type LogClient, openLogClient } from "../support/log-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

vi.setConfig({ testTimeout: 120_000 });

let folder: TemporaryFolder;
let server: ServerProcess;
let client: LogClient;

async function start(): Promise<void> {
  server = await startServer([], { folder: folder.path });
  client = openLogClient(server.address);
}

async function stop(signal: NodeJS.Signals): Promise<void> {
  await client[Symbol.asyncDispose]();
  server.kill(signal);
  await server.ended();
}

beforeEach(async () => {
  folder = await openTemporaryFolder("otlp-resources");
  await start();
});

afterEach(async () => {
  await stop("SIGKILL");
  await folder[Symbol.asyncDispose]();
});

const text = (value: string) => ({ value: { case: "stringValue" as const, value } });
const HOST = "a-host-with-a-name-that-is-easy-to-find";

/** A request of one program with a record of this body. */
function requestOf(body: string, host = HOST) {
  const attributes = [
    { key: "service.name", value: text("shop") },
    { key: "host.name", value: text(host) },
  ];
  const scope = { name: "checkout", version: "1.2.3" };
  const scopeLogs = [{ scope, schemaUrl: "urn:scope", logRecords: [{ body: text(body) }] }];
  return {
    resourceLogs: [{ resource: { attributes, droppedAttributesCount: 2 }, schemaUrl: "urn:resource", scopeLogs }],
  };
}

async function send(...bodies: string[]): Promise<void> {
  const { export: exportLogs } = createClient(OtlpLogsService, client.channel);
  for (const body of bodies) await exportLogs(requestOf(body));
}

async function readBack(): Promise<ResourceLogs[]> {
  const batches = await collect(client.logs.streamOtlpLogs({ application: "shop" }));
  return batches.flatMap(({ resourceLogs }) => resourceLogs);
}

const logFolder = () => join(folder.path, "data/logs/default");
const dictionaries = async () => (await readdir(logFolder())).filter((name) => name.endsWith(".dictionary"));
const doctor = () => runCli(["doctor", "data", "--output", "json"], { folder: folder.path });

test("they are stored once, and an entry has their numbers, which GetResources explains", async () => {
  await send(...Array.from({ length: 50 }, (_, i) => `record ${i}`));
  const entries = (await collect(client.logs.streamLogs({ application: "shop" }))).filter((each) => !each.control);
  const { resourceId, scopeId } = entries[0]!;
  expect(new Set(entries.map((each) => `${each.resourceId} ${each.scopeId}`))).toEqual(
    new Set([`${resourceId} ${scopeId}`]),
  );
  const expected = {
    resources: [
      {
        resourceId,
        schemaUrl: "urn:resource",
        resource: { droppedAttributesCount: 2, attributes: [{ key: "service.name" }, { key: "host.name" }] },
      },
    ],
    scopes: [{ scopeId, schemaUrl: "urn:scope", scope: { name: "checkout", version: "1.2.3" } }],
  };
  expect(await client.logs.getResources({})).toMatchObject(expected);
  expect(await client.logs.getResources({ resourceIds: [resourceId, 5] })).toMatchObject({ ...expected, scopes: [] });
  expect(await client.logs.getResources({ scopeIds: [scopeId] })).toMatchObject({ ...expected, resources: [] });
  const [name = ""] = await dictionaries();
  expect((await stat(join(logFolder(), name))).size).toBeLessThan(300);
});

test("what was acknowledged has its resource after a SIGKILL", async () => {
  for (let round = 0; round < 3; round++) {
    await send(`round ${round}`);
    await stop("SIGKILL");
    await start();
    const all = await readBack();
    expect(all.map(({ schemaUrl }) => schemaUrl)).toEqual(["urn:resource"]);
    expect(all[0]?.scopeLogs[0]?.logRecords).toHaveLength(round + 1);
  }
});

test("a dictionary that is lost is missed by the doctor, costs no entry, and heals as programs go on", async () => {
  await send("before");
  await stop("SIGTERM");
  expect((await doctor()).exitCode).toBe(0);
  for (const name of await dictionaries()) await rm(join(logFolder(), name));
  const examined = await doctor();
  expect(examined.exitCode).toBe(6);
  // The log's line; that of the metrics follows.
  expect(JSON.parse(examined.stdout.split("\n")[0]!)).toMatchObject({ dictionary: { entries: 0, unknownIds: 2 } });
  expect((await runCli(["doctor", "data"], { folder: folder.path })).stdout).toContain(
    "2 resources and scopes of entries are lost",
  );
  await start();
  const [lost] = await readBack();
  expect(lost?.resource?.attributes).toMatchObject([{ key: "service.name", value: text("shop") }]);
  expect(lost?.scopeLogs[0]?.logRecords).toMatchObject([{ body: text("before") }]);
  await send("after");
  const healed = await readBack();
  expect(healed.map(({ schemaUrl }) => schemaUrl)).toEqual(["urn:resource"]);
  expect(healed[0]?.scopeLogs[0]?.logRecords).toHaveLength(2);
  await stop("SIGTERM");
  expect((await doctor()).exitCode).toBe(0);
  await start();
});
