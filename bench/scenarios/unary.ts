// The smallest calls: 100 bytes there, 100 bytes back.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../build.ts";
import { runClient } from "../client-run.ts";
import type { HeaderForm } from "../clients/request-headers.ts";
import type { UnaryOutcome, UnaryTask } from "../clients/unary-load.ts";
import { Pacer, takeTurns, withServers, type Server } from "../contest.ts";
import { findH2load, runH2load, verifyLoad, type Load } from "../h2load.ts";
import { findPeer, nodeServer, type PeerName } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, us } from "../sluice-server.ts";

const path = "/bench.v1.EchoService/Echo";
const messageBytes = 100;
const frameBytes = 5 + messageBytes;
const timeoutMs = 120_000;
const peers: readonly PeerName[] = [
  "grpc-js",
  "grpc-js encoded",
  "connect-es",
  "node:http2",
  "grpc-go",
  "grpc-go tuned",
  "grpc-go encoded",
  "tonic",
  "tonic tuned",
  "tonic encoded",
];
/** Whose changing headers are measured as well: the fast ones, and the one that Node's users have. */
const peersOfHeaders: readonly string[] = ["grpc-js", "grpc-go tuned", "tonic tuned"];

interface Shape {
  readonly connections: number;
  readonly inFlightPerConnection: number;
}

const oneConnection: Shape = { connections: 1, inFlightPerConnection: 100 };
const manyConnections: Shape = { connections: 20, inFlightPerConnection: 10 };

export const unary: Scenario = {
  name: "unary",
  summary: "unary calls of 100 B, 1 connection × 100 and 20 × 10, and with headers that change; calls/s",
  async run(context) {
    const options = { entriesFile: context.entriesFile, count: 1 };
    const { contestants, missing } = partEntrants(await Promise.all(peers.map((who) => findPeer(who, options))));
    const ours = { who: us, command: nodeServer([join(root, "bench/servers/sluice-unary.ts")], false) };
    const h2load = await findH2load();
    return await withServers([ours, ...contestants], async (servers) => ({
      scenario: "unary",
      runs: context.runs,
      versions: { ...versionsOf(servers), [us]: ourVersion, h2load: h2load ?? "missing" },
      missing,
      cases: [
        await measurePlain(context, servers, oneConnection, h2load !== undefined),
        await measurePlain(context, servers, manyConnections, h2load !== undefined),
        ...(await measureHeaders(context, servers)),
      ],
      notes: [
        `a message of ${messageBytes} B each way; every answer's status and length is verified`,
        "ours: a typed handler behind the ordinary API, with deadlines, metadata and cancellation in place",
      ],
    }));
  },
};

async function measurePlain(
  context: ScenarioContext,
  servers: readonly Server[],
  shape: Shape,
  hasH2load: boolean,
): Promise<CaseOutcome> {
  const bodyFile = join(context.folder, "echo-request.bin");
  await writeFile(bodyFile, echoRequestFrame());
  const title = `${shape.connections} × ${shape.inFlightPerConnection} in flight`;
  const pacer = createPacer(context);
  const measured = await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
    context.say(`${title}: ${who}`);
    const calls = pacer.units(who);
    const rate = hasH2load
      ? await runWithH2load({ address, path, requests: calls, ...shape, bodyFile, timeoutMs })
      : await runOwnClient(address, shape, calls, "plain");
    pacer.learn(who, rate);
    return rate;
  });
  const client = hasH2load ? "h2load" : "our own, for h2load is not installed";
  return { title, unit: "calls/s", measured, notes: [`the client is ${client}`] };
}

/** What headers cost that differ from call to call, by our own client, which h2load cannot show. */
async function measureHeaders(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome[]> {
  const forms: readonly HeaderForm[] = ["plain", "indexed", "literal"];
  const taking = servers.filter(({ who }) => who === us || peersOfHeaders.includes(who));
  // Each form of each server is a contestant, so that they alternate, too.
  const entries = taking.flatMap(({ who, process }) => forms.map((form) => ({ who: `${who}/${form}`, process })));
  const pacer = createPacer(context);
  const measured = await takeTurns(entries, context.runs, async ({ who, process: { address } }) => {
    context.say(`headers: ${who}`);
    const form = who.slice(who.lastIndexOf("/") + 1) as HeaderForm;
    const rate = await runOwnClient(address, oneConnection, pacer.units(who), form);
    pacer.learn(who, rate);
    return rate;
  });
  const samplesOf = (form: HeaderForm) =>
    taking.map(({ who }) => ({ who, samples: measured.find((one) => one.who === `${who}/${form}`)?.samples ?? [] }));
  const plain = samplesOf("plain");
  const withOwnPlain = (form: HeaderForm) => [
    ...samplesOf(form),
    { who: `${us}, plain headers`, samples: plain[0]?.samples ?? [] },
  ];
  const client = "the client is our own: one socket, all requests prepared beforehand as bytes";
  return [
    { title: "1 × 100, plain headers", unit: "calls/s", measured: plain, notes: [client] },
    {
      title: "1 × 100, changing headers, all indexed",
      unit: "calls/s",
      measured: withOwnPlain("indexed"),
      notes: [
        client,
        "a grpc-timeout and a traceparent that change with each call and a 1 kB token, all put into the dynamic table, as grpc-go's client does: the changing fields push the token out every 20 calls or so, and it comes again",
        `the ratio to "${us}, plain headers" is what is left of the plain figure`,
      ],
    },
    {
      title: "1 × 100, changing headers, token as a literal",
      unit: "calls/s",
      measured: withOwnPlain("literal"),
      notes: [client, "the same, with the 1 kB token as a never-indexed, Huffman-coded literal in each call"],
    },
  ];
}

function createPacer(context: ScenarioContext): Pacer {
  return new Pacer({ first: 20_000, most: 400_000, seconds: context.isQuick ? 0.3 : 1.2 });
}

async function runWithH2load(load: Load): Promise<number> {
  const outcome = await runH2load(load);
  verifyLoad(outcome, { requests: load.requests, dataBytes: load.requests * frameBytes });
  return load.requests / outcome.seconds;
}

async function runOwnClient(address: string, shape: Shape, calls: number, headers: HeaderForm): Promise<number> {
  const callsPerConnection = Math.ceil(calls / shape.connections);
  const task = { address, path, ...shape, callsPerConnection, headers, messageBytes };
  const outcome = await runClient<UnaryTask, UnaryOutcome>("unary-load", task, { timeoutMs });
  const expected = outcome.calls * frameBytes;
  if (outcome.dataBytes !== expected) throw new Error(`The bodies have ${outcome.dataBytes} bytes, not ${expected}`);
  return outcome.calls / outcome.seconds;
}

/** An EchoRequest of exactly `messageBytes`, as a gRPC frame. */
function echoRequestFrame(): Buffer {
  const frame = Buffer.alloc(frameBytes, "x");
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(messageBytes, 1);
  frame.writeUInt16BE(0x0a00 | (messageBytes - 2), 5);
  return frame;
}
