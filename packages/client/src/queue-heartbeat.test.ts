import { create } from "@bufbuild/protobuf";
import { ExtendLeasesResponseSchema, ResultCode } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { type HeartbeatContext, LeaseHeartbeat } from "./queue-heartbeat.ts";
import type { LeaseLike } from "./queue-session.ts";

const lease = { jobId: "1", attempt: 1n };

function openHeartbeat(options: Partial<HeartbeatContext>) {
  const clock = new ManualClock();
  const extended: LeaseLike[] = [];
  const told: string[] = [];
  const heartbeat = new LeaseHeartbeat({
    address: "127.0.0.1:1",
    queue: "tax",
    channel: {},
    seats: 2,
    where: "loop",
    call: async (leases) => {
      extended.push(...leases);
      return create(ExtendLeasesResponseSchema, {
        results: leases.map((each) => ({ lease: each, code: ResultCode.OK })),
      });
    },
    clock,
    report: ({ kind }) => void told.push(kind),
    onReady: () => void told.push("ready"),
    onNoThread: (error) => void told.push((error as Error).name),
    ...options,
  });
  return { heartbeat, clock, extended, told };
}

test("what cannot be copied to a thread is told of, and leases are kept from the event loop", async () => {
  const tls = { checkServerIdentity: () => undefined };
  const { heartbeat, clock, extended, told } = openHeartbeat({ where: "thread", channel: { tls } });
  expect(heartbeat.isReady).toBe(false);
  heartbeat.begin(3);
  await expect.poll(() => told).toEqual(["DataCloneError", "ready"]);
  expect(heartbeat.isReady).toBe(true);
  heartbeat.hold(lease, 3);
  await expect
    .poll(async () => {
      await clock.advanceInTurns(20);
      return extended[0];
    })
    .toEqual(lease);
  await heartbeat.end();
  expect(clock.timers).toBe(0);
});

test("a short lease waits for the thread to be ready, a long one does not", async () => {
  const short = openHeartbeat({ where: "thread" });
  short.heartbeat.begin(500);
  expect(short.heartbeat.isReady).toBe(false);
  await expect.poll(() => short.told).toEqual(["ready"]);
  expect(short.heartbeat.isReady).toBe(true);
  await short.heartbeat.end();

  const long = openHeartbeat({ where: "thread" });
  expect(long.heartbeat.isReady).toBe(false);
  long.heartbeat.begin(30_000);
  expect(long.heartbeat.isReady).toBe(true);
  await long.heartbeat.end();
});

test("the thread tells of extensions that do not get through", async () => {
  const { heartbeat, told } = openHeartbeat({ where: "thread" });
  heartbeat.begin(100);
  heartbeat.hold(lease, 100);
  await expect.poll(() => told).toContain("failed");
  expect(heartbeat.leftMs(0)).toBeLessThan(100);
  await heartbeat.end();
});
