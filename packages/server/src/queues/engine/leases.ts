// All leases of a queue: by job, by worker, by the time at which they end, and offers by priority.
//
// LE1. A job has one lease or none, so there are never two current leases of one job: its row's link is the lease.
// LE2. A lease is with its seat (an offer in `offers`, a started one in `running`), or its worker is away.
// LE3. Every lease is in the heap of deadlines.
import { PRIORITIES } from "../credit.ts";
import { Heap } from "./heap.ts";
import { type JobTable, NONE } from "./job-table.ts";
import { type Lease, OfferStack, type WorkerSeat } from "./lease.ts";
import type { Workers } from "./workers.ts";

export class Leases {
  readonly #table: JobTable;
  readonly #workers: Workers;
  readonly #leases: (Lease | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #deadlines = new Heap<Lease>({
    before: (a, b) => a.deadlineMs < b.deadlineMs,
    moved: (lease, index) => void (lease.deadlineIndex = index),
  });
  readonly #offers = Array.from({ length: PRIORITIES }, () => new OfferStack());
  #offerCount = 0;
  #count = 0;

  constructor(table: JobTable, workers: Workers) {
    this.#table = table;
    this.#workers = workers;
  }

  get offerCount(): number {
    return this.#offerCount;
  }

  get runningCount(): number {
    return this.#count - this.#offerCount;
  }

  /** The one that ends first. */
  get next(): Lease | undefined {
    return this.#deadlines.first;
  }

  /** Of a job that is offered or runs. */
  of(slot: number): Lease {
    return this.#leases[this.#table.link(slot)]!;
  }

  /** All of them, the one that ends first first. */
  inOrder(): Iterable<Lease> {
    return this.#deadlines.inOrder();
  }

  /** In no order. */
  all(): readonly Lease[] {
    return [...this.#deadlines.items()];
  }

  /** Open offers of a priority. */
  offers(priority: number): OfferStack {
    return this.#offers[priority]!;
  }

  grant(lease: Lease): void {
    const index = this.#free.pop() ?? this.#leases.length;
    this.#leases[index] = lease;
    this.#table.setLink(lease.slot, index);
    this.#deadlines.push(lease);
    this.#count++;
    if (!lease.isOffer) {
      lease.seat?.running.add(lease);
      return;
    }
    this.#offerCount++;
    this.#offers[lease.priority]!.push(lease);
    lease.seat?.offers.push(lease);
  }

  /** An offer was started. */
  start(lease: Lease, { atMs, leaseMs }: { readonly atMs: number; readonly leaseMs: number }): void {
    this.#closeOffer(lease);
    lease.isOffer = false;
    lease.atMs = atMs;
    lease.leaseMs = leaseMs;
    lease.seat!.running.add(lease);
    this.extend(lease, atMs + leaseMs);
    this.#workers.reviewLoad(lease.seat!);
  }

  close(lease: Lease): void {
    const index = this.#table.link(lease.slot);
    this.#leases[index] = undefined;
    this.#free.push(index);
    this.#table.setLink(lease.slot, NONE);
    this.#deadlines.remove(lease.deadlineIndex);
    this.#count--;
    if (lease.isOffer) this.#closeOffer(lease);
    else (lease.seat ?? lease.formerSeat)?.running.delete(lease);
    if (lease.seat !== undefined) this.#workers.reviewLoad(lease.seat);
  }

  extend(lease: Lease, untilMs: number): void {
    lease.untilMs = untilMs;
    this.#settle(lease);
  }

  /** The worker of a started lease is away, for so long at most. */
  orphan(lease: Lease, graceUntilMs: number): void {
    lease.formerSeat = lease.seat;
    lease.seat = undefined;
    lease.graceUntilMs = graceUntilMs;
    this.#settle(lease);
  }

  /** It is there again. */
  adopt(lease: Lease, seat: WorkerSeat): void {
    lease.formerSeat?.running.delete(lease);
    lease.formerSeat = undefined;
    lease.seat = seat;
    lease.graceUntilMs = Infinity;
    seat.running.add(lease);
    this.#settle(lease);
  }

  /** LE3. */
  #settle(lease: Lease): void {
    lease.deadlineMs = Math.min(lease.untilMs, lease.graceUntilMs);
    this.#deadlines.update(lease.deadlineIndex);
  }

  #closeOffer(lease: Lease): void {
    lease.isOfferOpen = false;
    this.#offerCount--;
    this.#offers[lease.priority]!.noteClosed();
    lease.seat?.offers.noteClosed();
  }
}
