// Takes jobs into a queue: all of a batch, or none.
import { AlreadyExists, InvalidRequest, LimitExceeded } from "../../errors.ts";
import type { CheckedJob, Enqueued } from "../contract.ts";
import { KEYS_MAX, type QueueCore } from "./core.ts";
import { addedRecord } from "./records.ts";
import { SCHEDULE_PREFIX } from "./schedules.ts";

/** What a stored job takes beside its body, keys and headers, about: numbers, times, tags, checksum. */
const JOB_OVERHEAD_BYTES = 96;

/** @throws AlreadyExists, LimitExceeded, InvalidRequest, and what the journal throws; nothing was taken then */
export function enqueue(core: QueueCore, jobs: readonly CheckedJob[], nowMs: number): readonly Enqueued[] {
  const reserved = jobs.findIndex((job) => job.dedupId.startsWith(SCHEDULE_PREFIX));
  if (reserved !== -1) {
    const description = `ids that begin with "${SCHEDULE_PREFIX}" are the server's own`;
    throw new InvalidRequest("BAD_JOB", [{ field: `jobs[${reserved}].dedup_id`, description }]);
  }
  core.dedup.prune(nowMs);
  const outcomes = decide(core, jobs, nowMs);
  const taken = jobs.filter((_, index) => !outcomes[index]!.duplicate);
  admit(core, taken);
  for (const job of taken) add(core, job, { nowMs, dedupId: job.dedupId });
  return outcomes;
}

/** A schedule's job. @throws as `enqueue` */
export function enqueueScheduled(core: QueueCore, job: CheckedJob, at: { nowMs: number; dedupId: string }): void {
  admit(core, [job]);
  add(core, job, at);
}

/** Which of them are duplicates, of earlier ones or of each other. Nothing changes. */
function decide(core: QueueCore, jobs: readonly CheckedJob[], nowMs: number): Enqueued[] {
  const idsOfBatch = new Map<string, string>();
  const ownIds = new Set<string>();
  let number = core.nextNumber;
  return jobs.map((job) => {
    if (job.dedupId !== "") {
      const first = core.dedup.find(job.dedupId, nowMs)?.jobId ?? idsOfBatch.get(job.dedupId);
      if (first !== undefined) return { jobId: first, duplicate: true };
    }
    if (job.jobId !== "") {
      if (core.jobs.isOwnId(job.jobId) || ownIds.has(job.jobId)) {
        throw new AlreadyExists("job", job.jobId, `queue "${core.name}" has a job of this id that is not done`);
      }
      ownIds.add(job.jobId);
    }
    const jobId = job.jobId || String(number);
    number++;
    if (job.dedupId !== "") idsOfBatch.set(job.dedupId, jobId);
    return { jobId, duplicate: false };
  });
}

/** Whether they fit under every bound. */
function admit(core: QueueCore, jobs: readonly CheckedJob[]): void {
  const { jobsMax, bytesMax } = core.settings;
  const refuse = (why: string, what: string): never => {
    throw new LimitExceeded(
      `Cannot enqueue ${jobs.length} jobs in queue "${core.name}": ${why}`,
      `queue:${core.name}/${what}`,
    );
  };
  const { size } = core.jobs.table;
  if (size + jobs.length > jobsMax) refuse(`it has ${size}, and its jobs_max is ${jobsMax}`, "jobs");
  let bytes = 0;
  let dedupIds = 0;
  for (const job of jobs) {
    bytes += sizeOf(job);
    if (job.dedupId !== "") dedupIds++;
  }
  const { liveBytes } = core.jobs;
  if (liveBytes + bytes > bytesMax) {
    refuse(`they are about ${bytes} bytes, it has ${liveBytes}, and its bytes_max is ${bytesMax}`, "bytes");
  }
  if (!core.dedup.fits(dedupIds)) refuse(`it remembers ${core.dedup.size} dedup ids, as many as it can`, "dedup ids");
  const { keyCount } = core.jobs.order;
  if (keyCount + jobs.length > KEYS_MAX && keyCount + countNew(jobs, "fairnessKey", core) > KEYS_MAX) {
    refuse(`it has ${keyCount} fairness keys, the limit is ${KEYS_MAX}`, "fairness keys");
  }
  const { count } = core.jobs.chains;
  if (count + jobs.length > KEYS_MAX && count + countNew(jobs, "orderingKey", core) > KEYS_MAX) {
    refuse(`it has ${count} ordering keys, the limit is ${KEYS_MAX}`, "ordering keys");
  }
  if (jobs.length > 0) core.journal.admit(bytes);
}

function countNew(jobs: readonly CheckedJob[], field: "fairnessKey" | "orderingKey", core: QueueCore): number {
  const isNew = (key: string): boolean =>
    field === "fairnessKey" ? core.jobs.order.findKey(key) === undefined : key !== "" && !core.jobs.chains.has(key);
  return new Set(jobs.map((job) => job[field]).filter(isNew)).size;
}

/** About: what is admitted must not be less than what is appended. Strings are at most three bytes a character. */
function sizeOf(job: CheckedJob): number {
  let characters = job.fairnessKey.length + job.orderingKey.length + job.dedupId.length + job.jobId.length;
  for (const name in job.headers) characters += name.length + job.headers[name]!.length + 4;
  return job.body.length + 3 * characters + JOB_OVERHEAD_BYTES;
}

function add(core: QueueCore, job: CheckedJob, { nowMs, dedupId }: { nowMs: number; dedupId: string }): void {
  const number = core.nextNumber;
  const jobId = job.jobId || String(number);
  const expiresAtMs = job.ttlMs === 0 ? 0 : nowMs + job.ttlMs;
  const place = core.append(addedRecord(job, { number, jobId, enqueuedAtMs: nowMs, expiresAtMs, dedupId }));
  core.nextNumber++;
  core.totals.enqueued++;
  const { priority, fairnessKey, orderingKey } = job;
  const bytes = core.journal.appendedBytes;
  const eligibleAtMs = Math.max(nowMs, job.notBeforeMs);
  core.jobs.add(
    {
      number,
      place,
      bytes,
      priority,
      fairnessKey,
      orderingKey,
      enqueuedAtMs: nowMs,
      eligibleAtMs,
      expiresAtMs,
      jobId: job.jobId,
    },
    nowMs,
  );
  if (dedupId !== "") core.dedup.add({ dedupId, jobId, untilMs: nowMs + core.settings.dedupWindowMs, place });
}
