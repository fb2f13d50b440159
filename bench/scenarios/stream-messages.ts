// One stream of messages that the server encodes one by one.

import { join } from "node:path";
import { root } from "../build.ts";
import { repeatRequest } from "../clients/grpc-messages.ts";
import { Pacer, takeTurns, withServers } from "../contest.ts";
import { CostMeter } from "../costs.ts";
import { findH2load } from "../h2load.ts";
import { findPeer, nodeServer, serverArguments, type PeerName } from "../peers.ts";
import { partEntrants, versionsOf, type Scenario } from "../scenario.ts";
import { ourVersion, us } from "../sluice-server.ts";
import { loadStream, readStream } from "../stream-load.ts";

const messageBytes = 100;
const peers: readonly PeerName[] = ["grpc-js", "connect-es", "grpc-go", "grpc-go tuned", "tonic", "tonic tuned"];

export const streamMessages: Scenario = {
  name: "stream-messages",
  summary: "one stream of 100 B messages, each encoded by the server; messages/s, CPU and allocation per message",
  async run(context) {
    const options = { entriesFile: context.entriesFile, count: 1, withMemoryProbe: true };
    const { contestants, missing } = partEntrants(await Promise.all(peers.map((who) => findPeer(who, options))));
    const ours = ["plain", "encoded"].map((form) => ({
      who: form === "plain" ? us : `${us} encoded`,
      command: nodeServer([join(root, "bench/servers/sluice-rpc.ts"), ...serverArguments(options, form)], true),
    }));
    const h2load = await findH2load();
    const pacer = new Pacer({ first: 20_000, most: 3_000_000, seconds: context.isQuick ? 0.4 : 1.5 });
    const meter = new CostMeter("message");
    const isKnown = new Set<string>();
    return await withServers([...ours, ...contestants], async (servers) => {
      const measured = await takeTurns(
        servers,
        context.runs,
        meter.around(async (server) => {
          context.say(server.who);
          const messages = pacer.units(server.who);
          const load = {
            path: "/bench.v1.EchoService/Repeat",
            request: repeatRequest(messageBytes, messages),
            messages,
            frameBytes: 5 + messageBytes,
            folder: context.folder,
          };
          const byOurOwn = h2load === undefined || !isKnown.has(server.who);
          isKnown.add(server.who);
          const seconds = byOurOwn ? await readStream(server, load) : await loadStream(server, load);
          pacer.learn(server.who, messages / seconds);
          return { units: messages, seconds };
        }),
      );
      const title = `one stream of messages of ${messageBytes} B`;
      return {
        scenario: "stream-messages",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion, h2load: h2load ?? "missing" },
        missing,
        cases: [{ title, unit: "messages/s", measured, notes: [] }, ...meter.cases(title)],
        notes: [
          "each server's handler answers with message objects; ours is an async generator that yields plain objects",
          `"${us} encoded" is a generator that yields frames made beforehand`,
          h2load === undefined ? "read by our own client" : "the client is h2load -n1 -c1 -m1",
        ],
      };
    });
  },
};
