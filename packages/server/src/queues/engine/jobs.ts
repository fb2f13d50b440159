// What has become of each job, and the only ways in which that changes. Commands come here after their record was appended,
// records come here again when the queue is opened: the same transitions, so a queue is what its records make of it.
//
// Each job is in exactly one place, by its phase:
//
//   ready     a line of its fairness key (order.ts)          offered, running   its lease (leases.ts)
//   behind    the list of its ordering key (chains.ts)       dead               the list of the dead
//   delayed   the heap of those whose time has not come
//
// JO1. `#place` puts a job that is in no place where it belongs; `#unplace` takes it out. Nothing else does.
// JO2. The expiry heap has exactly the jobs with a time to live that were never started and are not dead.
// JO3. The dead are in the order of their deaths. Replayed ones may come out of order: `sortDead` mends it.
import type { Place } from "../contract.ts";
import { PRIORITIES } from "../credit.ts";
import { Chains } from "./chains.ts";
import { Heap } from "./heap.ts";
import { EndedLeases } from "./ended-leases.ts";
import { type Extra, type FailureNote, JobPhase, JobTable, NONE } from "./job-table.ts";
import { Lease } from "./lease.ts";
import { Leases } from "./leases.ts";
import { isBefore, slotHeap } from "./line.ts";
import { NumberBlocks } from "./number-blocks.ts";
import { type OrderSettings, ReadyOrder } from "./order.ts";
import { SlotList } from "./slot-list.ts";
import { Workers } from "./workers.ts";

/** Failures kept of a job, and characters of each reason. */
const HISTORY_MAX = 8;
const REASON_LENGTH_MAX = 512;

/** A job as its record says it. Times are Unix ms. */
export interface JobFacts {
  readonly number: number;
  readonly place: Place;
  readonly bytes: number;
  readonly priority: number;
  readonly fairnessKey: string;
  readonly orderingKey: string;
  readonly enqueuedAtMs: number;
  readonly eligibleAtMs: number;
  /** 0: never. */
  readonly expiresAtMs: number;
  /** The producer's, or "". */
  readonly jobId: string;
}

/** What had become of a job whose record was carried forward. */
export interface JobSnapshotFacts {
  readonly phase: "waiting" | "running" | "dead";
  readonly failures: number;
  readonly history: readonly FailureNote[];
  readonly attempt: number;
  readonly workerId: string;
  readonly startedAtMs: number;
  readonly leaseMs: number;
  readonly deadAtMs: number;
}

export class Jobs {
  readonly table = new JobTable();
  readonly workers = new Workers();
  readonly leases = new Leases(this.table, this.workers);
  readonly chains = new Chains(this.table);
  readonly order: ReadyOrder;
  readonly dead = new SlotList(this.table);
  readonly ended = new EndedLeases();
  readonly delayed = slotHeap(this.table);
  readonly expiries = new Heap<Extra>({
    before: (a, b) => a.expiresAtMs < b.expiresAtMs,
    moved: (extra, index) => void (extra.expiryIndex = index),
  });
  /** Of those that are ready or behind. */
  readonly waitingByPriority = new Float64Array(PRIORITIES);
  liveBytes = 0;
  readonly #ownIds = new Map<string, number>();
  readonly #waitingNumbers = new NumberBlocks();

  constructor(settings: OrderSettings) {
    this.order = new ReadyOrder(this.table, settings);
  }

  /** By its id: the producer's own, or its number in decimal. NONE: not there. */
  findById(jobId: string): number {
    const number = this.#ownIds.get(jobId);
    if (number !== undefined) return this.table.find(number);
    return /^[1-9]\d{0,15}$/.test(jobId) ? this.#findByNumber(Number(jobId)) : NONE;
  }

  idOf(slot: number): string {
    return this.table.extra(slot)?.jobId || String(this.table.number(slot));
  }

  /** Whether it is the id that a producer gave to a job. */
  isOwnId(jobId: string): boolean {
    return this.#ownIds.has(jobId);
  }

  /** Ready or behind another one. */
  isWaiting(slot: number): boolean {
    const phase = this.table.phase(slot);
    return phase === JobPhase.READY || phase === JobPhase.BEHIND;
  }

  isAtWorker(slot: number): boolean {
    const phase = this.table.phase(slot);
    return phase === JobPhase.OFFERED || phase === JobPhase.RUNNING;
  }

