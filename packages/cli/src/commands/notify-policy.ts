// `sluice notify policy`: what an inbox may hold, and when its user wants quiet.
import { connect, Overflow, type Policy } from "@sluice/client";
import { Command, InvalidArgumentError, Option } from "commander";
import { addOutputOption, addServerOption, type CommandContext, createOutput, type OutputFormat } from "../output.ts";
import { parsePriority } from "./notify-options.ts";

interface PolicyOptions {
  readonly user?: string;
  readonly maxItems?: number;
  readonly overflow?: "drop-oldest" | "reject";
  readonly quiet?: readonly [string, string];
  readonly timeZone?: string;
  readonly breaking?: number;
  readonly keepCollapsed?: boolean;
  readonly reset?: boolean;
  readonly server: string;
  readonly output: OutputFormat;
}

const OVERFLOWS = { "drop-oldest": Overflow.DROP_OLDEST, reject: Overflow.REJECT } as const;

export function notifyPolicyCommand(context: CommandContext): Command {
  const command = new Command("policy")
    .summary("show or change what an inbox may hold, and its quiet hours")
    .description(
      "Shows the policy of a user, or the default of all; with options it is changed first, and the rest of it stays.",
    )
    .option("-u, --user <user>", "whose (default: the default of all)")
    .option("--max-items <number>", "notifications for the user directly; 0: the server's limit", parseCount)
    .addOption(new Option("--overflow <way>", "what happens at the bound").choices(Object.keys(OVERFLOWS)))
    .option("--quiet <from-to>", "hours without sound, 22:30-07:00; off: none", parseQuiet)
    .option("--time-zone <zone>", "of those hours: Europe/Berlin (default: this machine's)")
    .option("--breaking <number>", "this priority and more urgent ones are never silent (default: 7)", parsePriority)
    .option("--keep-collapsed", "collapse keys are not heeded")
    .option("--no-keep-collapsed", "they are")
    .option("--reset", "the default again");
  addServerOption(addOutputOption(command));
  return command.action(async (options: PolicyOptions) => {
    const { user = "", reset = false } = options;
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const { notifications } = client;
    const signal = { signal: context.stop };
    const before = await notifications.getPolicy(user, signal);
    if (reset) await notifications.setPolicy(user, undefined, signal);
    else if (isChange(options)) await notifications.setPolicy(user, changed(before.policy, options), signal);
    const { policy, isDefault } = await notifications.getPolicy(user, signal);
    await output.result({ text: () => textOf(policy, isDefault), json: () => ({ ...toJson(policy), isDefault }) });
  });
}

function isChange({ maxItems, overflow, quiet, timeZone, breaking, keepCollapsed }: PolicyOptions): boolean {
  return [maxItems, overflow, quiet, timeZone, breaking, keepCollapsed].some((option) => option !== undefined);
}

function changed(policy: Policy, options: PolicyOptions) {
  const { $typeName: _, $unknown: __, quietHours, ...rest } = policy;
  const { maxItems = rest.maxItems, keepCollapsed = rest.keepCollapsed, overflow, quiet, timeZone, breaking } = options;
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const hours = {
    timeZone: timeZone ?? (quietHours?.timeZone || here),
    start: quiet?.[0] ?? quietHours?.start ?? "",
    end: quiet?.[1] ?? quietHours?.end ?? "",
    breakingPriority: breaking ?? quietHours?.breakingPriority ?? 0,
  };
  return {
    ...rest,
    maxItems,
    keepCollapsed,
    ...(overflow === undefined ? {} : { overflow: OVERFLOWS[overflow] }),
    ...(hours.start === "" ? {} : { quietHours: hours }),
  };
}

function textOf(policy: Policy, isDefault: boolean): string {
  const { maxItems, maxBytes, overflow, quietHours, keepCollapsed, ttlMsByPriority } = policy;
  const hours = quietHours?.timeZone
    ? `${quietHours.start}-${quietHours.end} ${quietHours.timeZone}, but for priority ${quietHours.breakingPriority || 7} and above`
    : "none";
  const ttl = ttlMsByPriority
    .map((ms, priority) => (ms === 0n ? "" : `P${priority} ${ms} ms`))
    .filter((each) => each !== "");
  return [
    `policy           ${isDefault ? "the default" : "of this user"}`,
    `items            ${maxItems === 0 ? "as many as the server allows" : `up to ${maxItems}`}`,
    `bytes            ${maxBytes === 0n ? "as many as the server allows" : `up to ${maxBytes}`}`,
    `at the bound     ${overflow === Overflow.REJECT ? "publishing is refused" : "the oldest of the lowest priority goes"}`,
    `time to live     ${ttl.length === 0 ? "as published" : ttl.join(", ")}`,
    `quiet hours      ${hours}`,
    `collapse keys    ${keepCollapsed ? "are not heeded" : "replace what is unread"}`,
  ].join("\n");
}

function toJson({ $typeName: _, $unknown: __, quietHours, ...policy }: Policy): object {
  if (quietHours === undefined) return policy;
  const { $typeName: ___, $unknown: ____, ...hours } = quietHours;
  return { ...policy, quietHours: hours };
}

function parseCount(text: string): number {
  const count = Number(text);
  if (text !== "" && Number.isInteger(count) && count >= 0) return count;
  throw new InvalidArgumentError("Give a whole number.");
}

function parseQuiet(text: string): readonly [string, string] {
  if (text === "off") return ["", ""];
  const found = /^(\d\d:\d\d)-(\d\d:\d\d)$/u.exec(text);
  if (found === null) throw new InvalidArgumentError('Give hours as "22:30-07:00", or "off".');
  return [found[1]!, found[2]!];
}
