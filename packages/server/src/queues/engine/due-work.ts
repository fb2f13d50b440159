// What becomes due by itself: delays, times to live, ends of leases and offers, the retention of the dead, schedules.
//
// DU1. One timer is armed, for what is due next.
// DU2. A turn does a bounded part of it (TURN_MAX of each kind); what is left is due at once again.
// DU3. When the journal refuses a record, what is due stays due and is tried again after RETRY_MS.
import { EndKind } from "@sluice/api";
import type { Timer } from "../../store/contract.ts";
import type { QueueCore } from "./core.ts";
import { type Dispatch, jobLeaseOf } from "./dispatch.ts";
import { enqueueScheduled } from "./enqueue.ts";
import { JobPhase, NONE } from "./job-table.ts";
import type { Lease } from "./lease.ts";
import type { LeaseCommands } from "./lease-commands.ts";
import { endedRecord } from "./records.ts";

const TURN_MAX = 1000;
const RETRY_MS = 1000;
/** A timer is set again after so long at the latest: the system's clock may have been set meanwhile. */
const TIMER_MS_MAX = 60_000;

export class DueWork {
  readonly #core: QueueCore;
  readonly #dispatch: Dispatch;
  readonly #commands: LeaseCommands;
  #timer: Timer | undefined;
  #armedForMs = Infinity;
  /** DU3. */
  #notBeforeMs = 0;
  #isClosed = false;

  constructor(core: QueueCore, parts: { readonly dispatch: Dispatch; readonly commands: LeaseCommands }) {
    this.#core = core;
    this.#dispatch = parts.dispatch;
    this.#commands = parts.commands;
  }

  /** DU1. To be called when anything has changed. */
  arm(nowMs: number): void {
    if (this.#isClosed) return;
    const dueAtMs = this.#nextMs();
    if (this.#armedForMs <= dueAtMs) return;
    this.#timer?.cancel();
    this.#armedForMs = dueAtMs;
    this.#timer = this.#core.clock.setTimer(
      () => this.#onTimer(),
      Math.min(Math.max(0, dueAtMs - nowMs), TIMER_MS_MAX),
    );
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#armedForMs = Infinity;
    const nowMs = this.#core.now();
    this.run(nowMs);
    this.#dispatch.run(nowMs);
    this.arm(nowMs);
  }

  /** Does what is due. */
  run(nowMs: number): void {
    const { jobs, dedup } = this.#core;
    dedup.prune(nowMs);
    jobs.order.advance(nowMs);
    this.#endDelays(nowMs);
    if (nowMs < this.#notBeforeMs) return;
    try {
      this.#expire(nowMs);
      this.#endLeases(nowMs);
      this.#forgetDead(nowMs);
      this.#fireSchedules(nowMs);
    } catch {
      // Refused by the journal, or by a bound of the queue: nothing has changed, and the time goes on.
      this.#notBeforeMs = nowMs + RETRY_MS;
    }
  }

  #nextMs(): number {
    const { jobs, schedules, settings } = this.#core;
    const { table, delayed, expiries, leases, order, dead } = jobs;
    const journaled = Math.min(
      expiries.first?.expiresAtMs ?? Infinity,
      leases.next?.deadlineMs ?? Infinity,
      dead.head === NONE ? Infinity : table.eligibleAtMs(dead.head) + settings.deadRetentionMs,
      schedules.nextAtMs,
    );
    return Math.min(
      Math.max(journaled, this.#notBeforeMs),
      delayed.first === undefined ? Infinity : table.eligibleAtMs(delayed.first),
      order.throttleEndMs,
      this.#dispatch.againAtMs,
    );
  }

  #endDelays(nowMs: number): void {
    const { delayed, table } = this.#core.jobs;
    for (let count = 0; count < TURN_MAX; count++) {
      const slot = delayed.first;
      if (slot === undefined || table.eligibleAtMs(slot) > nowMs) return;
      this.#core.jobs.becomeReady(slot, nowMs);
    }
  }

  /** Jobs whose time to live is over. Offers of them are taken back first. */
  #expire(nowMs: number): void {
    const { jobs } = this.#core;
    const slots: number[] = [];
    for (const extra of jobs.expiries.inOrder()) {
      if (extra.expiresAtMs > nowMs || slots.length === TURN_MAX) break;
      slots.push(extra.slot);
    }
    if (slots.length === 0) return;
    this.#core.append(
      endedRecord(
        slots.map((slot) => jobs.table.number(slot)),
        EndKind.EXPIRED,
      ),
    );
    this.#core.totals.expired += slots.length;
    const offers = slots
      .filter((slot) => jobs.table.phase(slot) === JobPhase.OFFERED)
      .map((slot) => jobs.leases.of(slot));
    this.#dispatch.takeBack(offers, "cancelled", nowMs);
    for (const slot of slots) jobs.end(slot, nowMs);
  }

  #endLeases(nowMs: number): void {
    const { leases } = this.#core.jobs;
    for (let count = 0; count < TURN_MAX; count++) {
      const lease = leases.next;
      if (lease === undefined || lease.deadlineMs > nowMs) return;
      this.#endLease(lease, nowMs);
    }
  }

  #endLease(lease: Lease, nowMs: number): void {
    if (lease.isOffer) {
      this.#dispatch.takeBack([lease], "not-started", nowMs);
      return;
    }
    const { seat } = lease;
    if (seat === undefined) {
      this.#commands.loseWorker(lease, nowMs);
      return;
    }
    this.#commands.fail(lease, { reason: "lease expired" }, nowMs);
    seat.worker.leaseLost([jobLeaseOf(lease)]);
  }

  #forgetDead(nowMs: number): void {
    const { jobs, settings } = this.#core;
    const slots: number[] = [];
    for (const slot of jobs.dead.slots()) {
      if (jobs.table.eligibleAtMs(slot) + settings.deadRetentionMs > nowMs || slots.length === TURN_MAX) break;
      slots.push(slot);
    }
    if (slots.length === 0) return;
    this.#core.append(
      endedRecord(
        slots.map((slot) => jobs.table.number(slot)),
        EndKind.PURGED,
      ),
    );
    this.#core.totals.removed += slots.length;
    for (const slot of slots) jobs.end(slot, nowMs);
  }

  #fireSchedules(nowMs: number): void {
    for (const { schedule, dedupId } of this.#core.schedules.due(nowMs)) {
      enqueueScheduled(this.#core, schedule.job, { nowMs, dedupId });
      this.#core.schedules.noteFired(dedupId, nowMs);
    }
  }
}
