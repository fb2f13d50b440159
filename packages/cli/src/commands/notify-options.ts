// What several commands of notifications take.
import { type Command, InvalidArgumentError } from "commander";
import { addOutputOption, addServerOption, type OutputFormat } from "../output.ts";

export interface UserOptions {
  readonly user: string;
  readonly server: string;
  readonly output: OutputFormat;
}

const PRIORITY_MAX = 7;

export function addUserOptions(command: Command): Command {
  return addServerOption(addOutputOption(command.requiredOption("-u, --user <user>", "whose inbox")));
}

/** @throws InvalidArgumentError */
export function parsePriority(text: string): number {
  const priority = Number(text);
  if (text !== "" && Number.isInteger(priority) && priority >= 0 && priority <= PRIORITY_MAX) return priority;
  throw new InvalidArgumentError(`Give a whole number from 0 to ${PRIORITY_MAX}.`);
}
