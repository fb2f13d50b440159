// What a worker says of its leases, and what becomes of them.
//
// LC1. A lease is named by job and attempt. It is answered by what is true at the moment: held by this worker, or stale, or
//      said before (duplicate), or of a job that is not there.
// LC2. The record comes first: when the journal refuses it, nothing has changed.
import { EndKind } from "@sluice/api";
import type { JobLease, LeaseOutcome, NackHow, QueueWorker } from "../contract.ts";
import type { QueueCore } from "./core.ts";
import { type FailureNote, JobPhase, NONE } from "./job-table.ts";
import type { Lease, WorkerSeat } from "./lease.ts";
import { endedRecord, failedRecord, returnedRecord, startedRecord } from "./records.ts";

export class LeaseCommands {
  readonly #core: QueueCore;
  #command = 0;

  constructor(core: QueueCore) {
    this.#core = core;
  }

  start(seat: WorkerSeat | undefined, named: readonly JobLease[], nowMs: number): LeaseOutcome[] {
    const core = this.#core;
    const offers: Lease[] = [];
    const command = ++this.#command;
    const found = named.map((each) => this.#find(each, seat));
    for (const lease of found) {
      if (typeof lease === "string" || !lease.isOffer || lease.command === command) continue;
      lease.command = command;
      offers.push(lease);
    }
    if (offers.length > 0) {
      const { id, leaseMs: wanted } = seat!.worker;
      const leaseMs = Math.min(wanted || core.settings.leaseMs, core.settings.maxRunMs);
      core.append(startedRecord(offers, { workerId: id, atMs: nowMs, leaseMs }));
      for (const lease of offers) core.jobs.start(lease, { atMs: nowMs, leaseMs });
    }
    return found.map((lease) => {
      if (typeof lease === "string") return { code: lease };
      // Started by this command, named once more by it, or started before.
      const isNew = lease.command === command;
      if (isNew) lease.command = 0;
      return { code: isNew ? "ok" : "duplicate", leaseUntilMs: lease.untilMs };
    });
  }

  ack(seat: WorkerSeat | undefined, named: readonly JobLease[], nowMs: number): LeaseOutcome[] {
    const core = this.#core;
    const done: Lease[] = [];
    const command = ++this.#command;
    const outcomes = named.map((each): LeaseOutcome => {
      const lease = this.#find(each, seat);
      if (typeof lease === "string") return { code: lease };
      if (lease.command === command) return { code: "duplicate" };
      lease.command = command;
      done.push(lease);
      return { code: "ok" };
    });
    if (done.length === 0) return outcomes;
    const numbers = done.map((lease) => lease.number);
    core.append(endedRecord(numbers, EndKind.DONE));
    core.totals.done += done.length;
    for (const lease of done) {
      core.jobs.ended.add(lease.number, lease.attempt);
      core.jobs.end(lease.slot, nowMs);
    }
    return outcomes;
  }

  nack(seat: WorkerSeat | undefined, named: JobLease, { how, nowMs }: { how: NackHow; nowMs: number }): LeaseOutcome {
    const lease = this.#find(named, seat);
    if (typeof lease === "string") return { code: lease };
    switch (how.kind) {
      case "return":
        this.giveBack(lease, nowMs);
        break;
      case "retry":
        this.fail(lease, { reason: how.reason, notBeforeMs: how.notBeforeMs }, nowMs);
        break;
      case "reject":
        this.fail(lease, { reason: how.reason, isFinal: true }, nowMs);
        break;
      default:
        how satisfies never;
    }
    return { code: "ok" };
  }

  /**
   * The attempt number is the proof: a heartbeat may come on any connection, also while the worker's own is cut. The grace
   * time does not grow by it.
   */
  extend(named: readonly JobLease[], wantedMs: number, nowMs: number): LeaseOutcome[] {
    const { jobs, settings } = this.#core;
    return named.map((each): LeaseOutcome => {
      const slot = jobs.table.find(each.number);
      if (slot === NONE) return { code: "not-found" };
      if (jobs.table.phase(slot) !== JobPhase.RUNNING) return { code: "stale" };
      const lease = jobs.leases.of(slot);
      if (lease.attempt !== each.attempt) return { code: "stale" };
      const untilMs = Math.min(nowMs + (wantedMs || lease.leaseMs), lease.atMs + settings.maxRunMs);
      jobs.leases.extend(lease, untilMs);
      return { code: "ok", leaseUntilMs: untilMs };
    });
  }

  progress(seat: WorkerSeat | undefined, named: JobLease, how: { fraction: number; message: string }): void {
    const lease = this.#find(named, seat);
    if (typeof lease === "string") return;
    lease.progress = how.fraction;
    lease.progressMessage = how.message;
  }

  /** As if it had not been handed out. What was not started was never written down. */
  giveBack(lease: Lease, nowMs: number): void {
    if (!lease.isOffer) this.#core.append(returnedRecord(lease.number));
    this.#core.jobs.giveBack(lease.slot, nowMs);
  }

  /** What a worker that came back does not name: it never got it, so nobody needs to wait for it. */
  returnUnclaimed(from: QueueWorker, nowMs: number): void {
    const former = this.#core.jobs.workers.findFormer(from);
    if (former !== undefined) this.#returnUnheard([...former.running], nowMs);
  }

  /** What a worker that leaves was not sent: the same. `sent` answers which of the started jobs it was. */
  returnUnsent(seat: WorkerSeat, sent: (started: readonly JobLease[]) => readonly JobLease[], nowMs: number): void {
    const started = [...seat.running];
    if (started.length === 0) return;
    const named = started.map(({ number, attempt }) => ({ number, attempt }));
    const attempts = new Set(sent(named).map(({ attempt }) => attempt));
    this.#returnUnheard(
      started.filter(({ attempt }) => !attempts.has(attempt)),
      nowMs,
    );
  }

