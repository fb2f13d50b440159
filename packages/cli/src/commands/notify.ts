// `sluice notify`: notifications, from publishing to reading.
import { connect, type InboxState, type SluiceClient } from "@sluice/client";
import { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type OutputFormat,
} from "../output.ts";
import { formatTable } from "../table.ts";
import { formatCount, plural } from "../terminal.ts";
import { formatNotification, notificationToJson } from "./notification-line.ts";
import { addUserOptions, parsePriority, type UserOptions } from "./notify-options.ts";
import { notifyPolicyCommand } from "./notify-policy.ts";
import { notifySendCommand } from "./notify-send.ts";
import { notifyWatchCommand } from "./notify-watch.ts";
import { collect } from "./repeatable.ts";

export function notifyCommand(context: CommandContext): Command {
  const command = new Command("notify").description(
    "Publishes notifications, and shows inboxes: each user has one that lasts, live on every device of theirs.",
  );
  const ofInboxes = [notifySendCommand, listCommand, notifyWatchCommand, readCommand, archiveCommand, countsCommand];
  for (const make of [...ofInboxes, notifyPolicyCommand, topicsCommand]) command.addCommand(make(context));
  return command;
}

interface ListOptions extends UserOptions {
  readonly type: readonly string[];
  readonly priority?: number;
  readonly unread?: boolean;
  readonly archived?: boolean;
  readonly limit: number;
  readonly utc?: boolean;
}

function listCommand(context: CommandContext): Command {
  const command = new Command("list")
    .summary("list an inbox, newest first")
    .description("Lists what is in an inbox, newest first.")
    .option("-t, --type <glob>", 'only these types, "order.*"; may be repeated', collect, [])
    .option("-p, --priority <number>", "only this priority and more urgent ones, 0 to 7", parsePriority)
    .option("--unread", "only what is not read")
    .option("--archived", "also what is archived")
    .option("-n, --limit <number>", "so many at most", Number, 100)
    .option("--utc", "times in UTC instead of local time");
  return addUserOptions(command).action(async (options: ListOptions) => {
    const { user, type, priority = 0, unread = false, archived = false, limit, utc = false } = options;
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const selection = { eventTypes: [...type], priorityLevel: priority, unreadOnly: unread, includeArchived: archived };
    let left = limit;
    for await (const each of client.notifications.list(user, selection, { signal: context.stop })) {
      if (left-- <= 0) break;
      const format = { paint: output.paint, isUtc: utc };
      await output.result({ text: () => formatNotification(each, format), json: () => notificationToJson(each) });
    }
  });
}

const readCommand = (context: CommandContext): Command =>
  stateCommand(context, { name: "read", done: "read", state: { seen: true, read: true }, back: { read: false } });

const archiveCommand = (context: CommandContext): Command =>
  stateCommand(context, { name: "archive", done: "archived", state: { archived: true }, back: { archived: false } });

interface StateOptions extends UserOptions {
  readonly all?: boolean;
  readonly undo?: boolean;
}

function stateCommand(
  context: CommandContext,
  words: { readonly name: string; readonly done: string; readonly state: InboxState; readonly back: InboxState },
): Command {
  const { name, done, state, back } = words;
  const command = new Command(name)
    .summary(`mark notifications as ${done}`)
    .description(`Marks notifications as ${done}, on all devices of the user.`)
    .argument("[ids...]", "which ones")
    .option("--all", "all that there are now")
    .option("--undo", `they are not ${done} any more`);
  return addUserOptions(command).action(async (ids: string[], options: StateOptions) => {
    const { user, all = false, undo = false } = options;
    if (all === ids.length > 0 || (all && undo)) {
      throw new CommandFailure("Give ids, or --all without --undo.", { exitCode: EXIT.usage });
    }
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const which = all ? "all" : ids;
    const changed = await client.notifications.setState(user, which, undo ? back : state, { signal: context.stop });
    const text = `${plural(Number(changed), "notification")} ${undo ? `not ${done} any more` : done}`;
    await output.result({ text: () => text, json: () => ({ changed }) });
  });
}

function countsCommand(context: CommandContext): Command {
  const command = new Command("counts")
    .summary("show how much is unread")
    .description("Shows how much is unread, by priority.");
  return addUserOptions(command).action(async ({ user, ...options }: UserOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const { unread, unreadByPriority } = await client.notifications.counts(user, { signal: context.stop });
    const text = (): string => {
      const parts = unreadByPriority.flatMap((count, priority) =>
        count === 0 ? [] : [`P${priority}: ${formatCount(count)}`],
      );
      return `${formatCount(unread)} unread${parts.length === 0 ? "" : ` (${parts.toReversed().join(", ")})`}`;
    };
    await output.result({ text, json: () => ({ unread, unreadByPriority }) });
  });
}

interface TopicsOptions {
  readonly user?: string;
  readonly join: readonly string[];
  readonly leave: readonly string[];
  readonly server: string;
  readonly output: OutputFormat;
}

function topicsCommand(context: CommandContext): Command {
  const command = new Command("topics")
    .summary("list topics, join and leave them")
    .description("Lists topics, all or those of a user, after joining or leaving some.")
    .option("-u, --user <user>", "whose")
    .option("--join <topic>", "what comes to it is the user's from now on; may be repeated", collect, [])
    .option("--leave <topic>", "what comes to it later is not; may be repeated", collect, []);
  addServerOption(addOutputOption(command));
  return command.action(async (options: TopicsOptions) => {
    const { user } = options;
    if (user === undefined && options.join.length + options.leave.length > 0) {
      throw new CommandFailure("Say who joins or leaves: --user.", { exitCode: EXIT.usage });
    }
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    if (user !== undefined) await change(client, { ...options, user }, context.stop);
    const topics = await Array.fromAsync(client.notifications.listTopics(user ?? "", { signal: context.stop }));
    if (options.output === "text") {
      const rows = topics.map(({ name, members }) => [name, formatCount(members)]);
      await output.write(formatTable([["TOPIC", "MEMBERS"], ...rows], [1]));
      return;
    }
    for (const { name, members } of topics) await output.result({ text: () => "", json: () => ({ name, members }) });
  });
}

async function change(
  { notifications }: SluiceClient,
  { user, join, leave }: Pick<TopicsOptions, "join" | "leave"> & { readonly user: string },
  signal: AbortSignal,
): Promise<void> {
  if (join.length > 0) await notifications.joinTopics(user, join, { signal });
  if (leave.length > 0) await notifications.leaveTopics(user, leave, { signal });
}
