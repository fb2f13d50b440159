// How soon somebody who watches a folder over the network hears of what happens there.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { FilesWatchOutcome, FilesWatchTask } from "../clients/files-watch.ts";
import { takeTurns, withServers } from "../contest.ts";
import type { Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const here = "fs.watch, without a network";
const timeoutMs = 120_000;

export const filesWatch: Scenario = {
  name: "files-watch",
  summary:
    "from a new file to the event of it: one by one, ms; and a burst, files/s; beside Node's fs.watch in the process itself",
  async run(context) {
    const singles = context.isQuick ? 50 : 300;
    const burst = context.isQuick ? 1_000 : 10_000;
    const files = join(context.folder, "files");
    await mkdir(files);
    const ours = sluice(join(context.folder, "data"), { settings: ["--files", files] });
    return await withServers([ours], async ([server]) => {
      const contenders = [server!, { who: here, process: server!.process }];
      const bursts = new Map<string, number[]>(contenders.map(({ who }) => [who, []]));
      const latencies = await takeTurns(contenders, context.runs, async ({ who, process: { address } }) => {
        context.say(who);
        const by = who === us ? "sdk" : "fs.watch";
        const task: FilesWatchTask = { by, address, folder: files, singles, burst };
        const outcome = await runClient<FilesWatchTask, FilesWatchOutcome>("files-watch", task, { timeoutMs });
        bursts.get(who)!.push(outcome.filesPerSecond);
        return outcome.medianMs;
      });
      return {
        scenario: "files-watch",
        runs: context.runs,
        versions: { [us]: ourVersion, [here]: `Node ${process.version}` },
        missing: [],
        cases: [
          {
            title: "one new file",
            unit: "ms",
            isSmallerBetter: true,
            measured: latencies,
            notes: ["the median of a run"],
          },
          {
            title: `${burst} new files at once`,
            unit: "files/s",
            measured: contenders.map(({ who }) => ({ who, samples: bursts.get(who)! })),
            notes: ["the time includes the making of the files, in the client's process"],
          },
        ],
        notes: [
          "ours tells each file with its size, times and etag, in order, with a place to go on at; fs.watch tells a name",
        ],
      };
    });
  },
};