  /** Unix ms; 0: none waits. */
  oldestEnqueuedAtMs(): number {
    const number = this.#waitingNumbers.lowest((each) => {
      const slot = this.table.find(each);
      return slot !== NONE && this.isWaiting(slot);
    });
    return number === undefined ? 0 : this.table.enqueuedAtMs(this.table.find(number));
  }

  // --- Transitions ------------------------------------------------------------------------------------------------

  add(job: JobFacts, nowMs: number, snapshot?: JobSnapshotFacts): void {
    const slot = this.#write(job);
    if (snapshot !== undefined) {
      this.table.setFailures(slot, snapshot.failures);
      if (snapshot.history.length > 0) this.table.needExtra(slot).history = snapshot.history;
    }
    if (snapshot?.phase === "dead") {
      this.table.setEligibleAtMs(slot, snapshot.deadAtMs);
      this.#placeDead(slot, job.orderingKey);
      return;
    }
    this.#join(slot, job.orderingKey, nowMs);
    if (snapshot?.phase === "running") this.begin(slot, { ...snapshot, atMs: snapshot.startedAtMs }, nowMs);
  }

  /** A ready job goes to a worker. */
  handOut(slot: number, lease: Lease, nowMs: number): void {
    const phase = lease.isOffer ? JobPhase.OFFERED : JobPhase.RUNNING;
    this.order.take(slot, nowMs);
    this.#countWaiting(slot, -1);
    this.table.setPhase(slot, phase);
    if (phase === JobPhase.RUNNING) this.#forgetExpiry(slot);
    this.leases.grant(lease);
  }

  /** An offered job runs. */
  start(lease: Lease, how: { readonly atMs: number; readonly leaseMs: number }): void {
    this.table.setPhase(lease.slot, JobPhase.RUNNING);
    this.#forgetExpiry(lease.slot);
    this.leases.start(lease, how);
  }

  /** A job runs, somewhere: as its record says. Its worker is away. */
  begin(
    slot: number,
    how: { readonly attempt: number; readonly workerId: string; readonly atMs: number; readonly leaseMs: number },
    nowMs: number,
  ): void {
    this.#unplace(slot, nowMs);
    this.table.setPhase(slot, JobPhase.RUNNING);
    this.#forgetExpiry(slot);
    this.order.countActive(slot);
    this.leases.grant(
      new Lease({
        ...how,
        slot,
        number: this.table.number(slot),
        priority: this.table.priority(slot),
        seat: undefined,
        isOffer: false,
        untilMs: Infinity,
      }),
    );
  }

  /** A job that is at a worker waits again, as if it had never gone: it keeps its place. */
  giveBack(slot: number, nowMs: number): void {
    this.#unplace(slot, nowMs);
    this.#place(slot, nowMs);
  }

  fail(
    slot: number,
    how: {
      readonly failure: FailureNote;
      readonly eligibleAtMs: number;
      readonly isDead: boolean;
      readonly isCounted: boolean;
    },
    nowMs: number,
  ): void {
    this.#unplace(slot, nowMs);
    this.#note(slot, how.failure);
    if (how.isCounted) this.table.setFailures(slot, this.table.failures(slot) + 1);
    if (how.isDead) {
      const orderingKey = this.chains.nameOf(slot);
      this.table.setEligibleAtMs(slot, how.failure.atMs);
      this.#leaveChain(slot, nowMs);
      this.#forgetExpiry(slot);
      this.#placeDead(slot, orderingKey);
    } else {
      this.table.setEligibleAtMs(slot, how.eligibleAtMs);
      this.#place(slot, nowMs);
    }
  }

  /** A dead job waits again, from `atMs` on, without failures. Its history stays. */
  redrive(slot: number, atMs: number, nowMs: number): void {
    const orderingKey = this.table.extra(slot)?.orderingKey ?? "";
    this.#unplace(slot, nowMs);
    this.table.setEligibleAtMs(slot, atMs);
    this.table.setFailures(slot, 0);
    this.#join(slot, orderingKey, nowMs);
  }

  /** It is no more. */
  end(slot: number, nowMs: number): void {
    this.#unplace(slot, nowMs);
    this.#forgetExpiry(slot);
    this.#leaveChain(slot, nowMs);
    this.order.leave(slot);
    const jobId = this.table.extra(slot)?.jobId;
    if (jobId !== undefined && jobId !== "") this.#ownIds.delete(jobId);
    this.liveBytes -= this.table.bytes(slot);
    this.table.remove(slot);
  }

  /** A delayed job's time has come. */
  becomeReady(slot: number, nowMs: number): void {
    this.#unplace(slot, nowMs);
    this.#place(slot, nowMs);
  }

  /** Its record lies elsewhere now. */
  move(slot: number, place: Place, bytes: number): void {
    this.liveBytes += bytes - this.table.bytes(slot);
    this.table.setPlace(slot, place);
    this.table.setBytes(slot, bytes);
  }

  /** JO3. */
  sortDead(): void {
    const slots = [...this.dead.slots()];
    if (slots.every((slot, index) => index === 0 || isBefore(this.table, slots[index - 1]!, slot))) return;
    for (const slot of slots) this.dead.remove(slot);
    slots.sort((a, b) => (isBefore(this.table, a, b) ? -1 : 1));
    for (const slot of slots) this.dead.append(slot);
  }

  // --- Places -----------------------------------------------------------------------------------------------------

  #write(job: JobFacts): number {
    const { table } = this;
    const slot = table.add(job.number);
    table.setPlace(slot, job.place);
    table.setBytes(slot, job.bytes);
    table.setPriority(slot, job.priority);
    table.setEnqueuedAtMs(slot, job.enqueuedAtMs);
    table.setEligibleAtMs(slot, job.eligibleAtMs);
    if (job.expiresAtMs > 0) table.needExtra(slot).expiresAtMs = job.expiresAtMs;
    if (job.jobId !== "") {
      table.needExtra(slot).jobId = job.jobId;
      this.#ownIds.set(job.jobId, job.number);
    }
    this.order.join(slot, job.fairnessKey);
    this.liveBytes += job.bytes;
    return slot;
  }

  /** Gets its place in its chain, and then where it belongs. */
  #join(slot: number, orderingKey: string, nowMs: number): void {
    if (orderingKey !== "") {
      const former = this.chains.join(slot, orderingKey, { isAtWorker: (first) => this.isAtWorker(first) });
      if (former !== NONE && former !== slot) {
        this.#unplace(former, nowMs);
        this.#place(former, nowMs);
      }
    }
    this.#place(slot, nowMs);
  }

  #leaveChain(slot: number, nowMs: number): void {
    if (this.table.chain(slot) === NONE) return;
    const next = this.chains.leave(slot);
    if (next === NONE) return;
    this.#countWaiting(next, -1);
    this.#place(next, nowMs);
  }

  /** JO1. */
  #place(slot: number, nowMs: number): void {
    const { table } = this;
    this.#watchExpiry(slot);
    const overtaker = table.chain(slot) === NONE ? NONE : this.chains.overtakerOf(slot);
    if (overtaker !== NONE) {
      this.#countWaiting(overtaker, -1);
      this.#place(overtaker, nowMs);
    }
    if (this.chains.firstOf(slot) !== slot) {
      table.setPhase(slot, JobPhase.BEHIND);
      this.chains.putBehind(slot);
      this.#countWaiting(slot, 1);
    } else if (table.eligibleAtMs(slot) > nowMs) {
      table.setPhase(slot, JobPhase.DELAYED);
      this.delayed.push(slot);
    } else {
      table.setPhase(slot, JobPhase.READY);
      this.order.add(slot, nowMs);
      this.#countWaiting(slot, 1);
    }
  }

  #placeDead(slot: number, orderingKey: string): void {
    if (orderingKey !== "") this.table.needExtra(slot).orderingKey = orderingKey;
    this.table.setPhase(slot, JobPhase.DEAD);
    this.dead.append(slot);
  }

  #unplace(slot: number, nowMs: number): void {
    const phase = this.table.phase(slot);
    switch (phase) {
      case JobPhase.READY:
        this.order.remove(slot, nowMs);
        this.#countWaiting(slot, -1);
        return;
      case JobPhase.BEHIND:
        this.chains.removeBehind(slot);
        this.#countWaiting(slot, -1);
        return;
      case JobPhase.DELAYED:
        this.delayed.remove(this.table.link(slot));
        return;
      case JobPhase.DEAD:
        this.dead.remove(slot);
        return;
      default:
        this.leases.close(this.leases.of(slot));
        this.order.giveBack(slot);
    }
  }

  #countWaiting(slot: number, by: 1 | -1): void {
    this.waitingByPriority[this.table.priority(slot)]! += by;
    const number = this.table.number(slot);
    if (by === 1) this.#waitingNumbers.add(number);
    else this.#waitingNumbers.remove(number);
  }

  /** JO2. What was started once has been in time. */
  #watchExpiry(slot: number): void {
    const extra = this.table.extra(slot);
    if (extra === undefined || extra.expiresAtMs === 0 || extra.expiryIndex !== NONE) return;
    if (this.table.failures(slot) === 0) this.expiries.push(extra);
  }

  #forgetExpiry(slot: number): void {
    const extra = this.table.extra(slot);
    if (extra !== undefined && extra.expiryIndex !== NONE) this.expiries.remove(extra.expiryIndex);
  }

  #note(slot: number, failure: FailureNote): void {
    const extra = this.table.needExtra(slot);
    const reason = failure.reason.slice(0, REASON_LENGTH_MAX);
    extra.history = [...extra.history.slice(1 - HISTORY_MAX), { ...failure, reason }];
  }

  #findByNumber(number: number): number {
    const slot = this.table.find(number);
    return slot !== NONE && (this.table.extra(slot)?.jobId ?? "") === "" ? slot : NONE;
  }
}
