// Files over a long line: 20 ms there and back.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { FilesOutcome, FilesTask } from "../clients/files.ts";
import { takeTurns, withServers, type Server } from "../contest.ts";
import { openDelayProxy } from "../delay-proxy.ts";
import { writeLargeFile } from "../large-file.ts";
import { findPeer } from "../peers.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const oneWayMs = 10;
/** A peer that is fifty times slower would take minutes with as much. */
const sizes = { full: { oursMib: 256, peerMib: 16 }, quick: { oursMib: 128, peerMib: 8 } };
const bytesPerMb = 1e6;
const timeoutMs = 120_000;

export const filesRtt: Scenario = {
  name: "files-rtt",
  summary:
    "download and upload over a line of 20 ms there and back: our SDK, and grpc-js with its default windows; MB/s",
  async run(context) {
    const files = join(context.folder, "files");
    await mkdir(files);
    const { oursMib, peerMib } = context.isQuick ? sizes.quick : sizes.full;
    for (const mib of [oursMib, peerMib]) await writeLargeFile(join(files, `${mib}.bin`), mib * 2 ** 20);
    const peer = await findPeer("grpc-js", { entriesFile: context.entriesFile, count: 1, files });
    const { contestants, missing } = partEntrants([peer]);
    const ours = sluice(join(context.folder, "data"), { settings: ["--files", `${files}:rw`] });
    return await withServers([ours, ...contestants], async (servers) => ({
      scenario: "files-rtt",
      runs: context.runs,
      versions: { ...versionsOf(servers), [us]: ourVersion },
      missing,
      cases: [
        {
          title: "download",
          unit: "MB/s",
          measured: await measure(context, servers, { kind: "download", oursMib, peerMib }),
          notes: [],
        },
        {
          title: "upload",
          unit: "MB/s",
          measured: await measure(context, servers, { kind: "upload", oursMib, peerMib }),
          notes: ["ours ends when the file is in its place, verified and synced; grpc-js' server drops what comes"],
        },
      ],
      notes: [
        `a proxy of the benchmark delays each byte by ${oneWayMs} ms each way, and bounds nothing else`,
        `we carry ${oursMib} MiB, grpc-js ${peerMib} MiB; the time includes the connection, and ours the start and the commit of the upload`,
        "each client talks to its own server; all of them have the windows that they have by default",
      ],
    }));
  },
};

interface Transfer {
  readonly kind: "download" | "upload";
  readonly oursMib: number;
  readonly peerMib: number;
}

async function measure(context: ScenarioContext, servers: readonly Server[], { kind, oursMib, peerMib }: Transfer) {
  return await takeTurns(servers, context.runs, async ({ who, process }) => {
    context.say(`${kind}: ${who}`);
    const mib = who === us ? oursMib : peerMib;
    await using proxy = await openDelayProxy({ target: process.address, oneWayMs });
    const common = { address: proxy.address, by: who === us ? ("sdk" as const) : ("grpc-js" as const) };
    const task: FilesTask =
      kind === "download"
        ? { ...common, kind, path: `${mib}.bin` }
        : { ...common, kind, path: "uploaded.bin", byteCount: mib * 2 ** 20 };
    const { byteCount, seconds } = await runClient<FilesTask, FilesOutcome>("files", task, { timeoutMs });
    if (byteCount !== mib * 2 ** 20) throw new Error(`${byteCount} bytes, not ${mib} MiB`);
    return byteCount / bytesPerMb / seconds;
  });
}
