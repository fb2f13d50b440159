// A worker for tests of the engine: it has a window, and remembers what it has. It behaves as a good one does: what is
// recalled or lost it forgets at once.
import type { Handout, JobLease, QueueWorker, RecallReason } from "../../contract.ts";

export class FakeWorker implements QueueWorker {
  readonly id: string;
  readonly explicitStart: boolean;
  readonly leaseMs: number;
  /** Jobs it takes at a time; set, never added. */
  window = 0;
  isDraining = false;
  /** Whether it offers the place of a recalled job again by itself. */
  givesPlacesBack = true;
  /** Part of the window for jobs of at least `minPriority`. */
  reserved: { readonly minPriority: number; readonly window: number } = { minPriority: 0, window: 0 };
  /** Bytes of all its jobs, at most. */
  windowBytes = Infinity;
  /** Places of lost leases and recalled offers that it has not offered again yet: `QueueFixture.setWindow` does. */
  lostPlaces = 0;
  /** What it has, by number: offers, and what it runs. */
  readonly offers = new Map<number, Handout>();
  readonly running = new Map<number, Handout>();
  /** All that it was ever told, oldest first. */
  readonly handouts: Handout[] = [];
  readonly recalls: { readonly leases: readonly JobLease[]; readonly reason: RecallReason }[] = [];
  readonly lost: JobLease[] = [];

  constructor(id: string, options: { readonly explicitStart?: boolean; readonly leaseMs?: number } = {}) {
    this.id = id;
    this.explicitStart = options.explicitStart ?? true;
    this.leaseMs = options.leaseMs ?? 0;
  }

  get load(): number {
    return this.offers.size + this.running.size;
  }

  credit(priority: number, bytes: number): number {
    if (this.load > 0 && this.#bytes() + bytes > this.windowBytes) return 0;
    const kept = priority < this.reserved.minPriority ? this.reserved.window : 0;
    return this.window - kept - this.load - this.lostPlaces;
  }

  deliver(handout: Handout): void {
    if (this.credit(handout.priority, handout.bytes) <= 0) throw new Error(`E1: ${this.id} has no credit`);
    this.handouts.push(handout);
    (handout.leaseUntilMs === 0 ? this.offers : this.running).set(handout.lease.number, handout);
  }

  recall(leases: readonly JobLease[], reason: RecallReason): void {
    this.recalls.push({ leases, reason });
    for (const { number, attempt } of leases) {
      if (this.offers.get(number)?.lease.attempt !== attempt)
        throw new Error(`${this.id} has no offer of job ${number}`);
      this.offers.delete(number);
      if (!this.givesPlacesBack) this.lostPlaces++;
    }
  }

  leaseLost(leases: readonly JobLease[]): void {
    for (const lease of leases) {
      if (this.running.get(lease.number)?.lease.attempt !== lease.attempt) {
        throw new Error(`${this.id} does not run job ${lease.number}`);
      }
      this.lost.push(lease);
      this.running.delete(lease.number);
      this.lostPlaces++;
    }
  }

  /** The newest of its offers is the last one. */
  offered(): JobLease[] {
    return [...this.offers.values()].map((each) => each.lease);
  }

  leases(): JobLease[] {
    return [...this.running.values()].map((each) => each.lease);
  }

  #bytes(): number {
    let sum = 0;
    for (const each of [...this.offers.values(), ...this.running.values()]) sum += each.bytes;
    return sum;
  }
}
