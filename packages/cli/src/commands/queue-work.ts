// `sluice queue work`: runs a program for each job.
import { connect, type JobHandler, RejectJob, ReturnJob, WorkerDrained } from "@sluice/client";
import { Command } from "commander";
import { openPrograms, type ProgramEnd, type Programs } from "../queue/run-program.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { EXIT } from "../exit-codes.ts";
import { reasonOf } from "../failure.ts";
import { plural } from "../terminal.ts";
import { parseSlots } from "./slots-argument.ts";
import { parseDurationMs } from "./time-argument.ts";

interface WorkOptions {
  readonly exec: string;
  readonly slots: number;
  readonly window?: number;
  readonly lease?: number;
  readonly workerId?: string;
  readonly server: string;
  readonly output: OutputFormat;
}

/** As sysexits.h has them: EX_TEMPFAIL and EX_DATAERR. */
const EXIT_RETURN = 75;
const EXIT_REJECT = 65;

export function queueWorkCommand(context: CommandContext): Command {
  const command = new Command("work")
    .summary("run a program for each job")
    .description(
      "Runs a program for each job: its body is the program's stdin, and SLUICE_JOB_ID, SLUICE_ATTEMPT, SLUICE_PRIORITY, " +
        "SLUICE_FAILURES and SLUICE_QUEUE are in its environment. When it exits with 0 the job is done; with 75 it goes " +
        "back to its place, with 65 it is dead, with anything else it has failed and is tried again. Ctrl-C takes no more " +
        "jobs and waits for the running ones; a second one ends them.",
    )
    .argument("<name>", "the queue")
    .requiredOption("--exec <command>", "the program, for the shell")
    .option("--slots <count>", "programs at the same time", parseSlots, 1)
    .option(
      "--window <count>",
      "jobs that may be here: what is beyond the slots are offers (default: as many as slots)",
      parseSlots,
    )
    .option(
      "--lease <time>",
      "how long a job is this worker's without a heartbeat (default: the queue's)",
      parseDurationMs,
    )
    .option("--worker-id <id>", "what this worker is called (default: the server makes a name)");
  addServerOption(addOutputOption(command));
  return command.action(async (name: string, options: WorkOptions) => {
    if (options.window !== undefined && options.window < options.slots) {
      throw new CommandFailure(`--window ${options.window} is less than the ${options.slots} slots`, {
        exitCode: EXIT.usage,
      });
    }
    await work(name, options, context);
  });
}

async function work(queue: string, options: WorkOptions, context: CommandContext): Promise<void> {
  const { exec, slots, window, lease, workerId, server } = options;
  const output = createOutput(context, options.output);
  await using client = connect(server);
  using programs = openPrograms(exec, { ...context, isJson: options.output === "json" });
  const handler = handlerOf(queue, programs, output);
  const begun = new Set<bigint>();
  const run: JobHandler = (job, jobContext) => {
    begun.add(job.attempt);
    return handler(job, jobContext);
  };
  const worker = client.queues.worker(queue, run, {
    slots,
    ...(window === undefined ? {} : { window }),
    ...(lease === undefined ? {} : { leaseMs: lease }),
    ...(workerId === undefined ? {} : { workerId }),
    onConnected: ({ workerId }) => output.note(`Working on ${queue} as ${workerId}, with ${plural(slots, "slot")}`),
    onDisconnected: (error, { retryInMs }) =>
      output.note(`${reasonOf(error)}; trying again in ${(retryInMs / 1000).toFixed(1)} s`),
    onEnded: ({ id, attempt }) => {
      if (!begun.delete(attempt)) output.note(`job ${id} goes back: it had not begun`);
    },
    onLeaseLost: ({ message, attempt }) => {
      begun.delete(attempt);
      output.note(message);
    },
    onWarning: (text) => output.note(text),
  });
  const onStop = (): void => {
    const { running, unconfirmed, isConnected } = worker;
    if (running > 0) output.note(`Waiting for ${plural(running, "job")}; Ctrl-C again ends them`);
    else if (unconfirmed > 0 && !isConnected) {
      output.note(`Waiting for ${server}, which has not heard of ${plural(unconfirmed, "job")}; Ctrl-C again gives up`);
    }
    worker.drain().catch(() => undefined); // `ended` tells of it
  };
  if (context.stop.aborted) onStop();
  context.stop.addEventListener("abort", onStop, { once: true });
  try {
    await worker.ended;
  } finally {
    context.stop.removeEventListener("abort", onStop);
  }
}

function handlerOf(queue: string, programs: Programs, output: Output): JobHandler {
  return async (job, { signal }) => {
    const startedMs = performance.now();
    const end = await programs.run(job.body, {
      signal,
      environment: {
        SLUICE_QUEUE: queue,
        SLUICE_JOB_ID: job.id,
        SLUICE_ATTEMPT: String(job.attempt),
        SLUICE_PRIORITY: String(job.priority),
        SLUICE_FAILURES: String(job.failures),
      },
    });
    const outcome = signal.aborted && !(signal.reason instanceof WorkerDrained) ? "lost" : outcomeOf(end);
    const durationMs = Math.round(performance.now() - startedMs);
    if (output.format === "json") {
      const facts = {
        jobId: job.id,
        attempt: job.attempt,
        outcome,
        exitCode: end.exitCode,
        signal: end.signal,
        durationMs,
      };
      await output.result({ text: () => "", json: () => facts });
    } else if (outcome !== "done") {
      output.note(`job ${job.id}: ${outcome}, ${describeEnd(end)}`);
    }
    if (outcome === "return") throw new ReturnJob(describeEnd(end));
    if (outcome === "reject") throw new RejectJob(describeEnd(end));
    if (outcome !== "done") throw new Error(describeEnd(end));
  };
}

function outcomeOf({ exitCode }: ProgramEnd): "done" | "return" | "reject" | "retry" {
  if (exitCode === 0) return "done";
  if (exitCode === EXIT_RETURN) return "return";
  return exitCode === EXIT_REJECT ? "reject" : "retry";
}

/** What is kept as the reason of a failure. */
function describeEnd({ exitCode, signal, lastWords }: ProgramEnd): string {
  const how = signal === null ? `exit code ${exitCode}` : `ended by ${signal}`;
  return lastWords === "" ? how : `${how}: ${lastWords}`;
}
