// What a job is besides its body, as options of the commands that make jobs.
import type { NewQueueJob } from "@sluice/client";
import { type Command, InvalidArgumentError } from "commander";
import { parseDurationMs } from "./time-argument.ts";
import { collect } from "./repeatable.ts";

export interface JobOptions {
  readonly priority?: number;
  readonly key?: string;
  readonly orderKey?: string;
  readonly ttl?: number;
  readonly header: readonly string[];
}

const PRIORITY_MAX = 7;

export function addJobOptions(command: Command): Command {
  return command
    .option("-p, --priority <number>", "0 to 7, 7 is the most urgent (default: 3)", parsePriority)
    .option("-k, --key <fairness-key>", "jobs of different keys get their share of the workers")
    .option("--order-key <key>", "jobs of one such key run one at a time, in order")
    .option("--ttl <time>", "remove it when it was not started so long after", parseDurationMs)
    .option("-H, --header <name=value>", "a header; may be repeated", collect, []);
}

/** @throws InvalidArgumentError */
export function jobOf(options: JobOptions): Omit<NewQueueJob, "body"> {
  const { priority, key, orderKey, ttl, header } = options;
  return {
    ...(priority === undefined ? {} : { priority }),
    ...(key === undefined ? {} : { fairnessKey: key }),
    ...(orderKey === undefined ? {} : { orderingKey: orderKey }),
    ...(ttl === undefined ? {} : { ttlMs: ttl }),
    headers: Object.fromEntries(header.map(parseHeader)),
  };
}

function parseHeader(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError(`"${text}" is no NAME=VALUE.`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function parsePriority(text: string): number {
  const priority = Number(text);
  if (text !== "" && Number.isInteger(priority) && priority >= 0 && priority <= PRIORITY_MAX) return priority;
  throw new InvalidArgumentError(`Give a whole number from 0 to ${PRIORITY_MAX}.`);
}
