// Hands jobs to workers, and takes offers back where somebody else needs them. Runs after every command and timer.
//
// DI1. Nothing is handed to a worker that has no credit for it.
// DI2. A job that could be handed out and a worker with credit for it never exist together after `run` (but for more of them
//      than one turn hands out: then the timer goes on at once).
// DI3. An offer that was not started keeps nobody from a job: while nothing waits, a worker with credit and without offers
//      gets half of what the one with the most offers has more; and one that has lain for REBALANCE_MS in any case.
// DI4. A more urgent job than an offer does not wait for credit: the least urgent, newest offer makes room for it.
import type { JobLease, RecallReason } from "../contract.ts";
import { PRIORITIES } from "../credit.ts";
import type { QueueCore } from "./core.ts";
import { comesFirst } from "./fair-key.ts";
import { NONE } from "./job-table.ts";
import { Lease, type WorkerSeat } from "./lease.ts";
import { startedRecord } from "./records.ts";

/** So long a worker may take to start an offer while another one has nothing to do: many round trips. */
const REBALANCE_MS = 1000;
/** In one turn of the event loop: some milliseconds. */
const HANDOUTS_MAX = 2000;
/** Offers of each priority that are looked at, newest first, to make room for a more urgent job. */
const LOOKS_MAX = 32;
/** After a refusal of the journal: the disk is full. */
const STALL_MS = 1000;

export class Dispatch {
  readonly #core: QueueCore;
  /** Unix ms when `run` is needed although nothing has happened; Infinity: never. */
  againAtMs = Infinity;
  /** Why nothing is handed out until `againAtMs`. */
  stall: Error | undefined;

  constructor(core: QueueCore) {
    this.#core = core;
  }

  run(nowMs: number): void {
    if (this.stall !== undefined && nowMs < this.againAtMs) return;
    this.stall = undefined;
    this.againAtMs = Infinity;
    if (this.#core.isPaused) return;
    this.#core.jobs.order.advance(nowMs);
    try {
      let handouts = 0;
      while (handouts < HANDOUTS_MAX && this.#next(nowMs)) handouts++;
      if (handouts === HANDOUTS_MAX) this.againAtMs = nowMs;
    } catch (error) {
      this.stall = error instanceof Error ? error : new Error(String(error));
      this.againAtMs = nowMs + STALL_MS;
    }
  }

  /** Takes offers back into their places in the order. */
  takeBack(offers: readonly Lease[], reason: RecallReason, nowMs: number): void {
    const bySeat = Map.groupBy(offers, (offer) => offer.seat!);
    for (const offer of offers) this.#core.jobs.giveBack(offer.slot, nowMs);
    for (const [seat, own] of bySeat) {
      seat.worker.recall(own.map(jobLeaseOf), reason);
      this.#core.jobs.workers.review(seat);
    }
  }

  /** One handout, or several; false: there is none to be made. */
  #next(nowMs: number): boolean {
    const { jobs } = this.#core;
    const slot = jobs.order.first();
    if (slot === NONE) return this.#rebalance(nowMs);
    const seat = this.#chooseFor(slot);
    if (seat === undefined) return this.#handOutReserved(nowMs) || this.#makeRoom(slot, nowMs);
    this.#handOut(slot, seat, nowMs);
    return true;
  }

  #chooseFor(slot: number): WorkerSeat | undefined {
    const { table, workers } = this.#core.jobs;
    return workers.choose({ number: table.number(slot), priority: table.priority(slot), bytes: table.bytes(slot) });
  }

