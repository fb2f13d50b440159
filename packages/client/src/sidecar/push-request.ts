// One job as an HTTP request to the service beside, and what its answer says of the job.
//
// PR1. The job's own headers travel as `sluice-meta-NAME`; those that HTTP itself knows what to do with, by their own names.
//      What no header may hold is percent-encoded, in names and values.
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { type QueueJob, RejectJob, ReturnJob } from "../queue-job.ts";

/** What is kept of an answer as the reason of a failure, bytes. */
const REASON_BYTES_MAX = 1024;
/** Of a Retry-After: a day. */
const RETRY_AFTER_MS_MAX = 24 * 3600 * 1000;
const PLAIN_HEADERS: ReadonlySet<string> = new Set(["content-type", "traceparent", "tracestate", "baggage"]);

/** Nobody listens there: the job has not been tried. */
export class ServiceAway extends Error {
  override readonly name = "ServiceAway";
}

export interface PushTarget {
  readonly url: URL;
  readonly queue: string;
  readonly agent: Agent;
}

/**
 * Posts a job and takes the answer: returning says that it is done.
 * @throws RejectJob after 409 and 422, ReturnJob after 429 and 503 with Retry-After, ServiceAway, Error after anything else
 */
export async function postJob(target: PushTarget, job: QueueJob, options: PostOptions): Promise<void> {
  const { status, retryAfter, text } = await post(target, job, options);
  if (status >= 200 && status < 300) return;
  const reason = text === "" ? `HTTP ${status}` : `HTTP ${status}: ${text}`;
  if (status === 409 || status === 422) throw new RejectJob(reason);
  const throttleMs = status === 429 || status === 503 ? parseRetryAfter(retryAfter, options.nowMs()) : undefined;
  if (throttleMs !== undefined) throw new ReturnJob(reason, { throttleMs });
  throw new Error(reason);
}

interface PostOptions {
  /** The job is not this one's any more. */
  readonly signal: AbortSignal;
  /** Unix ms. */
  readonly nowMs: () => number;
}

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** The first line of the body, where it says something. */
  readonly text: string;
}

async function post(
  target: PushTarget,
  job: QueueJob,
  { signal }: Pick<PostOptions, "signal">,
  isSecond = false,
): Promise<Answer> {
  const { url, agent } = target;
  const sent = request(url, { method: "POST", agent, headers: headersOf(target, job), signal });
  try {
    const answer = await answerTo(sent, job.body);
    return await readAnswer(answer);
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    // A second time: the first one may have reached the service before it went.
    if ((syscall === "connect" || syscall === "getaddrinfo") && !isSecond) {
      throw new ServiceAway(`Nobody answers at ${url.origin} (${code})`, { cause: error });
    }
    // The service closed a connection that was idle, just then.
    if (sent.reusedSocket && code === "ECONNRESET" && !isSecond && !signal.aborted) {
      return await post(target, job, { signal }, true);
    }
    throw error;
  }
}

function answerTo(sent: ClientRequest, body: Uint8Array): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once("response", resolve);
    sent.once("error", reject);
    sent.end(body);
  });
}

async function readAnswer(answer: IncomingMessage): Promise<Answer> {
  const { statusCode: status = 0, headers } = answer;
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    if (bytes < REASON_BYTES_MAX) pieces.push(piece);
    bytes += piece.length;
  }
  const [line = ""] = Buffer.concat(pieces).subarray(0, REASON_BYTES_MAX).toString("utf8").trim().split("\n");
  return { status, retryAfter: headers["retry-after"], text: line };
}

/** Of seconds, or a date of HTTP. undefined: it is neither. */
export function parseRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d{1,9}$/u.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX);
}

function headersOf({ queue }: PushTarget, job: QueueJob): Record<string, string> {
  const headers: Record<string, string> = {
    "content-type": "application/octet-stream",
    "content-length": String(job.body.length),
    "sluice-queue": queue,
    "sluice-job-id": job.id,
    "sluice-attempt": String(job.attempt),
    "sluice-priority": String(job.priority),
    "sluice-failures": String(job.failures),
    "sluice-enqueued-at": String(job.enqueuedAt),
  };
  if (job.fairnessKey !== "") headers["sluice-fairness-key"] = encodeValue(job.fairnessKey);
  if (job.orderingKey !== "") headers["sluice-ordering-key"] = encodeValue(job.orderingKey);
  for (const [name, value] of Object.entries(job.headers)) {
    const lower = name.toLowerCase();
    headers[PLAIN_HEADERS.has(lower) ? lower : `sluice-meta-${encodeName(lower)}`] = encodeValue(value);
  }
  return headers;
}

/** PR1: `encodeURIComponent` leaves two characters that no name of a header may have. */
function encodeName(name: string): string {
  return encodeURIComponent(name.toWellFormed()).replaceAll("(", "%28").replaceAll(")", "%29");
}

/** PR1: what is not visible ASCII, and the sign of the encoding. */
function encodeValue(value: string): string {
  return value.toWellFormed().replaceAll(/[^\x20-\x24\x26-\x7e]+/gu, (text) => encodeURIComponent(text));
}
