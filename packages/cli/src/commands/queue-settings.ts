// A queue's settings as options of a command.
import type { NewQueueSettings } from "@sluice/client";
import { type Command, InvalidArgumentError } from "commander";
import { parseCount } from "./log-options.ts";
import { collect } from "./repeatable.ts";
import { parseDurationMs } from "./time-argument.ts";

export interface QueueSettingOptions {
  readonly lease?: number;
  readonly maxRun?: number;
  readonly grace?: number;
  readonly offer?: number;
  readonly maxAttempts?: number;
  readonly backoff?: number;
  readonly backoffMax?: number;
  readonly age?: number;
  readonly dedupWindow?: number;
  readonly deadRetention?: number;
  readonly jobsMax?: number;
  readonly bytesMax?: number;
  readonly weight: readonly string[];
}

export function addQueueSettingOptions(command: Command): Command {
  const duration = parseDurationMs;
  return command
    .option("--lease <time>", "how long a job is a worker's without a heartbeat (default: 30s)", duration)
    .option("--max-run <time>", "no attempt lasts longer (default: 24h)", duration)
    .option("--grace <time>", "how long jobs stay a worker's that lost its connection (default: 30s)", duration)
    .option("--offer <time>", "how long an offer may lie at a worker unstarted (default: 60s)", duration)
    .option("--max-attempts <count>", "attempts of a job before it is dead (default: 5)", parseCount)
    .option("--backoff <time>", "before the second attempt; then twice as long each time (default: 1s)", duration)
    .option("--backoff-max <time>", "no pause between attempts is longer (default: 10m)", duration)
    .option("--age <time>", "a job becomes one level more urgent for so much of waiting (default: 1m)", duration)
    .option("--dedup-window <time>", "how long a dedup id is remembered (default: 10m)", duration)
    .option("--dead-retention <time>", "how long dead jobs are kept (default: 14d)", duration)
    .option("--jobs-max <count>", "jobs in the queue, at most (default: 10000000)", parseCount)
    .option("--bytes-max <count>", "bytes of them, at most (default: 16 GiB)", parseCount)
    .option(
      "--weight <key=weight>",
      "share of a fairness key beside others (default: 1); may be repeated",
      collect,
      [],
    );
}

/** Those that were given. @throws InvalidArgumentError */
export function settingsOf(options: QueueSettingOptions): NewQueueSettings {
  const { bytesMax, jobsMax, deadRetention, dedupWindow, maxRun } = options;
  const plain = {
    leaseMs: options.lease,
    graceMs: options.grace,
    offerMs: options.offer,
    maxAttempts: options.maxAttempts,
    backoffMs: options.backoff,
    backoffMaxMs: options.backoffMax,
    ageMs: options.age,
    maxRunMs: wide(maxRun),
    dedupWindowMs: wide(dedupWindow),
    deadRetentionMs: wide(deadRetention),
    jobsMax: wide(jobsMax),
    bytesMax: wide(bytesMax),
    weights: options.weight.length === 0 ? undefined : Object.fromEntries(options.weight.map(parseWeight)),
  };
  return Object.fromEntries(Object.entries(plain).filter(([, value]) => value !== undefined));
}

function wide(value: number | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(value);
}

function parseWeight(text: string): [string, number] {
  const [, key = "", weight = ""] = /^(.*)=(\d{1,9})$/u.exec(text) ?? [];
  if (weight === "") throw new InvalidArgumentError(`"${text}" is no KEY=WEIGHT, for example gold=3.`);
  return [key, Number(weight)];
}
