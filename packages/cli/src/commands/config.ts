// `sluice config show`: the configuration as the server would take it.
import { Command } from "commander";
import { addOutputOption, type CommandContext, createOutput, type OutputFormat } from "../output.ts";
import { addSettingOptions, loadCommandConfig } from "./settings-options.ts";

export function configCommand(context: CommandContext): Command {
  const show = addOutputOption(addSettingOptions(new Command("show")))
    .summary("show every setting")
    .description(
      "Shows every setting with its value. Flags win over the environment (SLUICE_…), that over the file, that over the defaults.",
    )
    .option("--origin", "say where each value comes from")
    .action(async (options: { output: OutputFormat; origin?: boolean }) => {
      const { values, file, warnings } = await loadCommandConfig(show, context);
      const output = createOutput(context, options.output);
      for (const warning of warnings) output.note(warning);
      if (options.origin === true) output.note(file === undefined ? "no configuration file" : `file: ${file}`);
      const keyWidth = Math.max(...values.map((each) => each.key.length));
      const valueWidth = Math.max(...values.map((each) => String(each.value).length));
      for (const { key, value, origin } of values) {
        const text = () => {
          const line = `${key.padEnd(keyWidth)}  ${String(value)}`;
          return options.origin === true
            ? `${line.padEnd(keyWidth + 2 + valueWidth)}  ${output.paint("dim", origin.place)}`
            : line;
        };
        await output.result({ text, json: () => (options.origin === true ? { key, value, origin } : { key, value }) });
      }
    });
  return new Command("config").description("Shows the configuration.").addCommand(show);
}
