// Enqueues jobs in batches, each of which may be sent again after a lost answer.
//
// EN1. Every job has a dedup_id when it is sent first, its producer's or one made here: a second try adds nothing.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { EnqueuedJob, EnqueueRequestSchema, EnqueueResponse } from "@sluice/api";
import { type NewQueueJob, toNewJob } from "./queue-job.ts";
import type { Random } from "./time.ts";

/** How jobs are enqueued. */
export interface EnqueueOptions {
  /**
   * "made": a job without a dedupId gets one, so that a lost answer does not make two of it. "given": it has none, which
   * costs the server less, and after a lost answer there may be two. Default: "made".
   */
  readonly dedupIds?: "made" | "given";
}

/** A batch that the server answers quickly, within its limits of jobs and of one message. */
const BATCH_JOBS_MAX = 1000;
const BATCH_BYTES_MAX = 1024 * 1024;
/** What a job takes beside its body, about. */
const JOB_BYTES = 128;

type EnqueueRequest = MessageInitShape<typeof EnqueueRequestSchema>;

/**
 * @param call sends one batch, again where that helps
 * @returns one for each job, in order. Jobs up to 1,000 and a MiB of bodies are one batch: all of them are taken or none.
 */
export async function enqueueJobs(
  queue: string,
  jobs: Iterable<NewQueueJob>,
  options: EnqueueOptions & {
    readonly call: (request: EnqueueRequest) => Promise<EnqueueResponse>;
    readonly random: Random;
  },
): Promise<EnqueuedJob[]> {
  const prefix = options.dedupIds === "given" ? undefined : Buffer.from(options.random.bytes(12)).toString("base64url");
  const enqueued: EnqueuedJob[] = [];
  let batch: ReturnType<typeof toNewJob>[] = [];
  let bytes = 0;
  let count = 0;
  const send = async (): Promise<void> => {
    const answer = await options.call({ queue, jobs: batch });
    enqueued.push(...answer.jobs);
    batch = [];
    bytes = 0;
  };
  for (const job of jobs) {
    const made = toNewJob(job);
    const size = made.body.length + JOB_BYTES;
    if (batch.length > 0 && (batch.length === BATCH_JOBS_MAX || bytes + size > BATCH_BYTES_MAX)) await send();
    batch.push(prefix !== undefined && made.dedupId === "" ? { ...made, dedupId: `${prefix}.${count}` } : made); // EN1
    bytes += size;
    count++;
  }
  if (batch.length > 0) await send();
  return enqueued;
}
