// Keeps the leases of a worker's running jobs, apart from its event loop.
//
// HB1. Extensions go through a second connection from a thread of their own: a handler that blocks the event loop, or a
//      body that fills the first connection, holds none of them back.
// HB2. Where there can be no thread, or it dies, they come from the event loop, and the worker is told why.
// HB3. The thread is begun with the worker, and needs nothing of the event loop from then on: the first handler may block at
//      once. With a lease so short that it might end before a thread on a busy machine is ready, no job is taken until then.
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
  /** Leases can be kept, HB3. */
  readonly isReady: boolean;
  /** The server's word on how long a lease lasts: what the rhythm follows. Before any lease is held. */
  begin(leaseMs: number): void;
  end(): Promise<void>;
}

/** What the thread is begun with: it must be cloneable. */
export interface HeartbeatOrder {
  readonly address: string;
  readonly queue: string;
  readonly channel: ChannelOptions;
  readonly memory: SharedArrayBuffer;
}

/** What the thread is told: to begin, with the length of most leases. */
export interface HeartbeatBegin {
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
  /** See `isReady`. Not within the constructor. */
  readonly onReady: () => void;
  /** There is no thread, and why. Not within the constructor. */
  readonly onNoThread: (error: unknown) => void;
}

/** Several times what a thread takes to be ready on a busy machine. */
const PATIENT_LEASE_MS = 10_000;

export class LeaseHeartbeat implements Heartbeat {
  readonly #context: HeartbeatContext;
  readonly #table: LeaseTable;
  #thread: Worker | undefined;
  #keeper: LeaseKeeper | undefined;
  /** Once the server has said it. */
  #leaseMs: number | undefined;
  #isReady: boolean;
  #isEnded = false;

  constructor(context: HeartbeatContext) {
    this.#context = context;
    this.#table = new LeaseTable(context.seats);
    this.#isReady = context.where === "loop";
    if (context.where === "thread") this.#startThread();
  }

  get isReady(): boolean {
    return this.#isReady || (this.#leaseMs !== undefined && this.#leaseMs >= PATIENT_LEASE_MS);
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
    if (this.#leaseMs !== undefined || this.#isEnded) return;
    this.#leaseMs = leaseMs;
    if (this.#thread === undefined) return this.#keepHere();
    const begin: HeartbeatBegin = { leaseMs };
    return this.#thread.postMessage(begin);
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    this.#keeper?.stop();
    await this.#thread?.terminate();
  }

  #startThread(): void {
    const { address, queue, channel } = this.#context;
    const order: HeartbeatOrder = { address, queue, channel, memory: this.#table.memory };
    // Beside this file, in the same form: source or compiled.
    const form = extname(import.meta.url);
    try {
      this.#thread = new Worker(new URL(`./queue-heartbeat-thread${form}`, import.meta.url), {
        workerData: order,
        execArgv: form === ".ts" ? ["--conditions=sluice-source"] : [],
      });
    } catch (error) {
      // TLS options may hold what cannot be copied to a thread.
      queueMicrotask(() => this.#leaveThread(error));
      return;
    }
    this.#thread.unref();
    this.#thread.on("message", (report: KeeperReport | "ready") => {
      if (this.#isEnded) return;
      if (report === "ready") this.#becomeReady();
      else this.#context.report(report);
    });
    this.#thread.on("error", (error) => this.#leaveThread(error));
  }

  /** HB2 */
  #leaveThread(error: unknown): void {
    this.#thread = undefined;
    if (this.#isEnded) return;
    this.#context.onNoThread(error);
    this.#keepHere();
    this.#becomeReady();
  }

  #becomeReady(): void {
    this.#isReady = true;
    this.#context.onReady();
  }

  #keepHere(): void {
    if (this.#leaseMs === undefined) return;
    const { call, clock, report } = this.#context;
    this.#keeper ??= new LeaseKeeper({ table: this.#table, call, clock, nowMs: monotonicMs, report }, this.#leaseMs);
  }
}
