// Notifications for single users out of a million, on disk before they are answered.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { UsersOutcome, UsersTask } from "../clients/notify-users.ts";
import { Pacer, takeTurns, withServers } from "../contest.ts";
import { findRedis } from "../queue-peers.ts";
import { partEntrants, type Scenario, versionsOf } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const users = 1_000_000;
const devices = 10_000;
const batch = 1000;
const batchesUnderWay = 8;
const payloadBytes = 140;
const timeoutMs = 240_000;

export const notifyUsers: Scenario = {
  name: "notify-users",
  summary:
    "notifications for users drawn from a million, 10,000 of them connected, in batches: notifications/s beside Redis Streams",
  async run(context) {
    const data = join(context.folder, us);
    await mkdir(data);
    const { contestants, missing } = partEntrants([await findRedis(context.folder)]);
    const pacer = new Pacer({ first: 20, most: 1000, seconds: context.isQuick ? 0.5 : 3 });
    let seed = 1;
    return await withServers([sluice(data), ...contestants], async (servers) => ({
      scenario: "notify-users",
      runs: context.runs,
      versions: { ...versionsOf(servers), [us]: ourVersion },
      missing,
      cases: [
        {
          title: `${users} users, batches of ${batch}, ${batchesUnderWay} under way`,
          unit: "notifications/s",
          measured: await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
            context.say(`publishing: ${who}`);
            const notifications = pacer.units(who) * batch;
            const protocol = who === us ? "sluice" : "redis";
            const task: UsersTask = {
              address,
              protocol,
              notifications,
              users,
              batch,
              batchesUnderWay,
              payloadBytes,
              everyNth: 0,
              devices: who === us ? devices : 0,
              seed: seed++,
            };
            const { seconds } = await runClient<UsersTask, UsersOutcome>("notify-users", task, { timeoutMs });
            pacer.learn(who, notifications / batch / seconds);
            return notifications / seconds;
          }),
          notes: [],
        },
      ],
      notes: [
        "Redis: XADD to a stream of each user, pipelined, appendfsync always; nobody is connected to it",
        "the client is our own, on raw sockets, on the same cores",
      ],
    }));
  },
};
