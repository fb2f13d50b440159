// What the clients of the queues of others have in common: the task, and how a run is measured.

/** Jobs into one queue of a peer, or out of it. */
export interface QueuePeerTask {
  /** "127.0.0.1:PORT" */
  readonly address: string;
  /** Made when it is missing. */
  readonly queue: string;
  /** Which of the peer's kinds of queue; "": it has one. */
  readonly kind: string;
  readonly what: "enqueue" | "work";
  readonly jobs: number;
  readonly bodyBytes: number;
  /** Jobs of a batch, and batches that wait for their answer; the product where the peer knows no batches. */
  readonly batch: number;
  readonly batchesUnderWay: number;
  /** Each has a connection of its own. */
  readonly workers: number;
  /** Jobs that a worker may have without having ended them. */
  readonly window: number;
}

export interface QueuePeerOutcome {
  readonly jobs: number;
  readonly seconds: number;
}

/** Counts what was ended; resolves when all was. More may come: jobs whose acks were lost with the connections of the run before. */
export class Goal {
  readonly reached: Promise<void>;
  readonly #resolve: () => void;
  #left: number;

  constructor(jobs: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.reached = promise;
    this.#resolve = resolve;
    this.#left = jobs;
  }

  countOne(): void {
    if (--this.#left === 0) this.#resolve();
  }
}

/** Calls `send` for each of `count` things, while no more than `underWay` of them have not resolved. */
export async function sendAll(count: number, underWay: number, send: () => Promise<unknown>): Promise<void> {
  let left = count;
  const sender = async (): Promise<void> => {
    while (left > 0) {
      left--;
      await send();
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, underWay) }, sender));
}

/** Seconds that `work` takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const beginMs = performance.now();
  await work();
  return (performance.now() - beginMs) / 1000;
}
