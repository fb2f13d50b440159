// Options that say which entries of a log are meant, for every command that reads.
import { type LogSelection, systemClock } from "@sluice/client";
import { type Command, InvalidArgumentError } from "commander";
import { parseTimeArgument } from "./time-argument.ts";
import { collect } from "./repeatable.ts";

export interface SelectionOptions {
  readonly application: string[];
  readonly level?: string;
  readonly since?: bigint;
  readonly until?: bigint;
  readonly log?: string;
}

/** Adds --application, --level, --since, --until and --log. */
export function addSelectionOptions(command: Command): Command {
  const time = (text: string): bigint => parseTimeArgument(text, systemClock.nowNs());
  return command
    .option("-a, --application <name>", "entries of this application; may be repeated", collect, [])
    .option("-l, --level <level>", "at least this severity: TRACE, DEBUG, INFO, WARN, ERROR, FATAL")
    .option("--since <time>", 'not before this event time: "10m" ago, "2h", "1d", or 2026-11-21T08:43:01Z', time)
    .option("--until <time>", "before this event time", time)
    .option("--log <name>", 'name of the log (default: "default")');
}

export function selectionOf(options: SelectionOptions): LogSelection {
  return {
    applications: options.application,
    ...(options.log === undefined ? {} : { log: options.log }),
    ...(options.level === undefined ? {} : { logLevel: options.level }),
    ...(options.since === undefined ? {} : { startTimestamp: options.since }),
    ...(options.until === undefined ? {} : { endTimestamp: options.until }),
  };
}

/** A whole number. @throws InvalidArgumentError */
export function parseCount(text: string): number {
  if (!/^\d{1,15}$/u.test(text)) throw new InvalidArgumentError("Give a whole number, 0 or more.");
  return Number(text);
}
