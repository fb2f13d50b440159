// What the events of a run say: the four figures of the experiment, and how many jobs lay where over time.
//
// A job is beyond the dispatcher's control from when it was sent until its handler begins: it waits where no other worker
// can get it, and nothing can pass it. An offer is not: the server takes it back by itself.
import { FIRST_WORKER, type RunRecord, URGENT_JOB, type Way } from "./scenario.ts";

/** A step line: from `atMs` on (of the run) so many. */
export interface Step {
  readonly atMs: number;
  readonly count: number;
}

export interface Measures {
  readonly way: Way;
  /** Jobs beyond the dispatcher's control. */
  readonly beyond: readonly Step[];
  readonly beyondMax: number;
  /** Jobs that lay at workers as offers, to be taken back at any time. */
  readonly offered: readonly Step[];
  /** From when the new workers came until all of them had begun a job, ms; undefined: some of them never had one. */
  readonly newWorkersBeganAfterMs: number | undefined;
  /** How many of the jobs the new workers did. */
  readonly newWorkersJobs: number;
  /** From the urgent job's enqueueing to its begin, ms. */
  readonly urgentWaitMs: number;
  /** How many other jobs began meanwhile. */
  readonly urgentPassedBy: number;
  /** From the first job's enqueueing until all were done, ms. */
  readonly completedMs: number;
}

export function measure(record: RunRecord): Measures {
  const { way, startedMs, moreWorkersMs, urgentMs } = record;
  const events = record.events.toSorted((a, b) => a.atMs - b.atMs);
  const begun = events.filter(({ event }) => event === "begun");
  const isNew = ({ worker }: { readonly worker: string }): boolean => worker !== FIRST_WORKER;
  const firstOfNew = new Map<string, number>();
  for (const each of begun.filter(isNew)) {
    if (!firstOfNew.has(each.worker)) firstOfNew.set(each.worker, each.atMs);
  }
  const urgentBegunMs = begun.find(({ job }) => job === URGENT_JOB)?.atMs ?? Number.NaN;
  const beyond = way === "credit" ? beyondOf(record) : sentOf(record);
  const hasAll = firstOfNew.size > 0 && firstOfNew.size === record.newWorkers;
  return {
    way,
    beyond,
    beyondMax: Math.max(0, ...beyond.map(({ count }) => count)),
    offered: record.samples.map(({ atMs, offered }) => ({ atMs: atMs - startedMs, count: offered })),
    newWorkersBeganAfterMs: hasAll ? Math.max(...firstOfNew.values()) - moreWorkersMs : undefined,
    newWorkersJobs: begun.filter(isNew).length,
    urgentWaitMs: urgentBegunMs - urgentMs,
    urgentPassedBy: begun.filter(({ atMs, job }) => job !== URGENT_JOB && atMs >= urgentMs && atMs < urgentBegunMs)
      .length,
    completedMs: (events.findLast(({ event }) => event === "done")?.atMs ?? Number.NaN) - startedMs,
  };
}

/** Sent, and not begun. */
function sentOf({ events, startedMs }: RunRecord): Step[] {
  let count = 0;
  const steps: Step[] = [{ atMs: 0, count }];
  for (const { event, atMs } of events.toSorted((a, b) => a.atMs - b.atMs)) {
    if (event === "done") continue;
    count += event === "sent" ? 1 : -1;
    steps.push({ atMs: atMs - startedMs, count });
  }
  return steps;
}

/** Started at the server, and not begun at a worker: on the way, for as long as an answer takes. */
function beyondOf({ events, samples, startedMs }: RunRecord): Step[] {
  const inHand = (atMs: number): number => {
    let count = 0;
    for (const each of events) {
      if (each.atMs <= atMs && each.event === "begun") count++;
      else if (each.atMs <= atMs && each.event === "done") count--;
    }
    return count;
  };
  return samples.map(({ atMs, running }) => ({ atMs: atMs - startedMs, count: Math.max(0, running - inHand(atMs)) }));
}
