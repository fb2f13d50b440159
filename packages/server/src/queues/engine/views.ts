// What people ask of a queue: its jobs, its counts.
import type { Counts, JobStateName, JobStatus } from "../contract.ts";
import { PRIORITIES } from "../credit.ts";
import type { QueueCore } from "./core.ts";
import { JobPhase, NONE } from "./job-table.ts";
import { preview } from "./preview.ts";

const STATES: Readonly<Record<number, JobStateName>> = {
  [JobPhase.READY]: "waiting",
  [JobPhase.BEHIND]: "waiting",
  [JobPhase.DELAYED]: "delayed",
  [JobPhase.OFFERED]: "offered",
  [JobPhase.RUNNING]: "running",
  [JobPhase.DEAD]: "dead",
};

export function statusOf({ jobs }: QueueCore, slot: number): JobStatus {
  const { table } = jobs;
  const state = STATES[table.phase(slot)]!;
  const lease = jobs.isAtWorker(slot) ? jobs.leases.of(slot) : undefined;
  return {
    number: table.number(slot),
    jobId: jobs.idOf(slot),
    place: table.place(slot),
    bytes: table.bytes(slot),
    state,
    priority: table.priority(slot),
    failures: table.failures(slot),
    untilMs: state === "delayed" ? table.eligibleAtMs(slot) : state === "running" ? lease!.deadlineMs : 0,
    workerId: lease?.workerId ?? "",
    attempt: lease?.attempt ?? 0,
    history: table.extra(slot)?.history ?? [],
    progress: lease?.progress ?? 0,
    progressMessage: lease?.progressMessage ?? "",
  };
}

/** Jobs of a state, the first ones first. */
export function* slotsIn(core: QueueCore, state: JobStateName, limit: number): Generator<number> {
  const { jobs } = core;
  switch (state) {
    case "waiting":
      yield* waiting(core, limit);
      return;
    case "delayed":
      yield* jobs.delayed.inOrder();
      return;
    case "dead":
      yield* jobs.dead.slots();
      return;
    case "offered":
    case "running":
      for (const lease of jobs.leases.inOrder()) if (lease.isOffer === (state === "offered")) yield lease.slot;
      return;
    default:
      state satisfies never;
  }
}

/** Those that may go now, in order; then those of throttled keys; then those behind others of their ordering key. */
function* waiting({ jobs, settings }: QueueCore, limit: number): Generator<number> {
  const { ageMs } = settings;
  yield* preview(jobs.order, jobs.table, { limit, ageMs });
  for (const key of jobs.order.throttledKeys()) {
    for (let priority = PRIORITIES - 1; priority >= 0; priority--) yield* key.line(priority)?.inOrder() ?? [];
  }
  yield* jobs.chains.allBehind();
}

/** Oldest death first. The token says after which one to go on: when it died, and its number. */
export function listDead(
  { jobs }: QueueCore,
  after: string,
  limit: number,
): { readonly slots: readonly number[]; readonly nextToken: string } {
  const { table, dead } = jobs;
  const slots: number[] = [];
  let slot = after === "" ? dead.head : firstDeadAfter({ jobs }, after);
  for (; slot !== NONE && slots.length < limit; slot = table.next(slot)) slots.push(slot);
  const last = slots.at(-1);
  const nextToken = slot === NONE || last === undefined ? "" : `${table.eligibleAtMs(last)}.${table.number(last)}`;
  return { slots, nextToken };
}

function firstDeadAfter({ jobs }: Pick<QueueCore, "jobs">, token: string): number {
  const { table, dead } = jobs;
  const [atMs = NaN, number = NaN] = token.split(".").map(Number);
  const known = table.find(number);
  if (known !== NONE && table.phase(known) === JobPhase.DEAD && table.eligibleAtMs(known) === atMs) {
    return table.next(known);
  }
  // It was redriven or removed meanwhile.
  for (const slot of dead.slots()) {
    if (table.eligibleAtMs(slot) > atMs || (table.eligibleAtMs(slot) === atMs && table.number(slot) > number))
      return slot;
  }
  return NONE;
}

export function backlogOf({ jobs }: QueueCore): Pick<Counts, "waitingByPriority" | "oldestEnqueuedAtMs"> {
  return { waitingByPriority: [...jobs.waitingByPriority], oldestEnqueuedAtMs: jobs.oldestEnqueuedAtMs() };
}

export function countsOf(core: QueueCore): Counts {
  const { jobs, totals } = core;
  const backlog = backlogOf(core);
  let credit = 0;
  for (const { worker, isDraining } of jobs.workers.seats()) {
    if (!isDraining) credit += Math.max(0, worker.credit(PRIORITIES - 1, 0));
  }
  return {
    waiting: backlog.waitingByPriority.reduce((sum, each) => sum + each, 0),
    offered: jobs.leases.offerCount,
    running: jobs.leases.runningCount,
    delayed: jobs.delayed.size,
    dead: jobs.dead.size,
    ...totals,
    workers: jobs.workers.count,
    credit,
    ...backlog,
    liveBytes: jobs.liveBytes,
  };
}
