// How queues and jobs read: for people, and as JSON.
import { type ExplainJobResponse, JobState, type JobView, type Queue, ReasonCode, type Schedule } from "@sluice/client";
import { plural } from "../terminal.ts";
import { formatTime } from "./log-line.ts";

const NONE = 0n;

/** "waiting", "running", … */
function stateName(state: JobState): string {
  return nameOf(JobState, state).toLowerCase();
}

/** What a value of an enum is called; of a newer contract's, its number. */
function nameOf(values: Readonly<Record<string, number>>, value: number): string {
  return Object.entries(values).find(([, each]) => each === value)?.[0] ?? String(value);
}

/** The counts of a queue, every one said. */
export function countsToJson({ counts }: Queue): object {
  return {
    waiting: counts?.waiting ?? NONE,
    offered: counts?.offered ?? NONE,
    running: counts?.running ?? NONE,
    delayed: counts?.delayed ?? NONE,
    dead: counts?.dead ?? NONE,
    done: counts?.done ?? NONE,
    enqueued: counts?.enqueued ?? NONE,
    expired: counts?.expired ?? NONE,
    removed: counts?.removed ?? NONE,
    failures: counts?.failures ?? NONE,
    workers: counts?.workers ?? 0,
    credit: counts?.credit ?? NONE,
    waitingByPriority: counts?.waitingByPriority ?? [],
    oldestEnqueuedAt: counts?.oldestEnqueuedAt ?? NONE,
    liveBytes: counts?.liveBytes ?? NONE,
    diskBytes: counts?.diskBytes ?? NONE,
  };
}

export function queueToJson(queue: Queue): object {
  const { $typeName: _name, $unknown: _unknown, ...settings } = { $unknown: undefined, ...queue.settings };
  const { name, paused, createdAt } = queue;
  return { name, paused, createdAt, ...countsToJson(queue), settings };
}

/** @param body whether the body is said, too */
export function jobToJson(view: JobView, { body }: { readonly body: boolean }): object {
  const { job } = view;
  return {
    jobId: job?.jobId ?? "",
    state: stateName(view.state),
    priority: job?.priority ?? 0,
    fairnessKey: job?.fairnessKey ?? "",
    orderingKey: job?.orderingKey ?? "",
    enqueuedAt: job?.enqueuedAt ?? NONE,
    notBefore: job?.notBefore ?? NONE,
    expiresAt: job?.expiresAt ?? NONE,
    dedupId: job?.dedupId ?? "",
    headers: job?.headers ?? {},
    bodySize: view.bodySize,
    ...(body ? { body: job?.body ?? new Uint8Array(0) } : {}),
    failures: view.failures,
    until: view.until,
    workerId: view.workerId,
    attempt: view.attempt,
    progress: view.progress,
    progressMessage: view.progressMessage,
    history: view.history.map(({ at, attempt, workerId, reason }) => ({ at, attempt, workerId, reason })),
  };
}

export function explanationToJson({ job, reasons, ahead }: ExplainJobResponse): object {
  return {
    ...(job === undefined ? {} : jobToJson(job, { body: false })),
    reasons: reasons.map(({ code, text, subject, until }) => ({
      code: nameOf(ReasonCode, code),
      text,
      subject,
      until,
    })),
    ahead,
  };
}

export function scheduleToJson({ name, cron, timeZone, nextAt, lastAt, job }: Schedule): object {
  const { priority, fairnessKey = "", orderingKey = "", body = new Uint8Array(0) } = job ?? {};
  return { name, cron, timeZone, nextAt, lastAt, priority: priority ?? null, fairnessKey, orderingKey, body };
}

/** One line for a job in a table: id, state, priority, key, time, failures, size, beginning of the body. */
export function jobRow(view: JobView, isUtc: boolean): string[] {
  const { job, state, failures, bodySize } = view;
  const enqueued = job === undefined ? "" : formatTime(job.enqueuedAt, isUtc);
  const key = shown(job?.fairnessKey ?? "");
  const numbers = [String(job?.priority ?? ""), String(failures), String(bodySize)];
  const [priority = "", failed = "", size = ""] = numbers;
  return [job?.jobId ?? "", stateName(state), priority, key, enqueued, failed, size, beginningOf(job?.body)];
}

export const JOB_HEADER = ["JOB", "STATE", "PRIORITY", "KEY", "ENQUEUED", "FAILURES", "BYTES", "BODY"];
/** Columns of numbers. */
export const JOB_NUMBERS = [2, 5, 6];

export function beginningOf(body: Uint8Array | undefined): string {
  return shown(new TextDecoder().decode(body));
}

/** Control characters are shown, not obeyed: what producers, workers and services say must not steer a terminal. */
export function shown(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, "·");
}

/** Why a job is not running, for people. */
export function formatExplanation(id: string, { job, reasons, ahead }: ExplainJobResponse, isUtc: boolean): string {
  const state = job === undefined ? "unknown" : stateName(job.state);
  const failed = job === undefined || job.failures === 0 ? "" : `, failed ${job.failures} times`;
  const progress = job === undefined || job.progress === 0 ? "" : `, ${Math.round(job.progress * 100)} % done`;
  const message = job === undefined || job.progressMessage === "" ? "" : `: ${shown(job.progressMessage)}`;
  const lines = [
    `${id}: ${state}${failed}${progress}${message}`,
    ...reasons.map(({ text, until }) => {
      const when = formatUntil(until, isUtc);
      return when === "" ? `  ${shown(text)}` : `  ${shown(text)} (until ${when})`;
    }),
    ...(ahead > 0n ? [`  ${plural(Number(ahead), "job")} before it`] : []),
  ];
  return lines.join("\n");
}

/** When, for people; "" for never. */
export function formatUntil(ns: bigint, isUtc: boolean): string {
  return ns === NONE ? "" : formatTime(ns, isUtc);
}
