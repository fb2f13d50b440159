// One message there, the same message back: of 100 bytes first, then empty, large, and over TLS.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../build.ts";
import { runClient } from "../client-run.ts";
import { echoRequest } from "../clients/grpc-messages.ts";
import type { HeaderForm } from "../clients/request-headers.ts";
import type { UnaryOutcome, UnaryTask } from "../clients/unary-load.ts";
import { Pacer, takeTurns, withServers, type Server } from "../contest.ts";
import { CostMeter } from "../costs.ts";
import { findH2load, runH2load, verifyLoad } from "../h2load.ts";
import { findPeer, nodeServer, serverArguments, type PeerName } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, us } from "../sluice-server.ts";

const path = "/bench.v1.EchoService/Echo";
const messageBytes = 100;
const prefixBytes = 5;
/** Besides 100 B. */
const otherSizes = [0, 65_536] as const;
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
/** What any server on Node can reach with large messages: it does nothing but read and write, and only h2load can call it. */
const ceiling: PeerName = "node:net";
/** Ourselves with what packages/rpc/README.md advises for large messages. */
const tuned = `${us} tuned`;
const tunedFlags = ["--minor-gc-task-trigger=20"] as const;
/** Whose changing headers are measured as well: the fast ones, and the one that Node's users have. */
const peersOfHeaders: readonly string[] = ["grpc-js", "grpc-go tuned", "tonic tuned"];

interface Shape {
  readonly connections: number;
  readonly inFlightPerConnection: number;
}

const oneConnection: Shape = { connections: 1, inFlightPerConnection: 100 };
const manyConnections: Shape = { connections: 20, inFlightPerConnection: 10 };

/** One case: what is sent, in which number, and who takes part. */
interface EchoCase extends Shape {
  readonly messageBytes: number;
  readonly isSecure: boolean;
}

export const unary: Scenario = {
  name: "unary",
  summary:
    "unary calls of 100 B, 0 B and 64 KiB, 1 connection × 100 and 20 × 10, over TLS, and with headers that change; calls/s",
  async run(context) {
    const h2load = await findH2load();
    const plain = await measureAll(context, { isSecure: false, hasH2load: h2load !== undefined });
    const secure = h2load === undefined ? undefined : await measureAll(context, { isSecure: true, hasH2load: true });
    return {
      scenario: "unary",
      runs: context.runs,
      versions: { ...plain.versions, [us]: ourVersion, h2load: h2load ?? "missing" },
      missing: plain.missing,
      cases: [...plain.cases, ...(secure?.cases ?? [])],
      notes: [
        `a message of ${messageBytes} B each way unless the case says otherwise; every answer's status and length is verified`,
        "ours: a typed handler behind the ordinary API, with deadlines, metadata and cancellation in place",
        `${tuned}: the same on Node with ${tunedFlags.join(" ")}`,
        h2load === undefined
          ? "the client is our own, for h2load is not installed; so there is no case over TLS"
          : "the client is h2load where no case says otherwise",
        `${ceiling}: a bare socket that finds the frames and echoes the message, and nothing else: what Node can reach`,
      ],
    };
  },
};

/** All cases of plain connections, or all of those with TLS: the servers run once for them. */
async function measureAll(context: ScenarioContext, how: { readonly isSecure: boolean; readonly hasH2load: boolean }) {
  const { isSecure, hasH2load } = how;
  const options = { entriesFile: context.entriesFile, count: 1, withMemoryProbe: !isSecure, isSecure };
  const plain = hasH2load ? [...peers, ceiling] : peers;
  const names = isSecure ? peers.filter((who) => !isEncoded(who)) : plain;
  const { contestants, missing } = partEntrants(await Promise.all(names.map((who) => findPeer(who, options))));
  const words = [join(root, "bench/servers/sluice-rpc.ts"), ...serverArguments(options, "plain")];
  const ours = { who: us, command: nodeServer(words, options.withMemoryProbe) };
  const oursTuned = { who: tuned, command: nodeServer([...tunedFlags, ...words], options.withMemoryProbe) };
  return await withServers([ours, oursTuned, ...contestants], async (all) => {
    const servers = all.filter(({ who }) => who !== ceiling);
    const ordinary = all.filter(({ who }) => !isEncoded(who) && !isTuned(who));
    const cases: CaseOutcome[] = [];
    const meter = isSecure ? undefined : new CostMeter("call");
    cases.push(
      ...(await measureEcho(context, servers, { ...oneConnection, messageBytes, isSecure }, hasH2load, meter)),
    );
    cases.push(...(await measureEcho(context, servers, { ...manyConnections, messageBytes, isSecure }, hasH2load)));
    for (const size of otherSizes) {
      for (const shape of [oneConnection, manyConnections]) {
        const echo = { ...shape, messageBytes: size, isSecure };
        const isLarge = size > messageBytes;
        const taking = isLarge
          ? all.filter(({ who }) => who === tuned || !(isEncoded(who) || isTuned(who)))
          : ordinary.filter(({ who }) => who !== ceiling);
        const costs = isLarge && !isSecure ? new CostMeter("call") : undefined;
        cases.push(...(await measureEcho(context, taking, echo, hasH2load, costs)));
      }
    }
    if (!isSecure) cases.push(...(await measureHeaders(context, servers)));
    return { cases, missing, versions: versionsOf(all) };
  });
}

