// Opens streams of a log in memory, and closes them after each test.
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach } from "vitest";
import { ControlFrames } from "../control.ts";
import { type Follow, openFollow } from "../follow.ts";
import type { FollowOptions } from "../follow-options.ts";
import { Followers } from "../followers.ts";
import type { FrameFilter } from "../frame-filter.ts";
import { MemoryLog } from "./memory-log.ts";
import { entriesOf, PulledStream } from "./pulled-stream.ts";

const open: Follow[] = [];

afterEach(() => {
  for (const follow of open.splice(0)) follow.close();
});

/** A follow of all of `log` with controls and default heartbeats, but for `options`; nothing pulls it. */
export function openSource(log: MemoryLog, options: Partial<FollowOptions> = {}): Follow {
  const follow = openFollow({
    reader: log,
    followers: new Followers({ clock: new ManualClock(), max: 10 }),
    after: 0,
    query: {},
    filter: undefined,
    resolve: undefined,
    isFollowing: true,
    limit: Number.POSITIVE_INFINITY,
    controls: new ControlFrames(12),
    isStrict: false,
    heartbeatMs: 30_000,
    cut: undefined,
    notices: [],
    manner: undefined,
    ...options,
  });
  open.push(follow);
  return follow;
}

export interface OpenedStream {
  readonly follow: Follow;
  readonly stream: PulledStream;
  readonly clock: ManualClock;
  readonly followers: Followers;
}

/** The same, pulled by a stream. */
export function openStream(
  log: MemoryLog,
  options: Partial<FollowOptions> = {},
  clock = new ManualClock(),
): OpenedStream {
  const followers = options.followers ?? new Followers({ clock, max: 10 });
  const follow = openSource(log, { ...options, followers });
  return { follow, stream: new PulledStream(follow), clock, followers };
}

/** Lets all that is ready happen, timers and input aside. */
export async function settle(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}

/** A log of entries m1, m2, … of severity 1, 2, … */
export async function logOf(count: number): Promise<MemoryLog> {
  const log = new MemoryLog();
  for (let i = 1; i <= count; i++) await log.write({ message: `m${i}`, severityNumber: i });
  return log;
}

/** Lets entries through whose message ends in one of these digits. A costly one knows so when it is asked again. */
export function endingIn(digits: string, isCostly = false): FrameFilter & { looks: number } {
  let asked = -1;
  return {
    looks: 0,
    matches(bytes, start, end) {
      if (isCostly && asked !== start) {
        asked = start;
        return undefined;
      }
      asked = -1;
      this.looks++;
      return digits.includes(entriesOf(bytes.subarray(start, end))[0]!.message.at(-1)!);
    },
    sequenceOf: (bytes, start, end) => Number(entriesOf(bytes.subarray(start, end))[0]!.sequence),
  };
}
