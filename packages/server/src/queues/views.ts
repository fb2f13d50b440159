// How queues and jobs look in answers.
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ExplainJobResponseSchema,
  type Job,
  JobSchema,
  JobState,
  type JobViewSchema,
  type LeaseResultSchema,
  type QueueSchema,
  ReasonCode,
  ResultCode,
  type ScheduleSchema,
} from "@sluice/api";
import type {
  CheckedJob,
  ExplainCode,
  Explanation,
  JobStateName,
  JobStatus,
  Journal,
  LeaseCode,
  LeaseOutcome,
  OpenQueue,
  ScheduleStatus,
} from "./contract.ts";
import { settingsMessage } from "./settings.ts";

const NS_PER_MS = 1_000_000n;

/** Unix ns of Unix ms; 0 stays 0. */
export function nsOf(ms: number): bigint {
  return BigInt(Math.round(ms)) * NS_PER_MS;
}

export const RESULT_CODES: Readonly<Record<LeaseCode, ResultCode>> = {
  ok: ResultCode.OK,
  stale: ResultCode.STALE,
  "not-found": ResultCode.NOT_FOUND,
  duplicate: ResultCode.DUPLICATE,
};

const STATES: Readonly<Record<JobStateName, JobState>> = {
  waiting: JobState.WAITING,
  offered: JobState.OFFERED,
  running: JobState.RUNNING,
  delayed: JobState.DELAYED,
  dead: JobState.DEAD,
};

/** The state that a request names; undefined: none of ours. */
export function findStateName(state: JobState): JobStateName | undefined {
  return (Object.keys(STATES) as JobStateName[]).find((name) => STATES[name] === state);
}

const REASONS: Readonly<Record<ExplainCode, ReasonCode>> = {
  "no-worker": ReasonCode.NO_WORKER,
  "no-credit": ReasonCode.NO_CREDIT,
  throttled: ReasonCode.THROTTLED,
  "behind-ordering-key": ReasonCode.BEHIND_ORDERING_KEY,
  delayed: ReasonCode.DELAYED,
  paused: ReasonCode.PAUSED,
  offered: ReasonCode.OFFERED,
  leased: ReasonCode.LEASED,
  dead: ReasonCode.DEAD,
  "behind-others": ReasonCode.BEHIND_OTHERS,
};

export function queueView({ name, engine, journal }: OpenQueue): MessageInitShape<typeof QueueSchema> {
  const counts = engine.counts();
  const big = <K extends keyof typeof counts>(key: K) => BigInt(counts[key] as number);
  return {
    name,
    settings: settingsMessage(engine.settings),
    createdAt: nsOf(engine.createdAtMs),
    paused: engine.isPaused,
    counts: {
      waiting: big("waiting"),
      offered: big("offered"),
      running: big("running"),
      delayed: big("delayed"),
      dead: big("dead"),
      enqueued: big("enqueued"),
      done: big("done"),
      expired: big("expired"),
      removed: big("removed"),
      failures: big("failures"),
      workers: counts.workers,
      credit: big("credit"),
      waitingByPriority: counts.waitingByPriority.map(BigInt),
      oldestEnqueuedAt: nsOf(counts.oldestEnqueuedAtMs),
      liveBytes: big("liveBytes"),
      diskBytes: BigInt(journal.diskBytes),
    },
  };
}

/** A job with as much of its body as is wanted. @throws DataLoss */
export async function jobView(
  status: JobStatus,
  { journal, bodyBytes }: { readonly journal: Journal; readonly bodyBytes: number },
): Promise<MessageInitShape<typeof JobViewSchema>> {
  const job: Job = fromBinary(JobSchema, await journal.body(status.place));
  const bodySize = BigInt(job.body.length);
  if (job.body.length > bodyBytes) job.body = job.body.slice(0, bodyBytes);
  return {
    job,
    state: STATES[status.state],
    failures: status.failures,
    until: nsOf(status.untilMs),
    workerId: status.workerId,
    attempt: BigInt(status.attempt),
    history: status.history.map(({ atMs, attempt, workerId, reason }) => {
      return { at: nsOf(atMs), attempt: BigInt(attempt), workerId, reason };
    }),
    progress: status.progress,
    progressMessage: status.progressMessage,
    bodySize,
  };
}

/** About how many bytes a view takes in an answer. */
export function viewBytes({ job, history = [] }: MessageInitShape<typeof JobViewSchema>): number {
  const { body, headers = {} } = job ?? {};
  const words = [...Object.entries(headers).flat(), ...history.map(({ reason = "" }) => reason)];
  return 256 + (body?.length ?? 0) + 3 * words.reduce((sum, word) => sum + word.length, 0);
}

export async function explanationView(
  { job, reasons, ahead }: Explanation,
  journal: Journal,
): Promise<MessageInitShape<typeof ExplainJobResponseSchema>> {
  return {
    job: await jobView(job, { journal, bodyBytes: 0 }),
    reasons: reasons.map(({ code, text, subject, untilMs }) => {
      return { code: REASONS[code], text, subject, until: nsOf(untilMs) };
    }),
    ahead: BigInt(ahead),
  };
}

export function scheduleView(schedule: ScheduleStatus): MessageInitShape<typeof ScheduleSchema> {
  const { name, cron, timeZone, job, nextAtMs, lastAtMs } = schedule;
  return { name, cron, timeZone, job: newJobView(job), nextAt: nsOf(nextAtMs), lastAt: nsOf(lastAtMs) };
}

function newJobView({ body, priority, fairnessKey, orderingKey, ttlMs, headers }: CheckedJob) {
  return { body, priority, fairnessKey, orderingKey, ttlMs: BigInt(ttlMs), headers: { ...headers } };
}

export function leaseResult(
  lease: { readonly jobId: string; readonly attempt: bigint },
  { code, leaseUntilMs = 0 }: LeaseOutcome,
): MessageInitShape<typeof LeaseResultSchema> {
  const { jobId, attempt } = lease;
  return { lease: { jobId, attempt }, code: RESULT_CODES[code], leaseUntil: nsOf(leaseUntilMs) };
}
