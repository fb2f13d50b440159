// Handlers of a worker that the test ends.
import type { JobHandler } from "@sluice/client";

export interface HeldJobs {
  readonly handler: JobHandler;
  /** Bodies of the jobs whose handlers have begun, in order; one that came twice is there twice. */
  readonly begun: string[];
  /** What ends those that run, by body. */
  readonly running: ReadonlyMap<string, () => void>;
  readonly finish: (body: string) => void;
  readonly finishAll: () => void;
}

/** Handlers that run until they are told to end. */
export function holdJobs(): HeldJobs {
  const running = new Map<string, () => void>();
  const begun: string[] = [];
  return {
    async handler(job) {
      begun.push(job.text());
      await new Promise<void>((resolve) => running.set(job.text(), resolve));
      running.delete(job.text());
    },
    begun,
    running,
    finish: (body) => running.get(body)?.(),
    finishAll: () => [...running.values()].forEach((end) => end()),
  };
}