  #returnUnheard(leases: readonly Lease[], nowMs: number): void {
    try {
      for (const lease of leases) this.giveBack(lease, nowMs);
    } catch {
      // Refused by the journal: they return after the grace time.
    }
  }

  /** Its worker was away for too long: it keeps its place, and nothing is counted. */
  loseWorker(lease: Lease, nowMs: number): void {
    const { table } = this.#core.jobs;
    const eligibleAtMs = table.eligibleAtMs(lease.slot);
    const failure = noteOf(lease, "the connection was lost, and the worker did not come back in time", nowMs);
    this.#write(lease, { failure, eligibleAtMs, isDead: false, isCounted: false }, nowMs);
  }

  /** Tried again after a back-off, or dead. */
  fail(lease: Lease, how: { reason: string; notBeforeMs?: number; isFinal?: boolean }, nowMs: number): void {
    const { jobs, settings } = this.#core;
    const failures = jobs.table.failures(lease.slot) + 1;
    const isDead = how.isFinal === true || failures >= settings.maxAttempts;
    const eligibleAtMs = Math.max(nowMs, how.notBeforeMs || nowMs + this.#backoffMs(failures));
    this.#write(lease, { failure: noteOf(lease, how.reason, nowMs), eligibleAtMs, isDead, isCounted: true }, nowMs);
    this.#core.totals.failures++;
  }

  #write(
    lease: Lease,
    how: { failure: FailureNote; eligibleAtMs: number; isDead: boolean; isCounted: boolean },
    nowMs: number,
  ): void {
    this.#core.append(failedRecord(lease.number, how));
    this.#core.jobs.fail(lease.slot, how, nowMs);
  }

  /** Doubled with each failure up to the maximum, times 0.5 to 1: those that failed together do not come back together. */
  #backoffMs(failures: number): number {
    const { backoffMs, backoffMaxMs } = this.#core.settings;
    const doubled = backoffMs * 2 ** Math.min(failures - 1, 40);
    return Math.ceil(Math.min(doubled, backoffMaxMs) * (0.5 + this.#core.random() / 2));
  }

  /** LC1. */
  #find({ number, attempt }: JobLease, seat: WorkerSeat | undefined): Lease | "stale" | "duplicate" | "not-found" {
    const { jobs } = this.#core;
    const slot = jobs.table.find(number);
    if (slot === NONE) return jobs.ended.has(number, attempt) ? "duplicate" : "not-found";
    if (!jobs.isAtWorker(slot)) return "stale";
    const lease = jobs.leases.of(slot);
    return lease.attempt === attempt && lease.seat !== undefined && lease.seat === seat ? lease : "stale";
  }
}

function noteOf({ attempt, workerId }: Lease, reason: string, nowMs: number): FailureNote {
  return { atMs: nowMs, attempt, workerId, reason };
}
