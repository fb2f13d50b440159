import { create } from "@bufbuild/protobuf";
import { ExtendLeasesResponseSchema, ResultCode } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { LeaseKeeper, type KeeperReport } from "./queue-lease-keeper.ts";
import { LeaseTable } from "./queue-lease-table.ts";
import type { LeaseLike } from "./queue-session.ts";

function openKeeper(codeOf: (lease: LeaseLike) => ResultCode | Error = () => ResultCode.OK) {
  const clock = new ManualClock();
  const table = new LeaseTable(8);
  const calls: { atMs: number; jobs: string[]; leaseMs: number }[] = [];
  const reports: KeeperReport[] = [];
  const context = {
    table,
    clock,
    nowMs: () => clock.passedMs,
    report: (report: KeeperReport) => void reports.push(report),
    call: async (leases: readonly LeaseLike[], leaseMs: number) => {
      calls.push({ atMs: clock.passedMs, jobs: leases.map(({ jobId }) => jobId), leaseMs });
      const codes = leases.map(codeOf);
      const failure = codes.find((code) => code instanceof Error);
      if (failure !== undefined) throw failure;
      const results = leases.map((lease, i) => ({ lease, code: codes[i] as ResultCode }));
      return create(ExtendLeasesResponseSchema, { results });
    },
  };
  const keeper = new LeaseKeeper(context, 600);
  const hold = (jobId: string, leaseMs = 600) =>
    table.hold({ jobId, attempt: BigInt(jobId) }, { leaseMs, nowMs: clock.passedMs });
  return { clock, table, calls, reports, keeper, hold };
}

test("a lease is extended when a third of it has passed, again and again, each length by a call of its own", async () => {
  const { clock, calls, keeper, hold, table } = openKeeper();
  hold("1");
  hold("2", 1200);
  await clock.advanceInTurns(600);
  expect(calls).toEqual([
    { atMs: 200, jobs: ["1"], leaseMs: 600 },
    { atMs: 400, jobs: ["1"], leaseMs: 600 },
    { atMs: 400, jobs: ["2"], leaseMs: 1200 },
    { atMs: 600, jobs: ["1"], leaseMs: 600 },
  ]);
  expect(Array.from(table.leases(), ({ sinceMs }) => sinceMs)).toEqual([600, 400]);
  keeper.stop();
  expect(clock.timers).toBe(0);
});

test("a job that is done before a third of its lease has passed costs no call", async () => {
  const { clock, calls, keeper, hold, table } = openKeeper();
  const seat = hold("1");
  await clock.advanceInTurns(150);
  table.release(seat);
  await clock.advanceInTurns(1000);
  expect(calls).toEqual([]);
  keeper.stop();
});

test("what the server does not extend is reported, and what failed is tried again before the lease ends", async () => {
  let failures = 1;
  const { clock, calls, reports, keeper, hold } = openKeeper(({ jobId }) => {
    if (failures-- > 0) return new Error("no route");
    return jobId === "2" ? ResultCode.STALE : ResultCode.OK;
  });
  hold("1");
  hold("2");
  await clock.advanceInTurns(300);
  expect(calls.map(({ atMs }) => atMs)).toEqual([200, 300]);
  expect(reports).toEqual([
    { kind: "failed", reason: "no route" },
    { kind: "lost", leases: [{ jobId: "2", attempt: 2n }] },
  ]);
  keeper.stop();
});

test("a job that ended while it was asked about is not reported as lost", async () => {
  const held: number[] = [];
  const opened = openKeeper(() => {
    opened.table.release(held.pop()!);
    return ResultCode.NOT_FOUND;
  });
  held.push(opened.hold("1"));
  await opened.clock.advanceInTurns(400);
  expect([opened.calls.length, opened.reports]).toEqual([1, []]);
  opened.keeper.stop();
});
