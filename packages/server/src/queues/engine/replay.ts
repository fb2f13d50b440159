// Makes a queue again from its records, and says what must stand in the place of a record that goes.
//
// R1. Of a job that is not there records are passed over: it has ended, or its record was carried forward and comes later, with
//     the state of then.
// R2. Counts are those of the last QueueState and of what was written after it; so the latest one is always carried.
import { EndKind, JobState, type JobAdded, type JobSnapshot, type JournalRecord, type QueueState } from "@sluice/api";
import type { NewRecord, Place } from "../contract.ts";
import { parseSettings } from "../settings.ts";
import type { QueueCore } from "./core.ts";
import { JobPhase, NONE } from "./job-table.ts";
import type { JobSnapshotFacts } from "./jobs.ts";
import { dedupRecord, failureMessage, failureNote, jobStateOf, scheduledJob, toMs, toNs } from "./records.ts";

export function replay(
  core: QueueCore,
  record: JournalRecord,
  at: { readonly place: Place; readonly bytes: number },
): void {
  const { kind } = record;
  const nowMs = core.replayTime();
  core.lastPlace = at.place;
  switch (kind.case) {
    case "added":
      replayAdded(core, kind.value, at);
      return;
    case "started": {
      const { workerId, leaseMs, attempts } = kind.value;
      const atMs = toMs(kind.value.at);
      forEachThere(core, kind.value.numbers, (slot, index) =>
        core.jobs.begin(slot, { attempt: Number(attempts[index]), workerId, atMs, leaseMs }, nowMs),
      );
      return;
    }
    case "ended":
      replayEnded(core, kind.value.numbers, kind.value.kind);
      return;
    case "returned":
      forEachThere(core, [kind.value.number], (slot) => core.jobs.giveBack(slot, nowMs));
      return;
    case "failed": {
      const { number, failure, dead: isDead, uncounted } = kind.value;
      const eligibleAtMs = toMs(kind.value.eligibleAt);
      if (!uncounted) core.totals.failures++;
      forEachThere(core, [number], (slot) =>
        core.jobs.fail(slot, { failure: failureNote(failure!), eligibleAtMs, isDead, isCounted: !uncounted }, nowMs),
      );
      return;
    }
    case "redriven": {
      const atMs = toMs(kind.value.at);
      forEachThere(core, kind.value.numbers, (slot) => core.jobs.redrive(slot, atMs, nowMs));
      return;
    }
    case "queue":
      replayState(core, kind.value, at.place);
      return;
    case "dedup": {
      const { dedupId, jobId, until } = kind.value;
      remember(core, { dedupId, jobId, untilMs: toMs(until), place: at.place });
      return;
    }
    case undefined:
      return;
    default:
      kind satisfies never;
  }
}

/** What must stand at the end before this record may go (`JournalOwner.carry`). */
export function carry(core: QueueCore, { kind }: JournalRecord, place: Place): readonly NewRecord[] {
  switch (kind.case) {
    case "added":
      return carryAdded(core, kind.value, place);
    case "queue":
      return place === core.statePlace ? [core.stateRecord()] : [];
    case "dedup":
      return carryDedup(core, kind.value.dedupId, place);
    default:
      return [];
  }
}

export function carried(
  core: QueueCore,
  { kind }: NewRecord,
  at: { readonly place: Place; readonly bytes: number },
): void {
  core.lastPlace = Math.max(core.lastPlace, at.place);
  if (kind?.case === "queue") core.statePlace = at.place;
  if (kind?.case === "dedup") moveDedup(core, kind.value.dedupId ?? "", at.place);
  if (kind?.case !== "added") return;
  const slot = core.jobs.table.find(Number(kind.value.number));
  if (slot !== NONE) core.jobs.move(slot, at.place, at.bytes);
  moveDedup(core, kind.value.job?.dedupId ?? "", at.place);
}

function replayAdded(core: QueueCore, added: JobAdded, { place, bytes }: { place: Place; bytes: number }): void {
  const number = Number(added.number);
  const job = added.job!;
  const enqueuedAtMs = toMs(job.enqueuedAt);
  // A number above all that came before is of no job that is there; a search that finds nothing is the longest.
  const isFirst = number >= core.nextNumber;
  core.nextNumber = Math.max(core.nextNumber, number + 1);
  if (added.state === undefined) core.totals.enqueued++;
  core.schedules.noteFired(job.dedupId, enqueuedAtMs);
  if (job.dedupId !== "") {
    const untilMs = enqueuedAtMs + core.settings.dedupWindowMs;
    remember(core, { dedupId: job.dedupId, jobId: job.jobId, untilMs, place });
  }
  // The old copy was not removed before the process ended.
  const existing = isFirst ? NONE : core.jobs.table.find(number);
  if (existing !== NONE) {
    core.jobs.move(existing, place, bytes);
    return;
  }
  const { priority, fairnessKey, orderingKey } = job;
  const jobId = job.jobId === String(number) ? "" : job.jobId;
  const eligibleAtMs =
    added.state === undefined ? Math.max(enqueuedAtMs, toMs(job.notBefore)) : toMs(added.state.eligibleAt);
  const expiresAtMs = toMs(job.expiresAt);
  core.jobs.add(
    { number, place, bytes, priority, fairnessKey, orderingKey, enqueuedAtMs, eligibleAtMs, expiresAtMs, jobId },
    core.replayTime(),
    added.state && snapshotFacts(added.state),
  );
}

