// `sluice notify watch`: an inbox, live.
import { connect, type Inbox, type InboxEvent, RemovalReason } from "@sluice/client";
import { Command } from "commander";
import { reasonOf } from "../failure.ts";
import {
  addOutputOption,
  addServerOption,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { plural } from "../terminal.ts";
import { type InboxScreen, openInboxScreen } from "./inbox-screen.ts";
import { formatNotification, notificationToJson } from "./notification-line.ts";
import { parsePriority } from "./notify-options.ts";
import { collect } from "./repeatable.ts";

interface WatchOptions {
  readonly user: string;
  readonly type: readonly string[];
  readonly priority?: number;
  readonly device?: string;
  readonly onlyNew?: boolean;
  readonly utc?: boolean;
  readonly server: string;
  readonly output: OutputFormat;
}

/** Name and words of each. */
const REMOVED: Readonly<Record<RemovalReason, readonly [name: string, words: string]>> = {
  [RemovalReason.UNSPECIFIED]: ["REMOVED", "removed"],
  [RemovalReason.EVICTED]: ["EVICTED", "evicted for want of room"],
  [RemovalReason.EXPIRED]: ["EXPIRED", "expired"],
  [RemovalReason.REPLACED]: ["REPLACED", "replaced by newer ones"],
  [RemovalReason.DELETED]: ["DELETED", "deleted"],
};

export function notifyWatchCommand(context: CommandContext): Command {
  const command = new Command("watch")
    .summary("show an inbox, live")
    .description(
      "Shows a user's inbox and what happens to it until Ctrl-C: on a terminal as a list, in a pipe a line for each notification, " +
        "oldest first.",
    )
    .requiredOption("-u, --user <user>", "whose inbox")
    .option("-t, --type <glob>", 'only these types, "order.*"; may be repeated', collect, [])
    .option("-p, --priority <number>", "only this priority and more urgent ones, 0 to 7", parsePriority)
    .option("--device <id>", "what this device is called")
    .option("--only-new", "nothing of what is there")
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  return command.action((options: WatchOptions) => watch(options, context));
}

async function watch(options: WatchOptions, context: CommandContext): Promise<void> {
  const { user, type, priority, device, server, onlyNew = false, utc = false } = options;
  const output = createOutput(context, options.output);
  const screen = options.output === "json" ? undefined : openInboxScreen(context, utc);
  await using client = connect(server);
  const inbox = client.notifications.watchInbox(user, {
    eventTypes: type,
    signal: context.stop,
    ...(priority === undefined ? {} : { priority }),
    ...(device === undefined ? {} : { deviceId: device }),
  });
  try {
    await show(inbox, { output, screen, onlyNew, isUtc: utc });
  } catch (error) {
    if (!context.stop.aborted) throw error;
  } finally {
    screen?.end();
  }
}

interface ShowOptions {
  readonly output: Output;
  readonly screen: InboxScreen | undefined;
  readonly onlyNew: boolean;
  readonly isUtc: boolean;
}

async function show(inbox: Inbox, options: ShowOptions): Promise<void> {
  let isConnected = false;
  let hasSnapshot = false;
  for await (const event of inbox) {
    // A server that is not there at all is an error; one that goes away is waited for.
    if (event.kind === "disconnected" && !isConnected) throw event.error;
    isConnected = true;
    if (event.kind === "disconnected") {
      options.output.note(`${reasonOf(event.error)}; trying again in ${(event.retryInMs / 1000).toFixed(1)} s`);
    } else if (event.kind === "resumed") options.output.note("connected again");
    else if (options.screen !== undefined) options.screen.show(inbox);
    else await print(event, { ...options, isFirst: !hasSnapshot });
    hasSnapshot ||= event.kind === "snapshot";
  }
}

async function print(
  event: Exclude<InboxEvent, { kind: "disconnected" | "resumed" }>,
  { output, onlyNew, isUtc, isFirst }: ShowOptions & { readonly isFirst: boolean },
): Promise<void> {
  const { paint } = output;
  switch (event.kind) {
    case "snapshot":
      // A later one, taken because everything was read elsewhere, has nothing new in it.
      if (!isFirst || onlyNew) return;
      for (const item of event.items.toReversed()) {
        await output.result({
          text: () => formatNotification(item, { paint, isUtc }),
          json: () => notificationToJson(item),
        });
      }
      return;
    case "notification": {
      const { notification } = event;
      return await output.result({
        text: () => formatNotification(notification, { paint, isUtc }),
        json: () => notificationToJson(notification),
      });
    }
    case "removed": {
      const { reason, ids, count } = event;
      const [name, words] = REMOVED[reason] ?? REMOVED[RemovalReason.UNSPECIFIED];
      if (output.format === "text") return output.note(`${plural(count, "notification")} ${words}`);
      return await output.result({
        text: () => "",
        json: () => ({ removed: { reason: name, ids, count } }),
      });
    }
    case "changed":
      if (output.format === "text") return;
      for (const item of event.items) {
        await output.result({ text: () => "", json: () => ({ changed: notificationToJson(item) }) });
      }
      return;
    case "counts":
      if (output.format === "json") await output.result({ text: () => "", json: () => ({ counts: event.counts }) });
      return;
    case "sync":
      return;
    default:
      event satisfies never;
  }
}
