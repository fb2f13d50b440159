// What requests of queues may say: everything is checked here, once, and trusted inside.
import type { NewJob, Schedule, Subscribe } from "@sluice/api";
import { type FieldViolation, InvalidRequest, LimitExceeded } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { CheckedJob, CheckedSchedule } from "./contract.ts";
import type { LaneWindow } from "./credit.ts";
import { PRIORITIES } from "./credit.ts";

/** A name that `parseQueueName` has checked. */
export type QueueName = string & { readonly brand: unique symbol };

const NAME = /^[a-z0-9][a-z0-9._-]{0,127}$/;
const NAME_ALLOWED =
  "has 1 to 128 lower-case letters, digits, dots, dashes or underscores and begins with a letter or digit";
const JOB_ID = /^(?![0-9]+$)[A-Za-z0-9._:-]{1,128}$/;
const WORKER_ID_BYTES_MAX = 256;
const TOKEN_BYTES_MAX = 64;
const DEFAULT_PRIORITY = 3;
const DEFAULT_HEARTBEAT_MS = 30_000;
const HEARTBEAT_MS_MIN = 100;
const LEASE_MS_MIN = 100;
const LEASE_MS_MAX = 24 * 3600 * 1000;
const REASON_CHARACTERS_MAX = 1024;
/** 2^53 ns are 104 days: times are kept in ms, rounded up, so that nothing is early. */
const NS_PER_MS = 1_000_000n;
const TTL_MS_MAX = 3650n * 24n * 3600n * 1000n;

export function isQueueName(name: string): name is QueueName {
  return NAME.test(name);
}

/** @throws InvalidRequest */
export function parseQueueName(name: string, field = "queue"): QueueName {
  if (isQueueName(name)) return name;
  throw new InvalidRequest("INVALID_QUEUE_NAME", [{ field, description: `a queue's name ${NAME_ALLOWED}` }]);
}

/** Unix ms of Unix ns, rounded up. */
export function msOf(ns: bigint): number {
  return Number((ns + NS_PER_MS - 1n) / NS_PER_MS);
}

/**
 * The jobs of a batch.
 * @throws InvalidRequest with all that is wrong; LimitExceeded for too many jobs, too large a body or headers
 */
export function parseNewJobs(jobs: readonly NewJob[], limits: Limits): CheckedJob[] {
  if (jobs.length > limits.jobBatchMax) {
    const text = `Cannot enqueue ${jobs.length} jobs in one batch: the limit is ${limits.jobBatchMax}`;
    throw new LimitExceeded(text, "jobs of a batch");
  }
  const violations: FieldViolation[] = [];
  const checked = jobs.map((job, i) => parseNewJob(job, { limits, violations, field: `jobs[${i}]` }));
  if (violations.length > 0) throw new InvalidRequest("BAD_JOB", violations);
  return checked;
}

interface JobChecks {
  readonly limits: Limits;
  readonly violations: FieldViolation[];
  readonly field: string;
}

function parseNewJob(job: NewJob, { limits, violations, field }: JobChecks): CheckedJob {
  const {
    body,
    priority = DEFAULT_PRIORITY,
    fairnessKey,
    orderingKey,
    notBefore,
    ttlMs,
    dedupId,
    headers,
    jobId,
  } = job;
  if (body.length > limits.jobBytesMax) {
    const text = `Cannot enqueue ${field}: its body has ${body.length} bytes, the limit is ${limits.jobBytesMax}`;
    throw new LimitExceeded(text, "bytes of a job's body");
  }
  checkHeaders(headers, field, limits);
  if (priority >= PRIORITIES) violate("priority", `${priority} is not from 0 to ${PRIORITIES - 1}`);
  checkKey("fairness_key", fairnessKey);
  checkKey("ordering_key", orderingKey);
  checkKey("dedup_id", dedupId);
  if (notBefore < 0n) violate("not_before", `${notBefore} is no Unix time in ns`);
  if (ttlMs > TTL_MS_MAX) violate("ttl_ms", `${ttlMs} is more than ${TTL_MS_MAX}`);
  if (jobId !== "" && !JOB_ID.test(jobId)) {
    violate("job_id", `"${jobId.slice(0, 140)}" is not up to 128 of A-Z a-z 0-9 . _ : -, or digits alone`);
  }
  const times = { notBeforeMs: msOf(notBefore), ttlMs: Number(ttlMs) };
  return { body, priority, fairnessKey, orderingKey, ...times, dedupId, headers, jobId };

  function checkKey(name: string, key: string): void {
    const fault = faultOfKey(key, limits);
    if (fault !== undefined) violate(name, fault);
  }
  function violate(name: string, description: string): void {
    violations.push({ field: `${field}.${name}`, description });
  }
}

function faultOfKey(key: string, { jobKeyBytesMax }: Limits): string | undefined {
  // Each UTF-16 unit takes a byte at least and three at most: most keys need not be measured.
  if (key.length * 3 <= jobKeyBytesMax) return undefined;
  const bytes = Buffer.byteLength(key);
  return bytes > jobKeyBytesMax ? `has ${bytes} bytes, the limit is ${jobKeyBytesMax}` : undefined;
}

function checkHeaders(headers: Readonly<Record<string, string>>, field: string, limits: Limits): void {
  let bytes = 0;
  for (const name in headers) bytes += Buffer.byteLength(name) + Buffer.byteLength(headers[name]!);
  if (bytes <= limits.jobHeaderBytesMax) return;
  const text = `Cannot enqueue ${field}: its headers have ${bytes} bytes, the limit is ${limits.jobHeaderBytesMax}`;
  throw new LimitExceeded(text, "bytes of a job's headers");
}

