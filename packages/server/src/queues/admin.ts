// The handlers of everything that is not a job's way: queues, what is in them, schedules. Parse, authorize, do.
//
// AD1. What changes something is answered when it is on disk.
// AD2. What goes over many jobs goes in pieces, with a turn for others in between.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type JobState, type JobViewSchema, type QueueService } from "@sluice/api";
import type { ServiceHandlers } from "@sluice/rpc";
import { NotFound, PermissionDenied, SluiceError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { type Action, type Authorize, type Subject, subjectOf } from "../security/authorize.ts";
import { nextTurn } from "../stream/turn.ts";
import type { JobStateName, JobStatus, OpenQueue, QueueCatalog } from "./contract.ts";
import { bad, parseCount, parseQueueName, parseSchedule } from "./requests.ts";
import { parseSettings } from "./settings.ts";
import { explanationView, findStateName, jobView, queueView, scheduleView, viewBytes } from "./views.ts";

/** An answer with jobs is cut short above: the limit of most clients is 4 MiB. */
const ANSWER_BYTES_MAX = 3 * 1024 * 1024;

export interface AdminOptions {
  readonly catalog: QueueCatalog;
  readonly authorize: Authorize;
  readonly limits: Limits;
  /** Checks a name, asks, and finds. @throws InvalidRequest, PermissionDenied, NotFound */
  readonly open: (subject: Subject, action: Action, name: string, field?: string) => OpenQueue;
}

type Admin = Omit<ServiceHandlers<typeof QueueService>, "work" | "extendLeases" | "enqueue" | "enqueueStream">;

export function createAdminHandlers(options: AdminOptions): Admin {
  return { ...queueHandlers(options), ...jobHandlers(options), ...scheduleHandlers(options) };
}

function queueHandlers({ catalog, authorize, open }: AdminOptions): Admin {
  function mayDescribe(subject: Subject, name: string): boolean {
    try {
      authorize(subject, "describe", { type: "queue", name });
      return true;
    } catch (error) {
      if (error instanceof PermissionDenied) return false;
      throw error;
    }
  }

  return {
    async createQueue(request, call) {
      const name = parseQueueName(request.name, "name");
      authorize(subjectOf(call), "administer", { type: "queue", name });
      return { queue: queueView(await catalog.create(name, parseSettings(request.settings))) };
    },
    async updateQueue({ name, settings }, call) {
      const queue = open(subjectOf(call), "administer", name, "name");
      const { place } = queue.engine.update(parseSettings(settings, queue.engine.settings));
      await queue.journal.durable(place);
      return { queue: queueView(queue) };
    },
    getQueue: ({ name }, call) => ({ queue: queueView(open(subjectOf(call), "describe", name, "name")) }),
    listQueues({ pageSize, pageToken }, call) {
      const size = parseCount(pageSize, { field: "page_size", byDefault: 100, max: 1000 });
      const subject = subjectOf(call);
      const after = Buffer.from(pageToken, "base64url").toString();
      const rest = catalog.list().filter(({ name }) => name > after && mayDescribe(subject, name));
      const page = rest.slice(0, size);
      const last = rest.length > page.length ? (page.at(-1)?.name ?? "") : "";
      return { queues: page.map(queueView), nextPageToken: Buffer.from(last).toString("base64url") };
    },
    async deleteQueue(request, call) {
      const name = parseQueueName(request.name, "name");
      authorize(subjectOf(call), "administer", { type: "queue", name });
      // With `force` also one that cannot be opened.
      if (!request.force) checkEmpty(open(subjectOf(call), "administer", name, "name"));
      await catalog.remove(name);
      return {};
    },
    async pause(request, call) {
      const { engine, journal } = open(subjectOf(call), "administer", request.queue);
      await journal.durable(engine.pause().place);
      return {};
    },
    async resume(request, call) {
      const { engine, journal } = open(subjectOf(call), "administer", request.queue);
      await journal.durable(engine.resume().place);
      return {};
    },
  };
}

/** @throws SluiceError "failed-precondition" */
function checkEmpty({ name, engine }: OpenQueue): void {
  const { waiting, offered, running, delayed, dead } = engine.counts();
  const jobs = waiting + offered + running + delayed + dead;
  if (jobs === 0) return;
  const message = `Cannot delete the queue "${name}": there are ${jobs} jobs in it; purge it, or say force`;
  throw new SluiceError("failed-precondition", message, {
    reason: "QUEUE_NOT_EMPTY",
    metadata: { jobs: String(jobs) },
  });
}

function jobHandlers({ open }: AdminOptions): Admin {
  return {
    async peekJobs({ queue, state, limit, bodyBytes }, call) {
      const { engine, journal } = open(subjectOf(call), "read", queue);
      const count = parseCount(limit, { field: "limit", byDefault: 20, max: 1000 });
      const jobs = engine.peek(parseState(state) ?? "waiting", count);
      return { jobs: await viewsOf(jobs, { journal, bodyBytes }) };
    },
    async explainJob({ queue, jobId }, call) {
      const { engine, journal } = open(subjectOf(call), "read", queue);
      return await explanationView(engine.explain(findJob(engine, jobId)), journal);
    },
    async cancelJob({ queue, jobId }, call) {
      const { engine, journal } = open(subjectOf(call), "administer", queue);
      await journal.durable(engine.cancel(findJob(engine, jobId)).place);
      return {};
    },
    async purge({ queue, state }, call) {
      const { engine, journal } = open(subjectOf(call), "administer", queue);
      const wanted = parseState(state);
      if (wanted === "offered" || wanted === "running") {
        throw bad("state", "is none of WAITING, DELAYED and DEAD: jobs that are at a worker are cancelled one by one");
      }
      let removed = 0;
      for (;;) {
        const { value, place } = engine.purge(wanted);
        removed += value.removed;
        await journal.durable(place);
        if (!value.more) return { removed: BigInt(removed) };
        await nextTurn();
      }
    },
    async listDeadJobs({ queue, pageSize, pageToken, bodyBytes }, call) {
      const { engine, journal } = open(subjectOf(call), "read", queue);
      const size = parseCount(pageSize, { field: "page_size", byDefault: 100, max: 1000 });
      const jobs: MessageInitShape<typeof JobViewSchema>[] = [];
      let token = pageToken;
      for (let bytes = 0; jobs.length < size && bytes < ANSWER_BYTES_MAX;) {
        const page = engine.listDead(token, 1);
        token = page.nextToken;
        for (const status of page.jobs) {
          const view = await jobView(status, { journal, bodyBytes });
          bytes += viewBytes(view);
          jobs.push(view);
        }
        if (token === "") break;
      }
      return { jobs, nextPageToken: token };
    },
    async redrive({ queue, jobIds }, call) {
      const { engine, journal } = open(subjectOf(call), "administer", queue);
      const numbers = jobIds.length === 0 ? undefined : jobIds.map((jobId) => findJob(engine, jobId));
      let redriven = 0;
      for (;;) {
        const { value, place } = engine.redrive(numbers);
        redriven += value.redriven;
        await journal.durable(place);
        if (!value.more) return { redriven: BigInt(redriven) };
        await nextTurn();
      }
    },
  };
}

function scheduleHandlers({ open, limits }: AdminOptions): Admin {
  return {
    async putSchedule({ queue, schedule }, call) {
      const { engine, journal } = open(subjectOf(call), "administer", queue);
      const { value, place } = engine.putSchedule(parseSchedule(schedule, limits));
      await journal.durable(place);
      return { schedule: scheduleView(value) };
    },
    listSchedules({ queue }, call) {
      const { engine } = open(subjectOf(call), "describe", queue);
      return { schedules: engine.schedules().map(scheduleView) };
    },
    async deleteSchedule({ queue, name }, call) {
      const { engine, journal } = open(subjectOf(call), "administer", queue);
      await journal.durable(engine.deleteSchedule(name).place);
      return {};
    },
  };
}

/** @throws NotFound */
function findJob(engine: OpenQueue["engine"], jobId: string): number {
  const number = engine.find(jobId);
  if (number === undefined) throw new NotFound("job", jobId, "it is done, was removed, or never was");
  return number;
}

/** undefined: the request names none. @throws InvalidRequest */
function parseState(state: JobState): JobStateName | undefined {
  if (state === 0) return undefined;
  const name = findStateName(state);
  if (name === undefined) throw bad("state", `${state} is none of the states of a job`);
  return name;
}

async function viewsOf(
  jobs: readonly JobStatus[],
  options: Parameters<typeof jobView>[1],
): Promise<MessageInitShape<typeof JobViewSchema>[]> {
  const views: MessageInitShape<typeof JobViewSchema>[] = [];
  let bytes = 0;
  for (const status of jobs) {
    const view = await jobView(status, options);
    views.push(view);
    bytes += viewBytes(view);
    if (bytes > ANSWER_BYTES_MAX) break;
  }
  return views;
}
