// Whether somebody who downloads one file gets their part beside somebody who downloads fifty.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { FileRequestSchema } from "@sluice/api";
import { runClient } from "../client-run.ts";
import type { ManyReadersOutcome, ManyReadersTask } from "../clients/files-many-readers.ts";
import { grpcFrame } from "../clients/http2-wire.ts";
import { takeTurns, withServers, type Server } from "../contest.ts";
import { writeLargeFile } from "../large-file.ts";
import { findNginx } from "../peers.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const file = "large.bin";
const greedyReaders = 50;
/** A bound that the machine reaches easily: then it is the bound that is shared, and not the client's processor. */
const bounded = `${us}, 100 MB/s in all`;
const timeoutMs = 60_000;

export const filesFairness: Scenario = {
  name: "files-fairness",
  summary: "one download of one address beside 50 of another: what part of all bytes it gets, beside nginx; %",
  async run(context) {
    const files = join(context.folder, "files");
    await mkdir(files);
    await writeLargeFile(join(files, file), 256 * 2 ** 20);
    const { contestants, missing } = partEntrants([await findNginx(files, { http1: false })]);
    const settings = ["--files", files];
    const ours = [
      sluice(join(context.folder, "data"), { settings }),
      sluice(join(context.folder, "bounded"), { who: bounded, settings: [...settings, "--files-rate", "100MB"] }),
    ];
    return await withServers([...ours, ...contestants], async (servers) => ({
      scenario: "files-fairness",
      runs: context.runs,
      versions: { ...versionsOf(servers), [us]: ourVersion, [bounded]: ourVersion },
      missing,
      cases: [
        {
          title: `part of one download beside ${greedyReaders}`,
          unit: "%",
          measured: await takeTurns(servers, context.runs, (server) => measure(context, server)),
          notes: ["all alike would be 2 %, both addresses alike 50 %"],
        },
      ],
      notes: [
        `from the page cache, each download on a connection of its own; 127.0.0.2 has one, 127.0.0.1 has ${greedyReaders}; our raw client reads all of them`,
        "without a bound the client's processor is what they share, and our server only decides what is read next; with it, who reads next decides",
      ],
    }));
  },
};

async function measure(context: ScenarioContext, { who, process: { address } }: Server): Promise<number> {
  context.say(who);
  const message = toBinary(FileRequestSchema, create(FileRequestSchema, { filePath: file }));
  const task: ManyReadersTask = {
    address,
    ...(who.startsWith(us)
      ? { path: "/FileService/DownloadFile", request: grpcFrame(message).toString("base64") }
      : { path: `/${file}` }),
    groups: [
      { localAddress: "127.0.0.1", readers: greedyReaders },
      { localAddress: "127.0.0.2", readers: 1 },
    ],
    warmUpMs: 1_000,
    ms: context.isQuick ? 1_500 : 5_000,
  };
  const { groups } = await runClient<ManyReadersTask, ManyReadersOutcome>("files-many-readers", task, { timeoutMs });
  const [greedy, modest] = groups;
  return (100 * modest!.bytesPerSecond) / (greedy!.bytesPerSecond + modest!.bytesPerSecond);
}
