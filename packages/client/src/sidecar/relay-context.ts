// What a relay needs of the sidecar, and whom it tells what.
import { Code, type Frames, retryAfter, RpcError } from "@sluice/rpc";
import type { Clock, Random } from "../time.ts";
import type { JobEnd } from "./lease-ledger.ts";

/** The server's Work, undecoded. */
export interface RawWorkCall {
  (
    requests: AsyncIterable<Frames>,
    options: { readonly raw: true; readonly signal: AbortSignal },
  ): AsyncIterable<Uint8Array>;
}

/** What a relay tells of. */
export interface RelayListener {
  /** The server cannot be reached; the next attempt follows after `retryInMs`. */
  onLost(error: unknown, retryInMs: number): void;
  /** The worker's session goes on. */
  onAttached(): void;
  /** The server will not have this worker, or no longer. */
  onRefused(error: unknown): void;
  onDelivered(): void;
  /** So many jobs were ended by a worker, as the server has it. */
  onEnded(how: JobEnd, count: number): void;
  /** So many were given back in the place of a worker. */
  onReturned(count: number): void;
  /** Nothing is left of it. */
  onOver(): void;
}

export interface RelayContext {
  readonly call: RawWorkCall;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener: RelayListener;
}

/** The sidecar ends: its workers find the next one, or the server. */
export function sidecarDraining(): RpcError {
  return new RpcError(Code.UNAVAILABLE, "The sidecar ends: try again, it may be started anew", {
    details: [retryAfter(1000)],
  });
}
