// The server's settings as options of a command, made from the configuration's one schema.
import { type ConfigSources, type LoadedConfig, loadConfig, type Setting, settings } from "@sluice/server";
import { type Command, Option } from "commander";
import type { CommandContext } from "../output.ts";
import { toServerFailure } from "./server-failure.ts";

/** Adds `--config` and one option for each setting. `defaults` replaces a default in the help. */
export function addSettingOptions(command: Command, defaults: Readonly<Record<string, string>> = {}): Command {
  command.option("--config <file>", "configuration file (default: sluice.yaml in this folder; env: SLUICE_CONFIG)");
  for (const setting of settings) command.addOption(optionOf(setting, defaults[setting.key]));
  return command;
}

function optionOf({ flag, variable, about }: Setting, replaced: string | undefined): Option {
  const value = about.placeholder === undefined ? "[true|false]" : `<${about.placeholder}>`;
  const option = new Option(
    `${flag} ${value}`,
    `${about.description} (default: ${replaced ?? about.default}; env: ${variable})`,
  );
  option.hideHelp(about.isAdvanced === true);
  if (about.isList !== true) return option;
  return option.argParser((item: string, before: string | undefined) =>
    before === undefined ? item : `${before},${item}`,
  );
}

/** Loads the configuration with the command's options. `defaults` hold where nothing else says anything. */
export async function loadCommandConfig(command: Command, context: CommandContext): Promise<LoadedConfig> {
  try {
    return await loadConfig(sourcesOf(command, context));
  } catch (error) {
    throw toServerFailure(error);
  }
}

function sourcesOf(command: Command, { environment, folder }: CommandContext): ConfigSources {
  const options = command.opts<Record<string, string | boolean | undefined>>();
  const flags = new Map<string, string | boolean>();
  for (const setting of settings) {
    const value = options[optionOf(setting, undefined).attributeName()];
    if (value !== undefined) flags.set(setting.key, value);
  }
  const file = options["config"];
  return { flags, environment, folder, file: typeof file === "string" ? file : undefined };
}
