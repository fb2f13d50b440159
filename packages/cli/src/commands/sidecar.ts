// `sluice sidecar`: gives a service beside it the jobs of a queue, until Ctrl-C or SIGTERM.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import {
  Code,
  type ListenAddress,
  ListenError,
  openSidecar,
  parsePushUrl,
  RpcError,
  type Sidecar,
  type SidecarDrained,
  type SidecarEvent,
  type SidecarOptions,
} from "@sluice/client";
import { Command, InvalidArgumentError, Option } from "commander";
import { EXIT, exitCodeOfStatus } from "../exit-codes.ts";
import { reasonOf } from "../failure.ts";
import { untilStopped } from "../ingest/until-stopped.ts";
import {
  addOutputOption,
  CommandFailure,
  type CommandContext,
  DEFAULT_SERVER,
  type OutputFormat,
  parseServer,
  toJsonLine,
} from "../output.ts";
import { plural } from "../terminal.ts";
import { shown } from "./queue-format.ts";
import { parseSlots } from "./slots-argument.ts";
import { parseDurationMs } from "./time-argument.ts";

interface SidecarCommandOptions {
  readonly upstream: string;
  readonly queue: string;
  readonly listen?: ListenAddress;
  readonly push?: string;
  readonly slots?: number;
  readonly healthListen?: ListenAddress;
  readonly grace: number;
  readonly tls?: boolean;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly output: OutputFormat;
}

/** Kubernetes gives a pod 30 s: some of it is for what comes after. */
const GRACE_MS = 25_000;

export function sidecarCommand(context: CommandContext): Command {
  const command = new Command("sidecar")
    .description(
      "Stands beside a service and gives it the jobs of one queue: to workers that speak gRPC, at --listen as at the " +
        "server itself, or by HTTP, one POST to --push for each free slot. It takes a job only when a worker or a slot " +
        "is free for it, and keeps none.\n" +
        "An answer 2xx says that a job is done; 409 or 422 that it never can be; 429 or 503 with Retry-After gives it " +
        "back and lets its fairness key wait; anything else is a failure, and it is tried again.\n" +
        "SIGTERM or Ctrl-C: no new jobs, those that run get the grace, the rest goes back to the queue, exit code 0. A " +
        "second one ends it at once. POST /drain at --listen does the same, but stays, and answers when nothing runs.",
    )
    .addOption(
      new Option("--upstream <host:port>", "the server")
        .env("SLUICE_SERVER")
        .default(DEFAULT_SERVER)
        .argParser(parseServer),
    )
    .requiredOption("--queue <name>", "the queue")
    .option("--listen <address>", "for workers: HOST:PORT on the loopback, or unix:PATH", parseLoopback)
    .option("--push <url>", "the service: http://HOST:PORT/PATH", parsePush)
    .option("--slots <count>", "requests to --push at the same time (default: 1)", parseSlots)
    .option("--health-listen <host:port>", "for probes: /healthz, /readyz, /metrics, gRPC health", parseListen)
    .addOption(
      new Option("--grace <time>", "what running jobs get to end").default(GRACE_MS, "25s").argParser(parseDurationMs),
    )
    .option("--tls", "talk TLS to the server")
    .option("--ca <file>", "certificates (PEM) by which to know it, instead of the system's; means --tls")
    .option("--cert <file>", "the certificate (PEM) to show to it, with --key; means --tls")
    .option("--key <file>", "its private key (PEM)");
  return addOutputOption(command).action(async (options: SidecarCommandOptions) => {
    checkOptions(options);
    await run(options, context);
  });
}

function checkOptions({ listen, push, slots, cert, key }: SidecarCommandOptions): void {
  if (listen === undefined && push === undefined) {
    throw new CommandFailure("a sidecar is for somebody", {
      exitCode: EXIT.usage,
      hint: "Give --listen for workers that speak gRPC, --push with --slots for a service that speaks HTTP, or both.",
    });
  }
  if (slots !== undefined && push === undefined) {
    throw new CommandFailure("--slots are those of --push", {
      exitCode: EXIT.usage,
      hint: "Workers at --listen say themselves how many jobs they take.",
    });
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw new CommandFailure("--cert and --key go together", {
      exitCode: EXIT.usage,
      hint: "Give the certificate that the server shall see, and its private key.",
    });
  }
}

async function run(options: SidecarCommandOptions, context: CommandContext): Promise<void> {
  const { upstream, queue, listen, healthListen, push, slots = 1, grace } = options;
  const say = sayer(options.output, context);
  const sidecar = await open({
    upstream,
    queue,
    graceMs: grace,
    ...(await tlsOf(options, context)),
    ...(listen === undefined ? {} : { listen }),
    ...(healthListen === undefined ? {} : { healthListen }),
    ...(push === undefined ? {} : { push: { url: push, slots } }),
    onEvent: (event) => tell(event, options, say),
  });
  const { address, healthAddress } = sidecar;
  if (address !== undefined) say("listening", `listening on ${address}`, { address });
  if (healthAddress !== undefined) {
    say("listening-health", `listening for health on ${healthAddress}`, { address: healthAddress });
  }
  if (push !== undefined) say("pushing", `Jobs of ${queue} go to ${push}, ${slots} at a time`, { url: push, slots });
  try {
    await untilStopped(sidecar.ended, context.stop);
  } catch (error) {
    await drain(sidecar, { graceMs: 0, say });
    throw failureOf(error, options);
  }
  checkDrained(await drain(sidecar, { graceMs: grace, say }), options);
}

