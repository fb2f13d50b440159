// The workers of a queue: who has credit for what, and who is the least busy.
//
// W1. A seat stands in the bucket of the least priority for which it has credit (`opensAt`), as of the last look at its
//     credit; in none when it has none, is draining, or was refused.
// W2. A worker whose window in bytes has no room for the job that comes next is refused, aside, until another job comes next:
//     so one large job costs one look at each worker, not one with each command.
import { PRIORITIES } from "../credit.ts";
import type { QueueWorker } from "../contract.ts";
import { Heap } from "./heap.ts";
import { NONE } from "./job-table.ts";
import { WorkerSeat } from "./lease.ts";

function isLessBusy(a: WorkerSeat, b: WorkerSeat): boolean {
  return a.load !== b.load ? a.load < b.load : a.turn < b.turn;
}

export class Workers {
  readonly #seats = new Map<QueueWorker, WorkerSeat>();
  /** Of workers that went, as long as anybody remembers them. */
  readonly #formerSeats = new WeakMap<QueueWorker, WorkerSeat>();
  readonly #buckets = Array.from(
    { length: PRIORITIES },
    () => new Heap<WorkerSeat>({ before: isLessBusy, moved: (seat, index) => void (seat.bucketIndex = index) }),
  );
  /** Those with offers that they have not started: the most first. */
  readonly #holders = new Heap<WorkerSeat>({
    before: (a, b) => (a.offers.size !== b.offers.size ? a.offers.size > b.offers.size : a.load > b.load),
    moved: (seat, index) => void (seat.holderIndex = index),
  });
  /** W2. */
  #refused: WorkerSeat[] = [];
  #refusedFor = 0;
  #turn = 0;

  get count(): number {
    return this.#seats.size;
  }

  /** The one with the most offers. */
  get holder(): WorkerSeat | undefined {
    return this.#holders.first;
  }

  find(worker: QueueWorker): WorkerSeat | undefined {
    return this.#seats.get(worker);
  }

  findFormer(worker: QueueWorker): WorkerSeat | undefined {
    return this.#formerSeats.get(worker);
  }

  seats(): Iterable<WorkerSeat> {
    return this.#seats.values();
  }

  add(worker: QueueWorker): WorkerSeat {
    const seat = new WorkerSeat(worker);
    this.#seats.set(worker, seat);
    return seat;
  }

  remove(seat: WorkerSeat): void {
    this.#unlist(seat);
    if (seat.holderIndex !== NONE) this.#holders.remove(seat.holderIndex);
    this.#refused = this.#refused.filter((each) => each !== seat);
    this.#seats.delete(seat.worker);
    this.#formerSeats.set(seat.worker, seat);
  }

  /** W1. Its credit, or what it has, is another now. */
  review(seat: WorkerSeat): void {
    const opensAt = seat.isDraining ? PRIORITIES : opensAtOf(seat.worker);
    if (seat.bucketIndex !== NONE && opensAt === seat.opensAt) this.#buckets[opensAt]!.update(seat.bucketIndex);
    else {
      this.#unlist(seat);
      seat.opensAt = opensAt;
      if (opensAt < PRIORITIES) this.#buckets[opensAt]!.push(seat);
    }
    this.#reviewHolder(seat);
  }

  /** The same where its credit did not change: a job that it had is done. */
  reviewLoad(seat: WorkerSeat): void {
    if (seat.bucketIndex !== NONE) this.#buckets[seat.opensAt]!.update(seat.bucketIndex);
    this.#reviewHolder(seat);
  }

  noteHandout(seat: WorkerSeat): void {
    seat.turn = ++this.#turn;
    this.review(seat);
  }

  /** The least busy worker with credit for a job; undefined: none has any. */
  choose(job: { readonly number: number; readonly priority: number; readonly bytes: number }): WorkerSeat | undefined {
    if (this.#refusedFor !== job.number) this.#readmit(job.number);
    for (;;) {
      let chosen: WorkerSeat | undefined;
      for (let opensAt = 0; opensAt <= job.priority; opensAt++) {
        const seat = this.#buckets[opensAt]!.first;
        if (seat !== undefined && (chosen === undefined || isLessBusy(seat, chosen))) chosen = seat;
      }
      if (chosen === undefined || chosen.worker.credit(job.priority, job.bytes) > 0) return chosen;
      this.#unlist(chosen);
      this.#refused.push(chosen);
    }
  }

  /** The least priority for which anybody has credit; PRIORITIES: nobody has any. */
  opensAt(): number {
    const opensAt = this.#buckets.findIndex((bucket) => bucket.size > 0);
    return opensAt === -1 ? PRIORITIES : opensAt;
  }

  #readmit(number: number): void {
    this.#refusedFor = number;
    if (this.#refused.length === 0) return;
    const refused = this.#refused;
    this.#refused = [];
    for (const seat of refused) this.review(seat);
  }

  #reviewHolder(seat: WorkerSeat): void {
    if (seat.holderIndex === NONE) {
      if (seat.offers.size > 0) this.#holders.push(seat);
    } else if (seat.offers.size > 0) this.#holders.update(seat.holderIndex);
    else this.#holders.remove(seat.holderIndex);
  }

  #unlist(seat: WorkerSeat): void {
    if (seat.bucketIndex !== NONE) this.#buckets[seat.opensAt]!.remove(seat.bucketIndex);
  }
}

function opensAtOf(worker: QueueWorker): number {
  if (worker.credit(0, 0) > 0) return 0;
  if (worker.credit(PRIORITIES - 1, 0) <= 0) return PRIORITIES;
  let opensAt = 1;
  while (worker.credit(opensAt, 0) <= 0) opensAt++;
  return opensAt;
}
