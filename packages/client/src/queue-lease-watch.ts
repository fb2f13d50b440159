// Looks after the leases of a worker from its event loop: which of them have ended without a word, and whether the event
// loop itself was blocked, which is why it comes late to look.
import type { Heartbeat } from "./queue-heartbeat.ts";
import type { RunningJob } from "./queue-slots.ts";
import type { Clock, Timer } from "./time.ts";

export interface LeaseWatchContext {
  readonly clock: Clock;
  readonly heartbeat: Pick<Heartbeat, "leftMs">;
  readonly running: () => Iterable<RunningJob>;
  readonly lose: (job: RunningJob, why: string) => void;
  readonly warn: (text: string) => void;
}

const LOOKS_IN_LEASE = 6;

export class LeaseWatch {
  readonly #context: LeaseWatchContext;
  readonly #leaseMs: number;
  #timer: Timer;
  #failure = "";

  /** @param leaseMs of most leases: how often to look. */
  constructor(context: LeaseWatchContext, leaseMs: number) {
    this.#context = context;
    this.#leaseMs = leaseMs;
    this.#timer = this.#wait();
  }

  stop(): void {
    this.#timer.cancel();
  }

  /** An extension did not get through. Told once for each reason. */
  failed(reason: string): void {
    if (reason !== this.#failure) this.#context.warn(`A heartbeat did not get through: ${reason}`);
    this.#failure = reason;
  }

  #wait(): Timer {
    const { clock } = this.#context;
    const everyMs = this.#leaseMs / LOOKS_IN_LEASE;
    const dueMs = clock.monotonicMs() + everyMs;
    return clock.setTimer(() => {
      this.#look(Math.max(0, Math.round(clock.monotonicMs() - dueMs)));
      this.#timer = this.#wait();
    }, everyMs);
  }

  #look(lateMs: number): void {
    const { heartbeat, running, lose, warn } = this.#context;
    const wasBlocked = lateMs > this.#leaseMs / 3;
    for (const job of running()) {
      if (heartbeat.leftMs(job.seat) < 0) lose(job, this.#whyEnded(wasBlocked ? lateMs : 0));
    }
    if (!wasBlocked) return;
    warn(
      `The event loop was blocked for ${lateMs} ms, more than a third of the lease of ${this.#leaseMs} ms: ` +
        "run such handlers in a thread or a process of their own",
    );
  }

  #whyEnded(blockedMs: number): string {
    const failure = this.#failure === "" ? "" : ` (last failure: ${this.#failure})`;
    const blocked = blockedMs === 0 ? "" : `; the event loop was blocked for ${blockedMs} ms`;
    return `no heartbeat got through for ${this.#leaseMs} ms${failure}${blocked}`;
  }
}
