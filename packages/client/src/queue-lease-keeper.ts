// Extends the leases of a table before they end: in a thread of its own (queue-heartbeat-thread.ts), or, where no thread
// can be started, on the worker's event loop.
//
// LK1. A lease is extended when a third of it has passed: two more tries fit before it ends.
// LK2. It counts as extended from when the request left, not from when the answer came.
import { type ExtendLeasesResponse, ResultCode } from "@sluice/api";
import type { LeaseTable, SeatedLease } from "./queue-lease-table.ts";
import type { LeaseLike } from "./queue-session.ts";
import type { Clock, Timer } from "./time.ts";

/** What the keeper tells the worker. */
export type KeeperReport =
  | { readonly kind: "lost"; readonly leases: readonly LeaseLike[] }
  /** An extension did not get through; it is tried again. */
  | { readonly kind: "failed"; readonly reason: string };

export interface KeeperContext {
  readonly table: LeaseTable;
  /** Extends leases, all by the same length. */
  readonly call: (leases: readonly LeaseLike[], leaseMs: number, timeoutMs: number) => Promise<ExtendLeasesResponse>;
  readonly clock: Pick<Clock, "setTimer">;
  /** The clock of the table. */
  readonly nowMs: () => number;
  readonly report: (report: KeeperReport) => void;
}

const TICK_MS_MAX = 1000;
const TICK_MS_MIN = 20;
/** A lease of 30 s is looked at every second, one of half a second every 83 ms. */
const TICKS_IN_LEASE = 6;
const LEASES_MAX = 1000;

export class LeaseKeeper {
  readonly #context: KeeperContext;
  readonly #tickMs: number;
  #timer: Timer | undefined;
  #isStopped = false;
  /** Seats that are asked about. */
  readonly #asking = new Set<number>();

  /** @param leaseMs of most leases: how often to look. */
  constructor(context: KeeperContext, leaseMs: number) {
    this.#context = context;
    this.#tickMs = Math.max(TICK_MS_MIN, Math.min(TICK_MS_MAX, leaseMs / TICKS_IN_LEASE));
    this.#wait();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #wait(): void {
    if (this.#isStopped) return;
    this.#timer = this.#context.clock.setTimer(() => {
      this.#look();
      this.#wait();
    }, this.#tickMs);
  }

  /** LK1 */
  #look(): void {
    const { table, nowMs } = this.#context;
    const now = nowMs();
    const due = new Map<number, SeatedLease[]>();
    for (const lease of table.leases()) {
      if (this.#asking.has(lease.seat) || now - lease.sinceMs < lease.leaseMs / 3) continue;
      const group = due.get(lease.leaseMs) ?? [];
      group.push(lease);
      due.set(lease.leaseMs, group);
    }
    for (const [leaseMs, leases] of due) {
      for (let at = 0; at < leases.length; at += LEASES_MAX)
        void this.#extend(leases.slice(at, at + LEASES_MAX), leaseMs);
    }
  }

  /** Never rejects. */
  async #extend(leases: readonly SeatedLease[], leaseMs: number): Promise<void> {
    const { table, call, nowMs, report } = this.#context;
    for (const { seat } of leases) this.#asking.add(seat);
    const sentMs = nowMs(); // LK2
    try {
      const plain = leases.map(({ jobId, attempt }) => ({ jobId, attempt }));
      const { results } = await call(plain, leaseMs, leaseMs / 3);
      const lost: LeaseLike[] = [];
      for (const [i, lease] of leases.entries()) {
        if (!table.isCurrent(lease)) continue; // done meanwhile
        if (results[i]?.code === ResultCode.OK) table.extended(lease, sentMs);
        else lost.push({ jobId: lease.jobId, attempt: lease.attempt });
      }
      if (lost.length > 0) report({ kind: "lost", leases: lost });
    } catch (error) {
      if (!this.#isStopped) report({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
    } finally {
      for (const { seat } of leases) this.#asking.delete(seat);
    }
  }
}
