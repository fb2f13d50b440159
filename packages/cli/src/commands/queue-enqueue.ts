// `sluice queue enqueue`: adds jobs, from words, from stdin, or one for each line of it.
import { buffer } from "node:stream/consumers";
import type { Readable } from "node:stream";
import { connect, type NewQueueJob, type SluiceClient, systemClock } from "@sluice/client";
import { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { addJobOptions, type JobOptions, jobOf } from "./queue-job-options.ts";
import { parseDurationMs } from "./time-argument.ts";

interface EnqueueOptions extends JobOptions {
  readonly lines?: boolean;
  readonly delay?: number;
  readonly dedup?: string;
  readonly id?: string;
  readonly server: string;
  readonly output: OutputFormat;
}

/** No server takes a body as large: it is no line. */
const LINE_BYTES_MAX = 4 * 1024 * 1024;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const NS_PER_MS = 1_000_000n;

export function queueEnqueueCommand(context: CommandContext): Command {
  const command = new Command("enqueue")
    .summary("add jobs")
    .description(
      "Adds jobs to a queue, and prints their ids when they are on disk: each word is the body of one. A job that was sent " +
        "before its answer was lost is not added twice.",
    )
    .argument("<name>", "the queue")
    .argument("[bodies...]", 'bodies; none, or "-": all of stdin is one')
    .option("--lines", "each line of stdin is a job; blank ones are left out");
  addJobOptions(command)
    .option("--delay <time>", "not before so long from now", parseDurationMs)
    .option("--dedup <id>", "of a second job with this id nothing is added; the first one's id is printed")
    .option("--id <id>", "an id of your own, not digits alone");
  addServerOption(addOutputOption(command));
  return command.action(async (name: string, bodies: string[], options: EnqueueOptions) => {
    const output = createOutput(context, options.output);
    checkOptions(bodies, options);
    await using client = connect(options.server);
    const enqueue = enqueuerOf(client, name, { options, output, signal: context.stop });
    if (options.lines === true) {
      try {
        for await (const lines of linesOf(context.stdin)) {
          if (context.stop.aborted) return;
          await enqueue(lines);
        }
      } catch (error) {
        if (!context.stop.aborted) throw error;
      }
      return;
    }
    const isStdin = bodies.length === 0 || (bodies.length === 1 && bodies[0] === "-");
    await enqueue(isStdin ? [new Uint8Array(await buffer(context.stdin))] : bodies);
  });
}

/** @throws CommandFailure */
function checkOptions(bodies: readonly string[], { lines, dedup, id }: EnqueueOptions): void {
  const fail = (text: string): never => {
    throw new CommandFailure(text, { exitCode: EXIT.usage, hint: "sluice queue enqueue --help" });
  };
  if (lines === true && bodies.some((body) => body !== "-")) fail("With --lines the jobs come from stdin alone");
  if ((lines === true || bodies.length > 1) && (dedup !== undefined || id !== undefined)) {
    fail("--dedup and --id are for one job");
  }
}

/** Adds jobs with these bodies, and prints their ids. */
function enqueuerOf(
  client: SluiceClient,
  queue: string,
  { options, output, signal }: { options: EnqueueOptions; output: Output; signal: AbortSignal },
): (bodies: readonly (string | Uint8Array)[]) => Promise<void> {
  const { delay, dedup, id } = options;
  const shared: Omit<NewQueueJob, "body"> = {
    ...jobOf(options),
    ...(dedup === undefined ? {} : { dedupId: dedup }),
    ...(id === undefined ? {} : { jobId: id }),
  };
  return async (bodies) => {
    const notBefore = delay === undefined ? undefined : systemClock.nowNs() + BigInt(delay) * NS_PER_MS;
    const jobs = bodies.map((body) => ({ ...shared, body, ...(notBefore === undefined ? {} : { notBefore }) }));
    const enqueued = await client.queues.enqueue(queue, jobs, { signal });
    for (const { jobId, duplicate } of enqueued) {
      await output.result({ text: () => jobId, json: () => ({ jobId, duplicate }) });
    }
  };
}

/** The lines of each piece that is read: what is not asked for is not read. @throws CommandFailure */
async function* linesOf(stdin: Readable): AsyncGenerator<Uint8Array[]> {
  let rest: Uint8Array = new Uint8Array(0);
  for await (const chunk of stdin as AsyncIterable<Uint8Array>) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const lines: Uint8Array[] = [];
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      lines.push(lineOf(bytes.subarray(start, end)));
      start = end + 1;
    }
    rest = bytes.subarray(start);
    if (rest.length > LINE_BYTES_MAX) {
      throw new CommandFailure(`A line of more than ${LINE_BYTES_MAX} bytes is no job`, { exitCode: EXIT.limit });
    }
    yield lines.filter(({ length }) => length > 0);
  }
  if (rest.length > 0) yield [lineOf(rest)];
}

function lineOf(bytes: Uint8Array): Uint8Array {
  return bytes.at(-1) === CARRIAGE_RETURN ? bytes.subarray(0, -1) : bytes;
}
