// The jobs of a dispatcher that hands them out without asking: to whoever has waited longest, as soon as it takes one.
/** What a dispatcher knows of a job. */
export interface BacklogJob {
  readonly jobId: string;
  readonly priority: number;
  readonly body: Uint8Array;
}

interface Waiter {
  readonly mayTake: () => boolean;
  readonly resolve: (job: BacklogJob | undefined) => void;
}

export class Backlog {
  /** The most urgent first; of one priority in the order they came. */
  readonly #jobs: BacklogJob[] = [];
  readonly #waiters = new Set<Waiter>();

  add(job: BacklogJob): void {
    const at = this.#jobs.findIndex(({ priority }) => priority < job.priority);
    this.#jobs.splice(at === -1 ? this.#jobs.length : at, 0, job);
    this.handOut();
  }

  /** Resolves with the next job when there is one and it may be taken; undefined when the signal is aborted. */
  async take(mayTake: () => boolean, signal: AbortSignal): Promise<BacklogJob | undefined> {
    if (signal.aborted) return undefined;
    const { promise, resolve } = Promise.withResolvers<BacklogJob | undefined>();
    const waiter: Waiter = { mayTake, resolve };
    const leave = (): void => {
      this.#waiters.delete(waiter);
      resolve(undefined);
    };
    this.#waiters.add(waiter);
    signal.addEventListener("abort", leave, { once: true });
    this.handOut();
    const job = await promise;
    signal.removeEventListener("abort", leave);
    return job;
  }

  /** Somebody may take more than before. */
  handOut(): void {
    for (const waiter of this.#waiters) {
      if (this.#jobs.length === 0) return;
      if (!waiter.mayTake()) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(this.#jobs.shift());
    }
  }
}