  /** DI1. The caller has seen that there is credit. */
  #handOut(slot: number, seat: WorkerSeat, nowMs: number): void {
    const core = this.#core;
    const { table } = core.jobs;
    const { worker } = seat;
    const isOffer = worker.explicitStart;
    const leaseMs = Math.min(worker.leaseMs || core.settings.leaseMs, core.settings.maxRunMs);
    const lease = new Lease({
      slot,
      number: table.number(slot),
      attempt: core.newAttempt(),
      priority: table.priority(slot),
      seat,
      workerId: worker.id,
      isOffer,
      atMs: nowMs,
      leaseMs,
      untilMs: nowMs + (isOffer ? core.settings.offerMs : leaseMs),
    });
    if (!isOffer) core.append(startedRecord([lease], { workerId: worker.id, atMs: nowMs, leaseMs }));
    core.jobs.handOut(slot, lease, nowMs);
    worker.deliver({
      lease: jobLeaseOf(lease),
      place: table.place(slot),
      jobId: core.jobs.idOf(slot),
      bytes: table.bytes(slot),
      priority: lease.priority,
      failures: table.failures(slot),
      leaseUntilMs: isOffer ? 0 : lease.untilMs,
      recordPlace: isOffer ? 0 : core.lastPlace,
    });
    core.jobs.workers.noteHandout(seat);
  }

  /** The next job, by order, may use nobody's credit: more urgent ones may have a part of a window for themselves. */
  #handOutReserved(nowMs: number): boolean {
    const { order, workers } = this.#core.jobs;
    const opensAt = workers.opensAt();
    for (let priority = PRIORITIES - 1; priority >= opensAt; priority--) {
      const slot = order.firstOfPriority(priority);
      const seat = slot === NONE ? undefined : this.#chooseFor(slot);
      if (seat === undefined) continue;
      this.#handOut(slot, seat, nowMs);
      return true;
    }
    return false;
  }

  /** DI4. */
  #makeRoom(slot: number, nowMs: number): boolean {
    const { table, leases } = this.#core.jobs;
    const priority = table.priority(slot);
    for (let below = 0; below < priority; below++) {
      for (const offer of leases.offers(below).newestFirst().take(LOOKS_MAX)) {
        const seat = offer.seat!;
        if (seat.owesCredit || !this.#isMoreUrgent(slot, offer.slot, nowMs)) continue;
        this.takeBack([offer], "higher-priority", nowMs);
        if (seat.worker.credit(priority, table.bytes(slot)) > 0) {
          this.#handOut(slot, seat, nowMs);
          return true;
        }
        seat.owesCredit = true;
      }
    }
    return false;
  }

  /** Whether a waiting job would come before an offered one if that waited, too: it may have aged. */
  #isMoreUrgent(slot: number, offered: number, nowMs: number): boolean {
    const { table } = this.#core.jobs;
    const { ageMs } = this.#core.settings;
    if (table.key(slot) === table.key(offered)) return comesFirst(table, { slot, than: offered, ageMs });
    const risen = Math.floor((nowMs - table.eligibleAtMs(offered)) / ageMs);
    return table.priority(slot) > table.priority(offered) + risen;
  }

  /** DI3. */
  #rebalance(nowMs: number): boolean {
    const { workers } = this.#core.jobs;
    const holder = workers.holder;
    if (holder === undefined) return false;
    const [newest] = holder.offers.newestFirst();
    const idle = this.#chooseFor(newest!.slot);
    if (idle === undefined || idle === holder || idle.offers.size > 0) return false;
    const more = holder.load - idle.load;
    const dueAtMs = holder.offers.oldest()!.atMs + REBALANCE_MS;
    if (more < 2 && nowMs < dueAtMs) {
      this.againAtMs = dueAtMs;
      return false;
    }
    const half = Math.min(Math.max(1, more >> 1), idle.worker.credit(newest!.priority, 0));
    const offers = [...holder.offers.newestFirst().take(half)].toReversed();
    this.takeBack(offers, "rebalance", nowMs);
    for (const { slot } of offers) {
      const { priority, bytes } = this.#sizeOf(slot);
      if (idle.worker.credit(priority, bytes) > 0) this.#handOut(slot, idle, nowMs);
    }
    return true;
  }

  #sizeOf(slot: number): { readonly priority: number; readonly bytes: number } {
    const { table } = this.#core.jobs;
    return { priority: table.priority(slot), bytes: table.bytes(slot) };
  }
}

export function jobLeaseOf({ number, attempt }: Lease): JobLease {
  return { number, attempt };
}