function isEncoded(who: string): boolean {
  return who.endsWith(" encoded");
}

function isTuned(who: string): boolean {
  return who.endsWith(" tuned");
}

async function measureEcho(
  context: ScenarioContext,
  servers: readonly Server[],
  echo: EchoCase,
  hasH2load: boolean,
  meter?: CostMeter,
): Promise<CaseOutcome[]> {
  const bodyFile = join(context.folder, "echo-request.bin");
  await writeFile(bodyFile, echoRequest(echo.messageBytes));
  const title = titleOf(echo);
  const pacer = createPacer(context, echo.messageBytes);
  const measure = async ({ who, process: { address } }: Server) => {
    context.say(`${title}: ${who}`);
    const calls = pacer.units(who);
    const rate = hasH2load
      ? await runWithH2load(address, echo, calls, bodyFile)
      : await runOwnClient(address, echo, calls, { headers: "plain", messageBytes: echo.messageBytes });
    pacer.learn(who, rate);
    return { units: calls, seconds: calls / rate };
  };
  const measured = await takeTurns(
    servers,
    context.runs,
    meter?.around(measure) ??
      (async (server) => {
        const { units, seconds } = await measure(server);
        return units / seconds;
      }),
  );
  return [{ title, unit: "calls/s", measured, notes: [] }, ...(meter?.cases(title) ?? [])];
}

function titleOf({ connections, inFlightPerConnection, messageBytes: bytes, isSecure }: EchoCase): string {
  const size = bytes === 0 ? "an empty message" : bytes === messageBytes ? "" : `${bytes / 1024} KiB`;
  return [`${connections} × ${inFlightPerConnection} in flight`, size, isSecure ? "TLS 1.3" : ""]
    .filter((part) => part !== "")
    .join(", ");
}

/** What headers cost that differ from call to call, by our own client, which h2load cannot show. */
async function measureHeaders(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome[]> {
  const forms: readonly HeaderForm[] = ["plain", "indexed", "literal"];
  const taking = servers.filter(({ who }) => who === us || peersOfHeaders.includes(who));
  // Each form of each server is a contestant, so that they alternate, too.
  const entries = taking.flatMap(({ who, process }) => forms.map((form) => ({ who: `${who}/${form}`, process })));
  const pacer = createPacer(context, messageBytes);
  const measured = await takeTurns(entries, context.runs, async ({ who, process: { address } }) => {
    context.say(`headers: ${who}`);
    const form = who.slice(who.lastIndexOf("/") + 1) as HeaderForm;
    const rate = await runOwnClient(address, oneConnection, pacer.units(who), { headers: form, messageBytes });
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

function createPacer(context: ScenarioContext, bytes: number): Pacer {
  // Of large messages fewer: our own client prepares all requests of a run in memory.
  const isLarge = bytes > 1000;
  const [first, most] = isLarge ? [1000, 20_000] : [20_000, 400_000];
  return new Pacer({ first, most, seconds: context.isQuick ? 0.3 : 1 });
}

async function runWithH2load(address: string, echo: EchoCase, requests: number, bodyFile: string): Promise<number> {
  const outcome = await runH2load({ address, path, requests, bodyFile, timeoutMs, ...echo });
  verifyLoad(outcome, { requests, dataBytes: requests * (prefixBytes + echo.messageBytes) });
  return requests / outcome.seconds;
}

async function runOwnClient(
  address: string,
  { connections, inFlightPerConnection }: Shape,
  calls: number,
  form: { readonly headers: HeaderForm; readonly messageBytes: number },
): Promise<number> {
  const callsPerConnection = Math.ceil(calls / connections);
  const task = { address, path, connections, inFlightPerConnection, callsPerConnection, ...form };
  const outcome = await runClient<UnaryTask, UnaryOutcome>("unary-load", task, { timeoutMs });
  const expected = outcome.calls * (prefixBytes + form.messageBytes);
  if (outcome.dataBytes !== expected) throw new Error(`The bodies have ${outcome.dataBytes} bytes, not ${expected}`);
  return outcome.calls / outcome.seconds;
}
