// How a worker is set up.
import type { ExtendLeasesResponse } from "@sluice/api";
import type { Heartbeat, HeartbeatContext } from "./queue-heartbeat.ts";
import type { LeaseLostError, Outcome, QueueJob } from "./queue-job.ts";
import type { LeaseLike, WorkCall } from "./queue-session.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Clock, Random } from "./time.ts";

/** How much a worker takes, and whom it tells what. */
export interface QueueWorkerOptions {
  /** Handlers that run at the same time. */
  readonly slots: number;
  /**
   * Jobs that may be here, those that run included. More than `slots` saves a round trip a job: what waits here is an
   * offer, which the server takes back when somebody else needs it. Default: `slots`.
   */
  readonly window?: number;
  /** Bytes of bodies that may be here. Default: no limit of its own. */
  readonly windowBytes?: number;
  /** Slots that only jobs of at least this priority use. */
  readonly lanes?: readonly { readonly minPriority: number; readonly slots: number }[];
  /** Jobs come as offers, and are started one by one; always when `window` is larger than `slots`. Default: only then. */
  readonly explicitStart?: boolean;
  /** How long a lease lasts without a heartbeat, ms. Default: the queue's. */
  readonly leaseMs?: number;
  /**
   * Where leases are extended from: a thread with a connection of its own, so that a handler that blocks the event loop
   * keeps its lease; or the event loop. Default: "thread".
   */
  readonly heartbeat?: "thread" | "loop";
  /** For people. Default: the server makes one. */
  readonly workerId?: string;
  /** The server says so often that it lives, ms; one that is silent for two and a half times as long is called anew. 0: never. */
  readonly serverHeartbeatMs?: number;
  /** Ends the worker at once: running jobs hear of it by their signal, and go to others after the queue's grace time. */
  readonly signal?: AbortSignal;
  /** The connection is lost; the next attempt follows after `retryInMs`. Jobs go on meanwhile. */
  readonly onDisconnected?: (error: unknown, retry: { retryInMs: number; failures: number }) => void;
  readonly onConnected?: (session: { readonly workerId: string; readonly kept: number; readonly lost: number }) => void;
  /** What became of a job, as the server has it on its disk. */
  readonly onEnded?: (job: QueueJob, outcome: Outcome["kind"]) => void;
  /** A job is another's by now, with the reason. */
  readonly onLeaseLost?: (error: LeaseLostError) => void;
  /** The heartbeat is not as it should be: the event loop was blocked, no thread could be started, extensions do not get through. */
  readonly onWarning?: (text: string) => void;
  /** Default: goes on for ever, with up to 30 s between attempts. */
  readonly retry?: Partial<RetryPolicy>;
}

export interface QueueWorkerContext {
  readonly call: WorkCall;
  readonly extend: (leases: readonly LeaseLike[], leaseMs: number, timeoutMs: number) => Promise<ExtendLeasesResponse>;
  readonly openHeartbeat: (
    options: Omit<HeartbeatContext, "address" | "queue" | "channel" | "call" | "clock">,
  ) => Heartbeat;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

/** @throws RangeError */
export function checkOptions({ slots, window = slots, explicitStart }: QueueWorkerOptions): void {
  if (!Number.isInteger(slots) || slots < 1) throw new RangeError(`A worker has 1 slot or more, not ${slots}`);
  if (!Number.isInteger(window) || window < slots) {
    throw new RangeError(`A window of ${window} is too small for ${slots} slots: each of them holds a job`);
  }
  if (window > slots && explicitStart === false) {
    throw new RangeError("A window larger than the slots needs explicit starts: a started job would wait on its lease");
  }
}
