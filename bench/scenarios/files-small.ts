// Many small files: where a round trip a file costs more than its bytes.

import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { FilesBy, FilesOutcome, FilesTask } from "../clients/files.ts";
import { takeTurns, withServers } from "../contest.ts";
import { writeSmallFiles } from "../large-file.ts";
import { findPeer } from "../peers.ts";
import { partEntrants, versionsOf, type Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const fileBytes = 4096;
const manyAtOnce = 64;
const timeoutMs = 120_000;

/** Ours first; the names of the rest begin with their server's. */
const readers: readonly { readonly who: string; readonly by: FilesBy; readonly atOnce: number }[] = [
  { who: us, by: "sdk", atOnce: manyAtOnce },
  { who: `${us}, one after another`, by: "sdk", atOnce: 1 },
  { who: "grpc-js, one after another", by: "grpc-js", atOnce: 1 },
  { who: `grpc-js, ${manyAtOnce} at once`, by: "grpc-js", atOnce: manyAtOnce },
];

export const filesSmall: Scenario = {
  name: "files-small",
  summary: "10,000 files of 4 KiB: our SDK with 64 calls at once on one connection, grpc-js one after another; files/s",
  async run(context) {
    const count = context.isQuick ? 2_000 : 10_000;
    const files = join(context.folder, "files");
    await writeSmallFiles(join(files, "small"), count, fileBytes);
    const peer = await findPeer("grpc-js", { entriesFile: context.entriesFile, count: 1, files });
    const { contestants, missing } = partEntrants([peer]);
    const ours = sluice(join(context.folder, "data"), { settings: ["--files", files] });
    return await withServers([ours, ...contestants], async (servers) => {
      const contenders = readers.flatMap(({ who }) => {
        const server = servers.find((each) => who.startsWith(each.who));
        return server === undefined ? [] : [{ who, process: server.process }];
      });
      const measured = await takeTurns(contenders, context.runs, async ({ who, process: { address } }) => {
        context.say(who);
        const { by, atOnce } = readers.find((each) => each.who === who)!;
        const task: FilesTask = { kind: "download-many", address, by, folder: "small", count, atOnce };
        const outcome = await runClient<FilesTask, FilesOutcome>("files", task, { timeoutMs });
        if (outcome.byteCount !== count * fileBytes)
          throw new Error(`${outcome.byteCount} bytes of ${count} files came`);
        return count / outcome.seconds;
      });
      return {
        scenario: "files-small",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion },
        missing,
        cases: [{ title: `${count} files of 4 KiB`, unit: "files/s", measured, notes: [] }],
        notes: [
          `each client reads from its own server, all files on one connection; "${us}" has ${manyAtOnce} calls open at once`,
          "ours: every file proven to lie where its path says, without links, its SHA-256 computed and verified, its CRC-32 too",
          "grpc-js opens by path, and verifies nothing",
        ],
      };
    });
  },
};
