// Ten thousand followers, and a steady hundred entries a second: how late they have them.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { FollowLatencyOutcome, FollowLatencyTask } from "../clients/follow-latency.ts";
import { withServers } from "../contest.ts";
import type { Measured } from "../report.ts";
import type { Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const connections = 20;
const followersPerConnection = 500;
const entriesPerSecond = 100;
const timeoutMs = 240_000;

export const logsFollowMany: Scenario = {
  name: "logs-follow-many",
  summary: "10,000 followers on 20 connections, 100 new entries a second; p99 from acknowledgement to delivery",
  async run(context) {
    const data = join(context.folder, "sluice");
    await mkdir(data);
    return await withServers([sluice(data)], async ([server]) => {
      const outcomes: FollowLatencyOutcome[] = [];
      for (let run = 0; run < context.runs; run++) {
        context.say(us);
        const { address } = server!.process;
        const seconds = context.isQuick ? 3 : 10;
        const task = { address, connections, followersPerConnection, entriesPerSecond, seconds };
        outcomes.push(
          await runClient<FollowLatencyTask, FollowLatencyOutcome>(
            "follow-latency",
            { ...task, entriesFile: context.entriesFile },
            { timeoutMs },
          ),
        );
      }
      const measured = (of: (outcome: FollowLatencyOutcome) => number): Measured[] => [
        { who: us, samples: outcomes.map(of) },
      ];
      const notes: string[] = [];
      return {
        scenario: "logs-follow-many",
        runs: context.runs,
        versions: { [us]: ourVersion },
        missing: [],
        cases: [
          {
            title: "p99 from an entry's acknowledgement to its delivery",
            unit: "ms",
            isSmallerBetter: true,
            measured: measured(({ sinceAckP99Ms }) => sinceAckP99Ms),
            notes,
          },
          {
            title: "p99 from an entry's append to its delivery, fdatasync included",
            unit: "ms",
            isSmallerBetter: true,
            measured: measured(({ sinceAppendP99Ms }) => sinceAppendP99Ms),
            notes,
          },
          {
            title: "how late the client appended at worst: what it measures of itself",
            unit: "ms",
            isSmallerBetter: true,
            measured: measured(({ producerLateMs }) => producerLateMs),
            notes,
          },
        ],
        notes: [
          "1,000,000 deliveries a second, each a message on a stream of its own; times are rounded up to whole ms",
          "the client is our own, on raw sockets, on the same two cores; what it reads late counts as delivered late",
        ],
      };
    });
  },
};