async function open(options: SidecarOptions): Promise<Sidecar> {
  try {
    return await openSidecar(options);
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    throw new CommandFailure(error.message, {
      exitCode: EXIT.failure,
      hint: "Choose another address, or stop the program that has it.",
      cause: error,
    });
  }
}

async function tlsOf(options: SidecarCommandOptions, { folder }: CommandContext): Promise<Pick<SidecarOptions, "tls">> {
  const tls: NonNullable<SidecarOptions["tls"]> = {};
  for (const name of ["ca", "cert", "key"] as const) {
    const path = options[name];
    if (path !== undefined) tls[name] = await readFile(resolve(folder, path));
  }
  return options.tls === true || Object.keys(tls).length > 0 ? { tls } : {};
}

async function drain(sidecar: Sidecar, options: { graceMs: number; say: Say }): Promise<SidecarDrained> {
  const { running, unanswered } = sidecar.counts();
  if (running + unanswered > 0) {
    const seconds = options.graceMs / 1000;
    options.say("draining", `Waiting up to ${seconds} s for ${plural(running, "job")}; Ctrl-C again ends it at once`, {
      running,
      unanswered,
      graceMs: options.graceMs,
    });
  }
  const drained = await sidecar.drain({ graceMs: options.graceMs });
  if (drained.returned > 0) {
    const text = `The grace was over: ${plural(drained.returned, "job")} went back to the queue`;
    options.say("returned", text, { returned: drained.returned });
  }
  options.say("stopped", "stopped", {});
  return drained;
}

function checkDrained({ unsaid }: SidecarDrained, { upstream }: SidecarCommandOptions): void {
  if (unsaid === 0) return;
  throw new CommandFailure(`${upstream} could not be told of ${plural(unsaid, "job")} that ended`, {
    exitCode: EXIT.unavailable,
    hint: "They go to others when their leases end, and are done again. A longer --grace waits longer for the server.",
  });
}

/** What a sidecar fails for. */
function failureOf(error: unknown, { queue, upstream }: SidecarCommandOptions): unknown {
  if (!(error instanceof RpcError) || error.code !== Code.NOT_FOUND) return error;
  return new CommandFailure(error.message, {
    exitCode: exitCodeOfStatus(error.code),
    hint: `Make it: sluice queue create ${queue} --server ${upstream}`,
    cause: error,
  });
}

type Say = (event: string, text: string, facts: object) => void;

/** A service's own log: on stderr, for people or for programs. */
function sayer(format: OutputFormat, { stderr }: CommandContext): Say {
  return (event, text, facts) => {
    const line =
      format === "json" ? toJsonLine({ time: new Date().toISOString(), event, message: text, ...facts }) : shown(text);
    stderr.write(`${line}\n`);
  };
}

function tell(event: SidecarEvent, { upstream, push = "" }: SidecarCommandOptions, say: Say): void {
  const { kind } = event;
  switch (kind) {
    case "upstream-lost": {
      const reason = reasonOf(event.error);
      const text = `${upstream}: ${reason}; trying again in ${(event.retryInMs / 1000).toFixed(1)} s, what runs goes on`;
      return say(kind, text, { reason, retryInMs: event.retryInMs });
    }
    case "upstream-back":
      return say(kind, `${upstream} is back`, {});
    case "worker-refused":
      return say(kind, `The server turned a worker away: ${reasonOf(event.error)}`, { reason: reasonOf(event.error) });
    case "service-away":
      return say(kind, `${push} does not answer: no jobs are taken until it does (${event.reason})`, {
        reason: event.reason,
      });
    case "service-back":
      return say(kind, `${push} answers`, {});
    case "job-failed": {
      const { job, reason } = event;
      return say(kind, `job ${job.id}: ${reason}`, { jobId: job.id, attempt: job.attempt, reason });
    }
    case "draining": {
      const { running, unanswered } = event;
      const text = `draining: ${plural(running, "job")} running, ${unanswered} to be told to the server`;
      return say(kind, text, { running, unanswered });
    }
    default:
      return event satisfies never;
  }
}

/** A sidecar asks nobody who they are. */
function parseLoopback(text: string): ListenAddress {
  if (text.startsWith("unix:") && text.length > "unix:".length) return { path: text.slice("unix:".length) };
  const address = parseListen(text);
  if (/^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/u.test(address.host ?? "")) return address;
  throw new InvalidArgumentError(
    `Others can reach ${text}, and nobody has to say who they are: listen on 127.0.0.1 or a unix:PATH.`,
  );
}

function parseListen(text: string): ListenAddress {
  const [, host, port] = /^(?:\[(?=.*:)|(?!.*:.*:))([^\s/[\]]+?)\]?:(\d{1,5})$/u.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) {
    throw new InvalidArgumentError(`"${text}" is no HOST:PORT, for example 127.0.0.1:7000.`);
  }
  return { host, port: Number(port) };
}

function parsePush(text: string): string {
  try {
    return parsePushUrl(text).href;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}
