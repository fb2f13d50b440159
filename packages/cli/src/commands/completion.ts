// `sluice completion`: what a shell needs to complete command lines.
import { Argument, Command } from "commander";
import { bashScript } from "../completion/bash.ts";
import { type CommandPlace, readCommands } from "../completion/command-tree.ts";
import { fishScript } from "../completion/fish.ts";
import { zshScript } from "../completion/zsh.ts";
import type { CommandContext } from "../output.ts";

type Shell = "bash" | "zsh" | "fish";

const SCRIPTS: Readonly<Record<Shell, (places: readonly CommandPlace[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** @param whole makes the program with all of its commands */
export function completionCommand({ stdout }: CommandContext, whole: () => Promise<Command>): Command {
  return new Command("completion")
    .description(
      "Prints a script with which a shell completes the commands, options and values of sluice.\n" +
        "  bash: source <(sluice completion bash), in ~/.bashrc\n" +
        "  zsh:  source <(sluice completion zsh), in ~/.zshrc behind compinit\n" +
        "  fish: sluice completion fish > ~/.config/fish/completions/sluice.fish",
    )
    .addArgument(new Argument("<shell>", "bash, zsh or fish").choices(Object.keys(SCRIPTS)))
    .action(async (shell: Shell) => {
      stdout.write(SCRIPTS[shell](readCommands(await whole())));
    });
}
