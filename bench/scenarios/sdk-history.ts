// A program reads a log's whole history from our server, with every entry decoded.

import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { SdkHistoryOutcome, SdkHistoryTask } from "../clients/sdk-history.ts";
import { takeTurns, withServers } from "../contest.ts";
import type { Scenario } from "../scenario.ts";
import { versionOf } from "../servers/server-options.ts";
import { fillDataFolder, ourVersion, sluice } from "../sluice-server.ts";

/** Ours first. */
const readers: readonly { readonly who: string; readonly reader: SdkHistoryTask["reader"] }[] = [
  { who: "SDK", reader: "sdk" },
  { who: "rpc, protobuf-es", reader: "protobuf-es" },
  { who: "grpc-js client", reader: "grpc-js" },
];
const timeoutMs = 120_000;

export const sdkHistory: Scenario = {
  name: "sdk-history",
  summary: "one program reads a log's history, decoded, by our SDK and by others; entries/s",
  async run(context) {
    const count = context.isQuick ? 100_000 : 500_000;
    const data = join(context.folder, "sluice");
    context.say(`filling a log with ${count} entries`);
    await fillDataFolder(data, context.entriesFile, count);
    return await withServers([sluice(data)], async ([server]) => {
      const contenders = readers.map(({ who }) => ({ who, process: server!.process }));
      const measured = await takeTurns(contenders, context.runs, async ({ who, process: { address } }) => {
        context.say(who);
        const { reader } = readers.find((each) => each.who === who)!;
        const task = { address, reader };
        const outcome = await runClient<SdkHistoryTask, SdkHistoryOutcome>("sdk-history", task, { timeoutMs });
        if (outcome.entries < count) throw new Error(`${outcome.entries} of ${count} entries came`);
        return outcome.entries / outcome.seconds;
      });
      return {
        scenario: "sdk-history",
        runs: context.runs,
        versions: { sluice: ourVersion, "@grpc/grpc-js": versionOf("@grpc/grpc-js") },
        missing: [],
        cases: [{ title: `history of ${count} entries, each decoded`, unit: "entries/s", measured, notes: [] }],
        notes: ["all read from our server; the time includes the connection and what the client compiles"],
      };
    });
  },
};
