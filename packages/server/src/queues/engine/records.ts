// What the engine writes down: its decisions as records of the journal, with times in Unix ns. `replay.ts` reads them.
import { create } from "@bufbuild/protobuf";
import {
  type EndKind,
  type Failure,
  JobState,
  type Schedule,
  ScheduleSchema,
  type NewJob,
  NewJobSchema,
} from "@sluice/api";
import type { CheckedJob, NewRecord, ScheduleStatus, Settings } from "../contract.ts";
import { settingsMessage } from "../settings.ts";
import type { FailureNote } from "./job-table.ts";

const NS_PER_MS = 1_000_000n;

let lastMs = 0;
let lastNs = 0n;

/** Remembers its last answer: most jobs of a batch have the same time, and BigInts cost more than all the rest of a record. */
export function toNs(ms: number): bigint {
  if (ms === 0) return 0n;
  if (ms !== lastMs) {
    lastMs = ms;
    lastNs = BigInt(Math.round(ms)) * NS_PER_MS;
  }
  return lastNs;
}

/** Rounded up: nothing is early. */
export function toMs(ns: bigint): number {
  return ns === 0n ? 0 : Number((ns + NS_PER_MS - 1n) / NS_PER_MS);
}

export function addedRecord(
  job: CheckedJob,
  stamp: {
    readonly number: number;
    readonly jobId: string;
    readonly enqueuedAtMs: number;
    readonly expiresAtMs: number;
    readonly dedupId: string;
  },
): NewRecord {
  const value = {
    number: BigInt(stamp.number),
    job: {
      jobId: stamp.jobId,
      priority: job.priority,
      fairnessKey: job.fairnessKey,
      orderingKey: job.orderingKey,
      enqueuedAt: toNs(stamp.enqueuedAtMs),
      notBefore: toNs(job.notBeforeMs),
      expiresAt: toNs(stamp.expiresAtMs),
      dedupId: stamp.dedupId,
      headers: job.headers,
      body: job.body,
    },
  };
  return { kind: { case: "added", value } };
}

export function startedRecord(
  leases: readonly { readonly number: number; readonly attempt: number }[],
  how: { readonly workerId: string; readonly atMs: number; readonly leaseMs: number },
): NewRecord {
  const value = {
    numbers: leases.map((each) => BigInt(each.number)),
    attempts: leases.map((each) => BigInt(each.attempt)),
    workerId: how.workerId,
    at: toNs(how.atMs),
    leaseMs: how.leaseMs,
  };
  return { kind: { case: "started", value } };
}

export function endedRecord(numbers: readonly number[], kind: EndKind): NewRecord {
  return { kind: { case: "ended", value: { numbers: numbers.map(BigInt), kind } } };
}

export function returnedRecord(number: number): NewRecord {
  return { kind: { case: "returned", value: { number: BigInt(number) } } };
}

export function failedRecord(
  number: number,
  how: {
    readonly failure: FailureNote;
    readonly eligibleAtMs: number;
    readonly isDead: boolean;
    readonly isCounted: boolean;
  },
): NewRecord {
  const value = {
    number: BigInt(number),
    failure: failureMessage(how.failure),
    eligibleAt: toNs(how.eligibleAtMs),
    dead: how.isDead,
    uncounted: !how.isCounted,
  };
  return { kind: { case: "failed", value } };
}

export function redrivenRecord(numbers: readonly number[], atMs: number): NewRecord {
  return { kind: { case: "redriven", value: { numbers: numbers.map(BigInt), at: toNs(atMs) } } };
}

export function dedupRecord(taken: {
  readonly dedupId: string;
  readonly jobId: string;
  readonly untilMs: number;
}): NewRecord {
  const { dedupId, jobId, untilMs } = taken;
  return { kind: { case: "dedup", value: { dedupId, jobId, until: toNs(untilMs) } } };
}

export interface QueueFacts {
  readonly settings: Settings;
  readonly createdAtMs: number;
  readonly isPaused: boolean;
  readonly incarnation: number;
  readonly nextNumber: number;
  readonly totals: Totals;
  readonly schedules: readonly ScheduleStatus[];
}

/** Since the queue was created. */
export interface Totals {
  enqueued: number;
  done: number;
  expired: number;
  removed: number;
  failures: number;
}

export function queueRecord(facts: QueueFacts): NewRecord {
  const { totals } = facts;
  const value = {
    settings: settingsMessage(facts.settings),
    createdAt: toNs(facts.createdAtMs),
    paused: facts.isPaused,
    incarnation: facts.incarnation,
    nextNumber: BigInt(facts.nextNumber),
    enqueued: BigInt(totals.enqueued),
    done: BigInt(totals.done),
    expired: BigInt(totals.expired),
    removed: BigInt(totals.removed),
    failures: BigInt(totals.failures),
    schedules: facts.schedules.map(scheduleMessage),
  };
  return { kind: { case: "queue", value } };
}

export function failureMessage(note: FailureNote): Omit<Failure, "$typeName" | "$unknown"> {
  return { at: toNs(note.atMs), attempt: BigInt(note.attempt), workerId: note.workerId, reason: note.reason };
}

export function failureNote(failure: Failure): FailureNote {
  const { workerId, reason } = failure;
  return { atMs: toMs(failure.at), attempt: Number(failure.attempt), workerId, reason };
}

export function jobStateOf(phase: "waiting" | "running" | "dead"): JobState {
  return { waiting: JobState.WAITING, running: JobState.RUNNING, dead: JobState.DEAD }[phase];
}

/** As it is stored. */
function scheduleMessage(schedule: ScheduleStatus): Schedule {
  const { job } = schedule;
  return create(ScheduleSchema, {
    name: schedule.name,
    cron: schedule.cron,
    timeZone: schedule.timeZone,
    job: create(NewJobSchema, {
      body: job.body,
      priority: job.priority,
      fairnessKey: job.fairnessKey,
      orderingKey: job.orderingKey,
      notBefore: toNs(job.notBeforeMs),
      ttlMs: BigInt(job.ttlMs),
      headers: job.headers,
    }),
    nextAt: toNs(schedule.nextAtMs),
    lastAt: toNs(schedule.lastAtMs),
  });
}

/** A stored schedule's job: it was checked when it was put. */
export function scheduledJob(job: NewJob | undefined): CheckedJob {
  const { body, priority = 3, fairnessKey, orderingKey, notBefore, ttlMs, headers } = job ?? create(NewJobSchema);
  return {
    body,
    priority,
    fairnessKey,
    orderingKey,
    notBeforeMs: toMs(notBefore),
    ttlMs: Number(ttlMs),
    dedupId: "",
    headers,
    jobId: "",
  };
}
