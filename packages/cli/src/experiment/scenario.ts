// What the experiment does, and what its processes tell of it.

/** Three ways to hand out jobs. */
export const WAYS = ["stream", "prefetch", "credit"] as const;
export type Way = (typeof WAYS)[number];

export const WAY_NAMES: Readonly<Record<Way, string>> = {
  stream: "gRPC streaming, HTTP/2 flow control",
  prefetch: "fixed prefetch",
  credit: "credit with offers (Sluice)",
};

/** One worker first, more of them and an urgent job while it works. */
export interface Scenario {
  readonly jobs: number;
  /** What a job takes, ms. */
  readonly jobMs: number;
  readonly bodyBytes: number;
  /** Of the fixed prefetch. */
  readonly prefetch: number;
  /** Of a worker with credit: one job runs, the others are offers. */
  readonly window: number;
  readonly moreWorkers: number;
  /** When they come, and when the urgent job does: ms from the first job's enqueueing. */
  readonly moreWorkersAtMs: number;
  readonly urgentAtMs: number;
}

export const DEFAULT_SCENARIO: Scenario = {
  jobs: 200,
  jobMs: 100,
  bodyBytes: 64,
  prefetch: 100,
  window: 10,
  moreWorkers: 3,
  moreWorkersAtMs: 2000,
  urgentAtMs: 4000,
};

export const QUEUE = "experiment";
/** The id of the urgent job; the others have one that the server made. */
export const URGENT_JOB = "urgent";
export const URGENT_PRIORITY = 7;
export const FIRST_WORKER = "worker-1";

/** What happened to a job, at a process's own time: Unix ms, with fractions. */
export interface JobEvent {
  /** "sent": out of the dispatcher's hands. "begun" and "done": by a worker. */
  readonly event: "sent" | "begun" | "done";
  readonly job: string;
  readonly worker: string;
  readonly atMs: number;
}

/** How the server counted at a time. Of the way with credit, whose server tells more than what it sent. */
export interface CountSample {
  readonly atMs: number;
  readonly offered: number;
  readonly running: number;
}

/** All that was seen of one way. */
export interface RunRecord {
  readonly way: Way;
  /** When the first job was enqueued; the other times count from here. Unix ms. */
  readonly startedMs: number;
  readonly moreWorkersMs: number;
  /** How many came then. */
  readonly newWorkers: number;
  readonly urgentMs: number;
  readonly events: readonly JobEvent[];
  readonly samples: readonly CountSample[];
}

export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
