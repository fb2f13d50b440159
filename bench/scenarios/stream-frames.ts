// One stream of frames that lie ready in memory: what the transport alone can do.

import { join } from "node:path";
import { root } from "../build.ts";
import { grpcFrame } from "../clients/http2-wire.ts";
import { takeTurns, withServers } from "../contest.ts";
import { entryFrameBytes } from "../entries.ts";
import { findH2load } from "../h2load.ts";
import { findPeer, nodeServer, serverArguments, type PeerName } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, us } from "../sluice-server.ts";
import { loadStream, readStream } from "../stream-load.ts";

const peers: readonly PeerName[] = ["node:http2", "grpc-go encoded", "tonic encoded"];
const securePeers: readonly PeerName[] = ["node:http2"];

export const streamFrames: Scenario = {
  name: "stream-frames",
  summary: "one stream of ready-made frames from memory, plain and over TLS; messages/s",
  async run(context) {
    const h2load = await findH2load();
    const plain = await measure(context, peers, { isSecure: false, hasH2load: h2load !== undefined });
    const secure =
      h2load === undefined ? undefined : await measure(context, securePeers, { isSecure: true, hasH2load: true });
    return {
      scenario: "stream-frames",
      runs: context.runs,
      versions: { ...plain.versions, [us]: ourVersion, h2load: h2load ?? "missing" },
      missing: plain.missing,
      cases: [plain.outcome, ...(secure === undefined ? [] : [secure.outcome])],
      notes: [
        `frames of ${entryFrameBytes} bytes, the same bytes for all, 1,000 of them round and round`,
        "ours: a FrameSource behind the ordinary API; node:http2: blocks of 1,000 frames written as fast as it takes them",
        h2load === undefined
          ? "read by our own client, for h2load is not installed; so there is no case over TLS"
          : "the client is h2load -n1 -c1 -m1; before, each server's answer was read whole by our own client",
      ],
    };
  },
};

async function measure(
  context: ScenarioContext,
  who: readonly PeerName[],
  { isSecure, hasH2load }: { readonly isSecure: boolean; readonly hasH2load: boolean },
) {
  const messages = context.isQuick ? 500_000 : 4_000_000;
  const options = { entriesFile: context.entriesFile, count: messages, isSecure };
  const { contestants, missing } = partEntrants(await Promise.all(who.map((name) => findPeer(name, options))));
  const ourCommand = nodeServer([join(root, "bench/servers/sluice-rpc.ts"), ...serverArguments(options, "plain")]);
  return await withServers([{ who: us, command: ourCommand }, ...contestants], async (servers) => {
    const load = {
      path: "/LogService/StreamLogs",
      request: grpcFrame(new Uint8Array()),
      messages,
      frameBytes: entryFrameBytes,
      folder: context.folder,
      isSecure,
    };
    const isKnown = new Set<string>();
    const measured = await takeTurns(servers, context.runs, async (server) => {
      context.say(`${isSecure ? "TLS" : "plain"}: ${server.who}`);
      const byOurOwn = !isSecure && (!hasH2load || !isKnown.has(server.who));
      isKnown.add(server.who);
      return messages / (byOurOwn ? await readStream(server, load) : await loadStream(server, load));
    });
    const outcome: CaseOutcome = {
      title: `one stream of ${messages} frames${isSecure ? ", TLS 1.3" : ""}`,
      unit: "messages/s",
      measured,
      notes: [],
    };
    return { outcome, missing, versions: versionsOf(servers) };
  });
}