/** @throws InvalidRequest; what is wrong with its cron expression or time zone, the engine says */
export function parseSchedule(schedule: Schedule | undefined, limits: Limits): CheckedSchedule {
  if (schedule === undefined) throw bad("schedule", "is missing");
  const { name, cron, timeZone, job } = schedule;
  if (!NAME.test(name)) throw bad("schedule.name", `a schedule's name ${NAME_ALLOWED}`);
  if (job === undefined) throw bad("schedule.job", "is missing");
  const violations: FieldViolation[] = [];
  const checked = parseNewJob(job, { limits, violations, field: "schedule.job" });
  for (const [field, value] of [
    ["job_id", checked.jobId],
    ["dedup_id", checked.dedupId],
  ] as const) {
    if (value !== "") violations.push({ field: `schedule.job.${field}`, description: "the schedule makes its own" });
  }
  if (checked.notBeforeMs !== 0) {
    violations.push({ field: "schedule.job.not_before", description: "the cron expression says when" });
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_JOB", violations);
  return { name, cron, timeZone, job: checked };
}

/** What a worker asks for when it comes. */
export interface CheckedSubscribe {
  readonly queue: QueueName;
  /** "": the server makes one. */
  readonly workerId: string;
  /** Of an earlier session, in hexadecimal; "": none. */
  readonly token: string;
  readonly explicitStart: boolean;
  /** 0: the queue's. */
  readonly leaseMs: number;
  /** 0: none. */
  readonly heartbeatMs: number;
  readonly lanes: readonly LaneWindow[];
}

/** @throws InvalidRequest with all that is wrong */
export function parseSubscribe(request: Subscribe): CheckedSubscribe {
  const { queue, workerId, sessionToken, explicitStart, leaseMs, heartbeatMs = DEFAULT_HEARTBEAT_MS, lanes } = request;
  const violations: FieldViolation[] = [];
  if (!isQueueName(queue)) violations.push({ field: "queue", description: `a queue's name ${NAME_ALLOWED}` });
  if (Buffer.byteLength(workerId) > WORKER_ID_BYTES_MAX) {
    violations.push({ field: "worker_id", description: `has more than ${WORKER_ID_BYTES_MAX} bytes` });
  }
  if (sessionToken.length > TOKEN_BYTES_MAX)
    violations.push({ field: "session_token", description: "is none of ours" });
  checkLease(leaseMs, violations);
  if (heartbeatMs !== 0 && heartbeatMs < HEARTBEAT_MS_MIN) {
    violations.push({
      field: "heartbeat_ms",
      description: `${heartbeatMs} is neither 0 nor at least ${HEARTBEAT_MS_MIN}`,
    });
  }
  checkLanes(lanes, violations);
  if (violations.length > 0) throw new InvalidRequest("BAD_SUBSCRIBE", violations);
  const token = Buffer.from(sessionToken).toString("hex");
  return { queue: queue as QueueName, workerId, token, explicitStart, leaseMs, heartbeatMs, lanes };
}

/** @throws InvalidRequest */
export function parseLanes(lanes: readonly LaneWindow[]): readonly LaneWindow[] {
  const violations: FieldViolation[] = [];
  checkLanes(lanes, violations);
  if (violations.length > 0) throw new InvalidRequest("BAD_LANES", violations);
  return lanes;
}

function checkLanes(lanes: readonly LaneWindow[], violations: FieldViolation[]): void {
  if (lanes.length > PRIORITIES) {
    violations.push({ field: "lanes", description: `${lanes.length} lanes are more than ${PRIORITIES}` });
  }
  for (const [i, { minPriority }] of lanes.entries()) {
    if (minPriority < PRIORITIES) continue;
    const description = `${minPriority} is not from 0 to ${PRIORITIES - 1}`;
    violations.push({ field: `lanes[${i}].min_priority`, description });
  }
}

/** A lease length in a request; 0 stands for another one. */
function checkLease(leaseMs: number, violations: FieldViolation[]): void {
  if (leaseMs === 0 || (leaseMs >= LEASE_MS_MIN && leaseMs <= LEASE_MS_MAX)) return;
  const description = `${leaseMs} is neither 0 nor from ${LEASE_MS_MIN} to ${LEASE_MS_MAX}`;
  violations.push({ field: "lease_ms", description });
}

/** @throws InvalidRequest */
export function parseLeaseMs(leaseMs: number): number {
  const violations: FieldViolation[] = [];
  checkLease(leaseMs, violations);
  if (violations.length > 0) throw new InvalidRequest("BAD_FIELD", violations);
  return leaseMs;
}

/** @throws InvalidRequest */
export function parseFairnessKey(key: string, field: string, limits: Limits): string {
  const fault = faultOfKey(key, limits);
  if (fault !== undefined) throw bad(field, fault);
  return key;
}

/** How many rows an answer has. @throws InvalidRequest */
export function parseCount(value: number, options: { field: string; byDefault: number; max: number }): number {
  const { field, byDefault, max } = options;
  if (value < 0 || value > max) throw bad(field, `${value} is not from 0 (${byDefault}) to ${max}`);
  return value === 0 ? byDefault : value;
}

/** What people are told later; a longer one is cut. */
export function parseReason(reason: string): string {
  return reason.length <= REASON_CHARACTERS_MAX ? reason : `${reason.slice(0, REASON_CHARACTERS_MAX - 1)}…`;
}

/** One field is wrong. */
export function bad(field: string, description: string): InvalidRequest {
  return new InvalidRequest("BAD_FIELD", [{ field, description }]);
}
