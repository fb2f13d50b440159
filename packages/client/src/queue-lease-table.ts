// The leases of a worker's running jobs, in memory that its heartbeat thread reads: holding and releasing one sends no
// message, so that a job of a microsecond costs no more, and a thread that is blocked needs not be asked.
//
// LT1. A seat belongs to the event loop's thread: it alone writes the lease. Its version is odd while it does, so the
//      other thread never takes half of a lease for one (a seqlock).
// LT2. The heartbeat's thread writes when a lease was extended, with the version that it read: of a seat that has been
//      given to another job meanwhile, that says nothing.
import type { LeaseLike } from "./queue-session.ts";

/** As the contract allows for a job's id. */
const ID_BYTES_MAX = 128;
const SEAT_BYTES = 8 + 8 + 8 + 4 + 4 + 4 + 4 + ID_BYTES_MAX;

/** A lease as the heartbeat reads it. */
export interface SeatedLease extends LeaseLike {
  readonly seat: number;
  readonly version: number;
  readonly leaseMs: number;
  /** On the machine's monotonic clock: from its start, or its last extension. */
  readonly sinceMs: number;
}

export class LeaseTable {
  readonly memory: SharedArrayBuffer;
  readonly #seats: number;
  readonly #attempts: BigUint64Array;
  readonly #startedMs: Float64Array;
  readonly #extendedMs: Float64Array;
  readonly #versions: Int32Array;
  readonly #extendedVersions: Int32Array;
  readonly #leaseMs: Int32Array;
  readonly #idLengths: Int32Array;
  readonly #ids: Uint8Array;
  readonly #free: number[];

  /** @param of how many seats, or the memory of a table in another thread. */
  constructor(of: number | SharedArrayBuffer) {
    const seats = typeof of === "number" ? of : of.byteLength / SEAT_BYTES;
    this.memory = typeof of === "number" ? new SharedArrayBuffer(seats * SEAT_BYTES) : of;
    this.#seats = seats;
    this.#attempts = new BigUint64Array(this.memory, 0, seats);
    this.#startedMs = new Float64Array(this.memory, seats * 8, seats);
    this.#extendedMs = new Float64Array(this.memory, seats * 16, seats);
    this.#versions = new Int32Array(this.memory, seats * 24, seats);
    this.#extendedVersions = new Int32Array(this.memory, seats * 28, seats);
    this.#leaseMs = new Int32Array(this.memory, seats * 32, seats);
    this.#idLengths = new Int32Array(this.memory, seats * 36, seats);
    this.#ids = new Uint8Array(this.memory, seats * 40, seats * ID_BYTES_MAX);
    this.#free = Array.from({ length: seats }, (_, i) => seats - 1 - i);
  }

  /** From `nowMs` on this lease is held. Returns its seat. There is one for each slot of the worker. */
  hold({ jobId, attempt }: LeaseLike, { leaseMs, nowMs }: { leaseMs: number; nowMs: number }): number {
    const seat = this.#free.pop();
    if (seat === undefined) throw new RangeError(`Cannot hold more than ${this.#seats} leases`);
    const place = this.#ids.subarray(seat * ID_BYTES_MAX, (seat + 1) * ID_BYTES_MAX);
    Atomics.add(this.#versions, seat, 1); // LT1
    this.#attempts[seat] = attempt;
    this.#startedMs[seat] = nowMs;
    this.#leaseMs[seat] = leaseMs;
    this.#idLengths[seat] = Buffer.from(place.buffer, place.byteOffset, place.length).write(jobId, "latin1");
    Atomics.add(this.#versions, seat, 1);
    return seat;
  }

  release(seat: number): void {
    Atomics.add(this.#versions, seat, 1);
    this.#idLengths[seat] = 0;
    Atomics.add(this.#versions, seat, 1);
    this.#free.push(seat);
  }

  /** The lease was extended by its handler, and is to be so long from now on. */
  setLease(seat: number, { leaseMs, nowMs }: { leaseMs: number; nowMs: number }): void {
    Atomics.add(this.#versions, seat, 1);
    this.#startedMs[seat] = nowMs;
    this.#leaseMs[seat] = leaseMs;
    Atomics.add(this.#versions, seat, 1);
  }

  /** The lease in this seat; undefined: there is none, or it is being written. */
  read(seat: number): SeatedLease | undefined {
    const version = Atomics.load(this.#versions, seat);
    const length = this.#idLengths[seat]!;
    const attempt = this.#attempts[seat]!;
    const leaseMs = this.#leaseMs[seat]!;
    const sinceMs = this.#sinceMs(seat, version);
    const jobId = Buffer.from(this.memory, this.#ids.byteOffset + seat * ID_BYTES_MAX, length).toString("latin1");
    const isWhole = version % 2 === 0 && Atomics.load(this.#versions, seat) === version;
    return isWhole && length > 0 ? { seat, version, jobId, attempt, leaseMs, sinceMs } : undefined;
  }

  /** All that are held. */
  *leases(): Generator<SeatedLease> {
    for (let seat = 0; seat < this.#seats; seat++) {
      const lease = this.read(seat);
      if (lease !== undefined) yield lease;
    }
  }

  /** It was extended, from `nowMs` on (LT2). */
  extended({ seat, version }: SeatedLease, nowMs: number): void {
    this.#extendedMs[seat] = nowMs;
    Atomics.store(this.#extendedVersions, seat, version);
  }

  /** Whether this seat still holds what was read from it. */
  isCurrent({ seat, version }: SeatedLease): boolean {
    return Atomics.load(this.#versions, seat) === version;
  }

  #sinceMs(seat: number, version: number): number {
    const wasExtended = Atomics.load(this.#extendedVersions, seat) === version;
    return wasExtended ? Math.max(this.#startedMs[seat]!, this.#extendedMs[seat]!) : this.#startedMs[seat]!;
  }
}
