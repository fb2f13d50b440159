// Which series a command is about.
import type { MetricMatcher, SeriesSelection } from "@sluice/client";
import { type Command, InvalidArgumentError } from "commander";
import { addOutputOption, addServerOption, type OutputFormat } from "../output.ts";

export interface SelectionOptions {
  readonly label: readonly MetricMatcher[];
  readonly server: string;
  readonly output: OutputFormat;
}

export function addSelection(command: Command): void {
  command.option(
    "-l, --label <condition>",
    'only series with this label: cpu.mode=user, host!=a, name=~"web-.*", resource.host.name=web-1 (of the resource); may be repeated',
    (text: string, all: readonly MetricMatcher[]) => [...all, parseMatcher(text)],
    [],
  );
  addServerOption(addOutputOption(command));
}

export function selectionOf(names: readonly string[], { label }: SelectionOptions): SeriesSelection {
  return { names, matchers: label };
}

function parseMatcher(text: string): MetricMatcher {
  const found = /^([^=!~]+)(=~|!~|!=|=)(.*)$/su.exec(text);
  if (found === null) {
    throw new InvalidArgumentError(
      `"${text}" is no condition on a label, for example cpu.mode=user or host=~"web-.*".`,
    );
  }
  const [, label = "", operator, value = ""] = found;
  const isQuoted = /^".*"$/su.test(value);
  return { label, operator: operator as MetricMatcher["operator"], value: isQuoted ? value.slice(1, -1) : value };
}
