// Why a job is not running: everything that keeps it at this moment, or who has it.
import type { ExplainReason, Explanation } from "../contract.ts";
import type { QueueCore } from "./core.ts";
import type { Dispatch } from "./dispatch.ts";
import { JobPhase } from "./job-table.ts";
import { preview } from "./preview.ts";
import { statusOf } from "./views.ts";

/** Jobs before it are counted up to here. */
const AHEAD_MAX = 1000;

const open = { subject: "", untilMs: 0 };

export function explain(core: QueueCore, dispatch: Dispatch, slot: number): Explanation {
  const job = statusOf(core, slot);
  const phase = core.jobs.table.phase(slot);
  switch (phase) {
    case JobPhase.OFFERED:
    case JobPhase.RUNNING:
      return { job, reasons: [atWorker(core, slot)], ahead: 0 };
    case JobPhase.DEAD: {
      const last = job.history.at(-1)?.reason ?? "";
      const text = `It is dead after ${job.failures} failures${last === "" ? "" : `; the last one: ${last}`}`;
      return { job, reasons: [{ ...open, code: "dead", text }], ahead: 0 };
    }
    case JobPhase.DELAYED:
      return { job, reasons: [...paused(core), ...delayed(core, slot)], ahead: 0 };
    case JobPhase.BEHIND: {
      const reasons = [...paused(core), ...behind(core, slot), ...delayed(core, slot), ...throttled(core, slot)];
      return { job, reasons, ahead: aheadInChain(core, slot) };
    }
    default:
      return explainReady(core, dispatch, slot);
  }
}

function explainReady(core: QueueCore, dispatch: Dispatch, slot: number): Explanation {
  const job = statusOf(core, slot);
  const reasons = [...paused(core), ...throttled(core, slot)];
  const ahead = reasons.some((each) => each.code === "throttled") ? 0 : aheadInOrder(core, slot);
  const { workers, table } = core.jobs;
  if (dispatch.stall !== undefined) {
    const text = `Nothing is started: ${dispatch.stall.message}`;
    reasons.push({ ...open, code: "paused", text, untilMs: dispatch.againAtMs });
  }
  const present = [...workers.seats()].filter((seat) => !seat.isDraining);
  if (present.length === 0) reasons.push({ ...open, code: "no-worker", text: "No worker is there" });
  else if (!present.some(({ worker }) => worker.credit(table.priority(slot), table.bytes(slot)) > 0)) {
    const text = `None of the ${present.length} workers has credit for a job of priority ${job.priority} and ${job.bytes} bytes`;
    reasons.push({ ...open, code: "no-credit", text });
  }
  if (ahead !== 0) {
    const many = ahead === -1 ? `more than ${AHEAD_MAX}` : String(ahead);
    const text = `${many} jobs come first, more urgent ones or those of other fairness keys among them`;
    reasons.push({ ...open, code: "behind-others", text });
  }
  return { job, reasons, ahead };
}

function atWorker({ jobs }: QueueCore, slot: number): ExplainReason {
  const { isOffer, workerId, deadlineMs: untilMs, seat } = jobs.leases.of(slot);
  if (isOffer)
    return { code: "offered", text: `Worker ${workerId} has it and has not started it`, subject: workerId, untilMs };
  const away = seat === undefined ? ", which is away and may come back" : "";
  return { code: "leased", text: `Worker ${workerId}${away} runs it`, subject: workerId, untilMs };
}

function* paused({ isPaused }: QueueCore): Generator<ExplainReason> {
  if (isPaused) yield { ...open, code: "paused", text: "The queue is paused" };
}

function* delayed(core: QueueCore, slot: number): Generator<ExplainReason> {
  const { table } = core.jobs;
  const untilMs = table.eligibleAtMs(slot);
  if (untilMs <= core.now()) return;
  const text = table.failures(slot) > 0 ? "It is tried again after its back-off" : "Its time has not come";
  yield { ...open, code: "delayed", text, untilMs };
}

function* throttled(core: QueueCore, slot: number): Generator<ExplainReason> {
  const { name, throttledUntilMs: untilMs, throttledBy } = core.jobs.order.keyOf(slot);
  if (untilMs <= core.now()) return;
  yield { code: "throttled", text: `Worker ${throttledBy} throttled its fairness key`, subject: name, untilMs };
}

function* behind({ jobs }: QueueCore, slot: number): Generator<ExplainReason> {
  const first = jobs.chains.firstOf(slot);
  const text = `Job ${jobs.idOf(first)} of its ordering key ${jobs.isAtWorker(first) ? "is at a worker" : "waits before it"}`;
  yield { code: "behind-ordering-key", text, subject: jobs.chains.nameOf(slot), untilMs: 0 };
}

/** -1: too many. */
function aheadInOrder({ jobs, settings }: QueueCore, slot: number): number {
  let ahead = 0;
  for (const each of preview(jobs.order, jobs.table, { limit: AHEAD_MAX + 1, ageMs: settings.ageMs })) {
    if (each === slot) return ahead;
    ahead++;
  }
  return -1;
}

/** With the one in play. -1: too many. */
function aheadInChain({ jobs }: QueueCore, slot: number): number {
  let ahead = 1;
  for (const each of jobs.chains.behindOf(slot)) {
    if (each === slot) return ahead;
    if (++ahead > AHEAD_MAX) break;
  }
  return -1;
}
