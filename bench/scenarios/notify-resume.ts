// A million inboxes with ten notifications each: a device that comes back to a long backlog between them, a restart, and what
// devices take that only wait.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import { userName } from "../clients/audience.ts";
import type { BroadcastOutcome, BroadcastTask } from "../clients/notify-broadcast.ts";
import type { ResumeOutcome, ResumeTask } from "../clients/notify-resume.ts";
import type { UsersOutcome, UsersTask } from "../clients/notify-users.ts";
import { withServers } from "../contest.ts";
import type { CaseOutcome } from "../report.ts";
import { residentBytes } from "../resident-bytes.ts";
import type { Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const timeoutMs = 1_800_000;
const batch = 1000;
const payloadBytes = 140;
/** Of others, between two of the device with the backlog. */
const everyNth = 101;
const returning = 1000;
const waiting = 10_000;

export const notifyResume: Scenario = {
  name: "notify-resume",
  summary:
    "1 M inboxes of 10 notifications: a backlog of 100,000 between them, notifications/s; a restart: seconds, memory, 1,000 devices live again; memory of a device",
  async run(context) {
    const data = join(context.folder, us);
    await mkdir(data);
    const runs = context.isQuick ? 1 : context.runs;
    const backlog = context.isQuick ? 2000 : 100_000;
    const users = context.isQuick ? 20_000 : 1_000_000;
    const cases: CaseOutcome[] = [];
    const note = (title: string, unit: string, samples: readonly number[]): void => {
      const isSmallerBetter = !unit.endsWith("/s");
      cases.push({ title, unit, isSmallerBetter, measured: [{ who: us, samples: [...samples] }], notes: [] });
    };
    await withServers([sluice(data)], async ([server]) => {
      context.say(`publishing to ${users} users`);
      await fill(server!.process.address, { users, notifications: backlog * everyNth });
    });
    const { who, command } = sluice(data);
    const again = { who, command: { ...command, startTimeoutMs: timeoutMs } };
    const starts: number[] = [];
    const memories: number[] = [];
    const lives: number[] = [];
    const rates: number[] = [];
    const devices: number[] = [];
    for (let run = 0; run < runs; run++) {
      context.say(`start ${run + 1}`);
      const beginMs = performance.now();
      await withServers([again], async ([server]) => {
        starts.push((performance.now() - beginMs) / 1000);
        const { address, pid } = server!.process;
        memories.push(residentBytes(pid, "VmRSS") / 2 ** 20);
        lives.push(await comeBack(address));
        rates.push(await readBacklog(address, backlog));
        devices.push(await bytesOfDevice(address, pid));
      });
    }
    note(`start with ${users} inboxes of 10, until it listens`, "s", starts);
    note("resident memory after the start", "MiB", memories);
    note(`${returning} devices, from the first connection until all have one broadcast`, "s", lives);
    note(`a backlog of ${backlog} between ${backlog * (everyNth - 1)} of others`, "notifications/s", rates);
    note(`memory that a device adds, of ${waiting}`, "KiB", devices);
    const notes = ["the start includes that of Node; the client is our own, on raw sockets, on the same cores"];
    return { scenario: "notify-resume", runs, versions: { [us]: ourVersion }, missing: [], cases, notes };
  },
};

async function fill(address: string, of: { readonly users: number; readonly notifications: number }): Promise<void> {
  const task: UsersTask = {
    address,
    protocol: "sluice",
    batch,
    payloadBytes,
    everyNth,
    ...of,
    batchesUnderWay: 8,
    devices: 0,
    seed: 1,
  };
  await runClient<UsersTask, UsersOutcome>("notify-users", task, { timeoutMs });
}

/** Seconds. */
async function comeBack(address: string): Promise<number> {
  const task: BroadcastTask = {
    address,
    protocol: "sluice",
    payloadBytes,
    broadcasts: 1,
    perSecond: 0,
    connections: returning / 100,
    devicesPerConnection: 100,
  };
  const outcome = await runClient<BroadcastTask, BroadcastOutcome>("notify-broadcast", task, { timeoutMs });
  return outcome.openedSeconds + outcome.seconds;
}

/** Notifications a second. */
async function readBacklog(address: string, notifications: number): Promise<number> {
  const task: ResumeTask = { what: "backlog", address, userId: userName(0), notifications };
  const { seconds } = await runClient<ResumeTask, ResumeOutcome>("notify-resume", task, { timeoutMs });
  return notifications / seconds;
}

/** KiB. */
async function bytesOfDevice(address: string, pid: number): Promise<number> {
  const before = residentBytes(pid, "VmRSS");
  let after = before;
  const onPause = async (): Promise<void> => {
    after = residentBytes(pid, "VmRSS");
  };
  const task: ResumeTask = { what: "devices", address, devices: waiting };
  await runClient<ResumeTask, ResumeOutcome>("notify-resume", task, { timeoutMs, onPause });
  return (after - before) / waiting / 1024;
}
