// One message at a time to a thousand streams, from memory: what `logs-follow` measures, without a log behind it.

import { join } from "node:path";
import { root } from "../build.ts";
import { withServers } from "../contest.ts";
import { findPeer, nodeServer, serverArguments, type PeerName } from "../peers.ts";
import { partEntrants, versionsOf, type Scenario } from "../scenario.ts";
import { ourVersion, us } from "../sluice-server.ts";
import { measureArrivals } from "./logs-follow.ts";

const peers: readonly PeerName[] = ["node:http2", "grpc-js", "grpc-go", "grpc-go tuned", "tonic"];

export const fanOut: Scenario = {
  name: "fan-out",
  summary: "one message at a time to 1,000 streams on 10 connections, from memory; deliveries/s",
  async run(context) {
    const options = { entriesFile: context.entriesFile, count: 1 };
    const { contestants, missing } = partEntrants(await Promise.all(peers.map((who) => findPeer(who, options))));
    const words = [join(root, "bench/servers/sluice-rpc.ts"), ...serverArguments(options, "plain")];
    return await withServers([{ who: us, command: nodeServer(words) }, ...contestants], async (servers) => ({
      scenario: "fan-out",
      runs: context.runs,
      versions: { ...versionsOf(servers), [us]: ourVersion },
      missing,
      cases: await measureArrivals(context, servers),
      notes: [
        "deliveries are counted where they arrive; every stream has every message, byte for byte the same for all",
        "the client is our own, on raw sockets; each message comes to the server in a stream of requests",
        "nobody keeps anything: ours is a FrameSource for each stream, with a position in what was published",
      ],
    }));
  },
};
