// Keeps the leases of a worker's running jobs, apart from its event loop.
//
// HB1. Extensions go through a second connection from a thread of their own: a handler that blocks the event loop, or a
//      body that fills the first connection, holds none of them back.
// HB2. Where there can be no thread, or it dies, they come from the event loop, and the worker is told why.
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { ChannelOptions } from "@sluice/rpc";
import { LeaseKeeper, type KeeperContext, type KeeperReport } from "./queue-lease-keeper.ts";
import { LeaseTable } from "./queue-lease-table.ts";
import { monotonicMs } from "./queue-monotonic.ts";
import type { LeaseLike } from "./queue-session.ts";
import type { Clock } from "./time.ts";

/** The leases that are held, and what keeps them. */
export interface Heartbeat {
  /** From now on this lease is kept. Returns its seat. */
  hold(lease: LeaseLike, leaseMs: number): number;
  release(seat: number): void;
  /** The handler has extended the lease itself, by so much. */
  setLease(seat: number, leaseMs: number): void;
  /** How long the lease in this seat still lasts, ms, as far as is known here; negative: it has ended. */
  leftMs(seat: number): number;
  /** The server's word on how long a lease lasts: what the rhythm follows. Begins it. */
  begin(leaseMs: number): void;
  end(): Promise<void>;
}

/** What the thread is begun with: it must be cloneable. */
export interface HeartbeatOrder {
  readonly address: string;
  readonly queue: string;
  readonly channel: ChannelOptions;
  readonly memory: SharedArrayBuffer;
  readonly leaseMs: number;
}

export interface HeartbeatContext extends Pick<HeartbeatOrder, "address" | "queue" | "channel"> {
  /** Leases at a time. */
  readonly seats: number;
  /** "thread", or "loop": on the event loop at once, HB2. */
  readonly where: "thread" | "loop";
  /** Extends from the event loop, HB2. */
  readonly call: KeeperContext["call"];
  readonly clock: Clock;
  /** Told of leases that the server no longer knows, and of extensions that failed. */
  readonly report: (report: KeeperReport) => void;
  /** There is no thread, and why. */
  readonly onNoThread: (error: unknown) => void;
}

export class LeaseHeartbeat implements Heartbeat {
  readonly #context: HeartbeatContext;
  readonly #table: LeaseTable;
  #thread: Worker | undefined;
  #keeper: LeaseKeeper | undefined;
  #hasBegun = false;
  #isEnded = false;

  constructor(context: HeartbeatContext) {
    this.#context = context;
    this.#table = new LeaseTable(context.seats);
  }

  hold(lease: LeaseLike, leaseMs: number): number {
    return this.#table.hold(lease, { leaseMs, nowMs: monotonicMs() });
  }

  release(seat: number): void {
    this.#table.release(seat);
  }

  setLease(seat: number, leaseMs: number): void {
    this.#table.setLease(seat, { leaseMs, nowMs: monotonicMs() });
  }

  leftMs(seat: number): number {
    const lease = this.#table.read(seat);
    return lease === undefined ? 0 : lease.sinceMs + lease.leaseMs - monotonicMs();
  }

  begin(leaseMs: number): void {
    if (this.#hasBegun || this.#isEnded) return;
    this.#hasBegun = true;
    if (this.#context.where === "loop") return this.#keepHere(leaseMs);
    try {
      this.#thread = this.#startThread(leaseMs);
    } catch (error) {
      this.#leaveThread(error, leaseMs);
    }
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    this.#keeper?.stop();
    await this.#thread?.terminate();
  }

  #startThread(leaseMs: number): Worker {
    const { address, queue, channel } = this.#context;
    const order: HeartbeatOrder = { address, queue, channel, memory: this.#table.memory, leaseMs };
    // Beside this file, in the same form: source or compiled.
    const form = extname(import.meta.url);
    const thread = new Worker(new URL(`./queue-heartbeat-thread${form}`, import.meta.url), {
      workerData: order,
      execArgv: form === ".ts" ? ["--conditions=sluice-source"] : [],
    });
    thread.unref();
    thread.on("message", (report: KeeperReport) => {
      if (!this.#isEnded) this.#context.report(report);
    });
    thread.on("error", (error) => this.#leaveThread(error, leaseMs));
    return thread;
  }

  /** HB2 */
  #leaveThread(error: unknown, leaseMs: number): void {
    this.#thread = undefined;
    if (this.#isEnded) return;
    this.#context.onNoThread(error);
    this.#keepHere(leaseMs);
  }

  #keepHere(leaseMs: number): void {
    const { call, clock, report } = this.#context;
    this.#keeper = new LeaseKeeper({ table: this.#table, call, clock, nowMs: monotonicMs, report }, leaseMs);
  }
}
