// What one worker has, and what it said of it that the server has not answered: all that a sidecar must know to speak for it on
// the next stream, or in its place when it is gone.
//
// LL1. Answers come in the order of the questions: the first that is unanswered is the one that an answer is for.
// LL2. What is unanswered is said again on each new stream. It is fenced by the attempt, so it counts once.
// LL3. It is bounded: while `isFull`, nothing more of the worker is read.
import { type Lease, type LeaseResult, type Nack, NackKind, ResultCode } from "@sluice/api";

/** Requests that wait for their answer, above which the worker waits. A worker sends one for each job it ends. */
const UNANSWERED_MAX = 10_000;
/** Of their frames. */
const UNANSWERED_BYTES_MAX = 4 * 1024 * 1024;

/** How a worker ends a job. */
export type JobEnd = "ack" | "return" | "retry" | "reject";

export function endOf({ kind }: Nack): JobEnd {
  if (kind === NackKind.RETURN) return "return";
  return kind === NackKind.REJECT ? "reject" : "retry";
}

export interface Question {
  readonly kind: "start" | JobEnd;
  readonly leases: readonly Lease[];
  readonly frame: Uint8Array;
  /** The sidecar's own, in the place of a worker that is gone. */
  readonly isOwn: boolean;
}

export class LeaseLedger {
  readonly #offered = new Map<bigint, Lease>();
  readonly #started = new Map<bigint, Lease>();
  readonly #questions: Question[] = [];
  #bytes = 0;

  /** Offers that are not started. */
  get offered(): number {
    return this.#offered.size;
  }

  get started(): number {
    return this.#started.size;
  }

  get unanswered(): readonly Question[] {
    return this.#questions;
  }

  /** LL3 */
  get isFull(): boolean {
    return this.#questions.length >= UNANSWERED_MAX || this.#bytes >= UNANSWERED_BYTES_MAX;
  }

  /** Neither has it a job, nor has it said something that is unanswered. */
  get isEmpty(): boolean {
    return this.#offered.size + this.#started.size + this.#questions.length === 0;
  }

  deliver(lease: Lease, { isStarted }: { readonly isStarted: boolean }): void {
    (isStarted ? this.#started : this.#offered).set(lease.attempt, lease);
  }

  /** Leases that the worker believes to hold, and does. */
  keep(leases: readonly Lease[]): void {
    for (const lease of leases) this.#started.set(lease.attempt, lease);
  }

  /** They are another's, or done. Returns those that the worker had. */
  drop(leases: readonly Lease[]): Lease[] {
    const had: Lease[] = [];
    for (const { attempt } of leases) {
      const lease = this.#offered.get(attempt) ?? this.#started.get(attempt);
      if (lease !== undefined) had.push(lease);
      this.#offered.delete(attempt);
      this.#started.delete(attempt);
    }
    return had;
  }

  ask(question: Question): void {
    this.#questions.push(question);
    this.#bytes += question.frame.length;
  }

  /** What became of the first question (LL1). Undefined: nothing was asked. */
  answer(results: readonly LeaseResult[]): Question | undefined {
    const question = this.#questions.shift();
    if (question === undefined) return undefined;
    this.#bytes -= question.frame.length;
    for (const { lease, code } of results) {
      if (lease === undefined) continue;
      const isStarted = question.kind === "start" && (code === ResultCode.OK || code === ResultCode.DUPLICATE);
      this.drop([lease]);
      if (isStarted) this.#started.set(lease.attempt, lease);
    }
    return question;
  }

  /** The stream is gone, and with it the offers; but for those of which something was said. Returns them. */
  cut(): Lease[] {
    const asked = this.#asked();
    const gone = [...this.#offered.values()].filter(({ attempt }) => !asked.has(attempt));
    this.#offered.clear();
    return gone;
  }

  /** For the next stream: what the server is asked to keep. */
  held(): Lease[] {
    const held = new Map([...this.#asked(), ...this.#started]);
    return [...held.values()];
  }

  /** Jobs that it has started, or asked to, and has said nothing of that ends them. */
  unended(): Lease[] {
    const ends = this.#questions.filter(({ kind }) => kind !== "start");
    const ended = new Set(ends.flatMap(({ leases }) => leases.map(({ attempt }) => attempt)));
    return this.held().filter(({ attempt }) => !ended.has(attempt));
  }

  #asked(): Map<bigint, Lease> {
    return new Map(this.#questions.flatMap(({ leases }) => leases.map((lease) => [lease.attempt, lease] as const)));
  }
}
