// The sessions of workers: who is here, and who may come back.
//
// WS1. A session's token is its worker's alone. Who comes with it again goes on as that worker; a stream of it that still seems
//      to live ends then.
// WS2. A session without a stream is kept for the queue's grace time, and no timer is set for it: it is forgotten when somebody
//      looks. At the bound the one that left first goes.
import { randomBytes } from "node:crypto";
import { LimitExceeded } from "../errors.ts";
import type { Clock } from "../store/contract.ts";
import { Heartbeats } from "../stream/heartbeat.ts";
import type { OpenQueue, QueueWorker } from "./contract.ts";
import { SessionTakenOver } from "./queue-errors.ts";

/** A worker's stream, as the engine knows it. */
export interface WorkStream extends QueueWorker {
  /** Ends it, and gives back what it has: nothing of the engine's is held when this returns. Idempotent. */
  interrupt(error: Error): void;
}

/** One worker at one queue, across its streams. */
export interface WorkSeat {
  /** In hexadecimal. */
  readonly token: string;
  readonly workerId: string;
  readonly queue: OpenQueue;
  stream: WorkStream | undefined;
  /** The last one that has ended: what it ran, the next one goes on with. */
  earlier: WorkStream | undefined;
  /** Monotonic ms until which it is kept without a stream. */
  untilMs: number;
}

const TOKEN_BYTES = 16;

export class WorkSessions {
  readonly clock: Clock;
  readonly heartbeats: Heartbeats;
  readonly #max: number;
  readonly #random: (bytes: number) => Uint8Array;
  readonly #seats = new Map<string, WorkSeat>();
  #workers = 0;

  constructor(options: {
    readonly clock: Clock;
    readonly max: number;
    /** Default: the system's. */
    readonly random?: (bytes: number) => Uint8Array;
  }) {
    this.clock = options.clock;
    this.heartbeats = new Heartbeats(options.clock);
    this.#max = options.max;
    this.#random = options.random ?? randomBytes;
  }

  /** Streams that are open. */
  get workers(): number {
    return this.#workers;
  }

  /** Those and the ones that may come back. */
  get count(): number {
    this.#forget();
    return this.#seats.size;
  }

  /**
   * A worker comes. Answers its seat, taken from its old stream where that is still open (WS1); `sit` follows.
   * @param token of its earlier session, "" for none
   * @throws LimitExceeded
   */
  admit(queue: OpenQueue, { token, workerId }: { readonly token: string; readonly workerId: string }): WorkSeat {
    this.#forget();
    const known = this.#seats.get(token);
    if (known !== undefined && known.queue === queue) {
      known.stream?.interrupt(new SessionTakenOver(known.workerId));
      this.#seats.delete(token);
      this.#seats.set(token, known);
      return known;
    }
    if (this.#seats.size >= this.#max) this.#makeRoom();
    const fresh = Buffer.from(this.#random(TOKEN_BYTES)).toString("hex");
    const id = workerId === "" ? `worker-${fresh.slice(0, 8)}` : workerId;
    const untilMs = this.clock.monotonicMs();
    const seat = { token: fresh, workerId: id, queue, stream: undefined, earlier: undefined, untilMs };
    this.#seats.set(fresh, seat);
    return seat;
  }

  sit(seat: WorkSeat, stream: WorkStream): void {
    seat.stream = stream;
    seat.earlier = undefined;
    this.#workers++;
  }

  /** The stream has ended; its worker may come back. Idempotent. */
  leave(seat: WorkSeat, stream: WorkStream): void {
    if (seat.stream !== stream) return;
    seat.stream = undefined;
    seat.earlier = stream;
    this.#workers--;
    seat.untilMs = this.clock.monotonicMs() + seat.queue.engine.settings.graceMs;
    // Behind those that left before: they are forgotten from the front.
    this.#seats.delete(seat.token);
    this.#seats.set(seat.token, seat);
  }

  /** Ends the streams of one queue, or all. */
  interrupt(error: Error, queue?: OpenQueue): void {
    // One that leaves goes to the end of the table, and is met there again without a stream.
    for (const seat of this.#seats.values()) {
      if (queue === undefined || seat.queue === queue) seat.stream?.interrupt(error);
    }
  }

  /** A queue is gone, and nobody comes back to it. */
  forgetQueue(queue: OpenQueue): void {
    for (const seat of this.#seats.values()) if (seat.queue === queue) this.#seats.delete(seat.token);
  }

  #forget(): void {
    const nowMs = this.clock.monotonicMs();
    for (const seat of this.#seats.values()) {
      if (seat.stream !== undefined || seat.untilMs > nowMs) continue;
      this.#seats.delete(seat.token);
    }
  }

  #makeRoom(): void {
    for (const seat of this.#seats.values()) {
      if (seat.stream !== undefined) continue;
      this.#seats.delete(seat.token);
      return;
    }
    const text = `Cannot take another worker: the limit of ${this.#max} is reached`;
    throw new LimitExceeded(text, "workers of the server", { retryAfterMs: 5_000 });
  }
}
