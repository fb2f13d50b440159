// Who has a job, and until when. An offer is a lease that was not started.
import type { QueueWorker } from "../contract.ts";
import { PRIORITIES } from "../credit.ts";
import { NONE } from "./job-table.ts";

export class Lease {
  readonly slot: number;
  readonly number: number;
  /** incarnation × 2^32 + counter. */
  readonly attempt: number;
  readonly priority: number;
  /** undefined: its worker is away, and may come back. */
  seat: WorkerSeat | undefined;
  /** While its worker is away: the seat it had. */
  formerSeat: WorkerSeat | undefined;
  readonly workerId: string;
  isOffer: boolean;
  /** false: ended, started, or taken back: what `OfferStack` passes over. */
  isOfferOpen: boolean;
  /** Unix ms of the start; of an offer, when it was made. */
  atMs: number;
  leaseMs: number;
  /** Unix ms: end of the lease; of an offer, until when it must be started. */
  untilMs: number;
  /** Unix ms: until when it waits for its worker to come back; Infinity: it is there. */
  graceUntilMs = Infinity;
  /** The earlier of both: what the heap goes by. */
  deadlineMs: number;
  deadlineIndex = NONE;
  /** The command that named it last: so that a request that names it twice is noticed. */
  command = 0;
  progress = 0;
  progressMessage = "";

  constructor(options: {
    readonly slot: number;
    readonly number: number;
    readonly attempt: number;
    readonly priority: number;
    readonly seat: WorkerSeat | undefined;
    readonly workerId: string;
    readonly isOffer: boolean;
    readonly atMs: number;
    readonly leaseMs: number;
    readonly untilMs: number;
  }) {
    this.slot = options.slot;
    this.number = options.number;
    this.attempt = options.attempt;
    this.priority = options.priority;
    this.seat = options.seat;
    this.workerId = options.workerId;
    this.isOffer = options.isOffer;
    this.isOfferOpen = options.isOffer;
    this.atMs = options.atMs;
    this.leaseMs = options.leaseMs;
    this.untilMs = options.untilMs;
    this.deadlineMs = options.untilMs;
  }
}

/**
 * Offers in the order in which they were made. One that is open no more stays until it is met, or until such ones are the
 * most: so taking one out costs nothing.
 */
export class OfferStack {
  #offers: Lease[] = [];
  #open = 0;
  /** Everything before it is open no more. */
  #start = 0;

  /** Offers that are open. */
  get size(): number {
    return this.#open;
  }

  push(offer: Lease): void {
    this.#offers.push(offer);
    this.#open++;
  }

  /** One of them is open no more. */
  noteClosed(): void {
    this.#open--;
    if (this.#open === 0) {
      this.#offers.length = 0;
      this.#start = 0;
    } else if (this.#offers.length > 2 * this.#open + 16) {
      this.#offers = this.#offers.filter((each) => each.isOfferOpen);
      this.#start = 0;
    }
  }

  /** The one that was made first. */
  oldest(): Lease | undefined {
    while (this.#start < this.#offers.length && !this.#offers[this.#start]!.isOfferOpen) this.#start++;
    return this.#offers[this.#start];
  }

  open(): readonly Lease[] {
    return this.#offers.filter((each) => each.isOfferOpen);
  }

  /** The open ones, the last one first. */
  *newestFirst(): Generator<Lease> {
    for (let at = this.#offers.length - 1; at >= this.#start; at--) {
      const offer = this.#offers[at];
      if (offer?.isOfferOpen === true) yield offer;
    }
  }
}

/** A worker, and what it has. */
export class WorkerSeat {
  readonly worker: QueueWorker;
  readonly offers = new OfferStack();
  /** Also when it is away, until they come to somebody else. */
  readonly running = new Set<Lease>();
  isDraining = false;
  /** An offer of it was recalled for an urgent job, and gave no credit: not again until it says how its credit is. */
  owesCredit = false;
  opensAt = PRIORITIES;
  /** Of its last handout: ties are broken in turn. */
  turn = 0;
  bucketIndex = NONE;
  holderIndex = NONE;

  constructor(worker: QueueWorker) {
    this.worker = worker;
  }

  /** Jobs it has, started or not. */
  get load(): number {
    return this.offers.size + this.running.size;
  }
}
