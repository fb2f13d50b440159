// What can stand on a command line, read from the commands' own definitions.
import type { Command } from "commander";

/** One command: "sluice", "sluice queue", "sluice queue create". */
export interface CommandPlace {
  readonly path: string;
  /** Names and summaries. */
  readonly commands: readonly Described[];
  readonly options: readonly CompletedOption[];
  /** What its next argument may be, where that is a choice. */
  readonly choices: readonly string[];
}

export interface Described {
  readonly name: string;
  readonly text: string;
}

export interface CompletedOption {
  /** "-f", "--follow". */
  readonly flags: readonly string[];
  readonly text: string;
  /** The next word is its value; one that may have a value gets it by `=`. */
  readonly takesValue: boolean;
  /** Of its value; empty: anything, such as a file. */
  readonly choices: readonly string[];
}

/** The command and all below it. */
export function readCommands(command: Command, path: string = command.name()): CommandPlace[] {
  const help = command.createHelp();
  const commands = help.visibleCommands(command);
  const place: CommandPlace = {
    path,
    commands: commands.map((each) => ({ name: each.name(), text: oneLine(each.summary() || each.description()) })),
    options: help.visibleOptions(command).map((option) => ({
      flags: [option.short, option.long].filter((flag) => flag !== undefined && flag !== null),
      text: oneLine(option.description),
      takesValue: option.required,
      choices: option.argChoices ?? [],
    })),
    choices: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
  };
  const below = commands.filter((each) => each.parent === command);
  return [place, ...below.flatMap((each) => readCommands(each, `${path} ${each.name()}`))];
}

/** What completions show beside a word: the first sentence, or the first line. */
function oneLine(text: string): string {
  const [line = ""] = text.split("\n");
  return line.length > 100 ? `${line.slice(0, 99).trimEnd()}…` : line;
}