function replayEnded(core: QueueCore, numbers: readonly bigint[], kind: EndKind): void {
  if (kind === EndKind.DONE) core.totals.done += numbers.length;
  else if (kind === EndKind.EXPIRED) core.totals.expired += numbers.length;
  else core.totals.removed += numbers.length;
  forEachThere(core, numbers, (slot) => {
    if (kind === EndKind.DONE && core.jobs.table.phase(slot) === JobPhase.RUNNING) {
      const { number, attempt } = core.jobs.leases.of(slot);
      core.jobs.ended.add(number, attempt);
    }
    core.jobs.end(slot, core.replayTime());
  });
}

function replayState(core: QueueCore, state: QueueState, place: Place): void {
  core.statePlace = place;
  core.createdAtMs = toMs(state.createdAt);
  core.isPaused = state.paused;
  core.incarnation = state.incarnation;
  core.nextNumber = Math.max(core.nextNumber, Number(state.nextNumber));
  core.totals.enqueued = Number(state.enqueued);
  core.totals.done = Number(state.done);
  core.totals.expired = Number(state.expired);
  core.totals.removed = Number(state.removed);
  core.totals.failures = Number(state.failures);
  core.applySettings(parseSettings(state.settings), core.replayTime());
  core.schedules.clear();
  for (const schedule of state.schedules) {
    const { name, cron, timeZone } = schedule;
    const nextAtMs = toMs(schedule.nextAt);
    const lastAtMs = toMs(schedule.lastAt);
    const sinceMs = nextAtMs === 0 ? lastAtMs : nextAtMs - 1;
    core.schedules.put({ name, cron, timeZone, job: scheduledJob(schedule.job) }, { sinceMs, lastAtMs });
  }
}

function snapshotFacts(state: JobSnapshot): JobSnapshotFacts {
  const isDead = state.state === JobState.DEAD;
  return {
    phase: isDead ? "dead" : state.state === JobState.RUNNING ? "running" : "waiting",
    failures: state.failures,
    history: state.history.map(failureNote),
    attempt: Number(state.attempt),
    workerId: state.workerId,
    startedAtMs: toMs(state.startedAt),
    leaseMs: state.leaseMs,
    deadAtMs: toMs(state.deadAt),
  };
}

function carryAdded(core: QueueCore, added: JobAdded, place: Place): readonly NewRecord[] {
  const { jobs } = core;
  const slot = jobs.table.find(Number(added.number));
  if (slot === NONE || jobs.table.place(slot) !== place) return carryDedup(core, added.job?.dedupId ?? "", place);
  const phase = jobs.table.phase(slot);
  const kept = phase === JobPhase.DEAD ? "dead" : phase === JobPhase.RUNNING ? "running" : "waiting";
  const lease = kept === "running" ? jobs.leases.of(slot) : undefined;
  const atMs = toNs(jobs.table.eligibleAtMs(slot));
  const state = {
    state: jobStateOf(kept),
    failures: jobs.table.failures(slot),
    eligibleAt: kept === "dead" ? 0n : atMs,
    deadAt: kept === "dead" ? atMs : 0n,
    history: (jobs.table.extra(slot)?.history ?? []).map(failureMessage),
    ...(lease && {
      attempt: BigInt(lease.attempt),
      workerId: lease.workerId,
      startedAt: toNs(lease.atMs),
      leaseMs: lease.leaseMs,
    }),
  };
  return [{ kind: { case: "added", value: { number: added.number, job: added.job!, state } } }];
}

/** Of an id whose window outlasts this record of it. */
function carryDedup(core: QueueCore, dedupId: string, place: Place): readonly NewRecord[] {
  const taken = dedupId === "" ? undefined : core.dedup.find(dedupId, core.now());
  return taken?.place === place ? [dedupRecord(taken)] : [];
}

function moveDedup(core: QueueCore, dedupId: string, place: Place): void {
  const taken = dedupId === "" ? undefined : core.dedup.find(dedupId, core.now());
  if (taken !== undefined && taken.place < place) taken.place = place;
}

function remember(core: QueueCore, taken: { dedupId: string; jobId: string; untilMs: number; place: Place }): void {
  const earlier = core.dedup.find(taken.dedupId, core.replayTime());
  if (earlier?.jobId === taken.jobId) earlier.place = taken.place;
  else if (taken.untilMs > core.replayTime()) core.dedup.add(taken);
}

/** R1. */
function forEachThere(core: QueueCore, numbers: readonly bigint[], visit: (slot: number, index: number) => void): void {
  for (const [index, number] of numbers.entries()) {
    const slot = core.jobs.table.find(Number(number));
    if (slot !== NONE) visit(slot, index);
  }
}
