// `sluice notify send`: publishes one notification.
import { type Code, connect, type NewNotification } from "@sluice/client";
import { Command, InvalidArgumentError } from "commander";
import { EXIT, exitCodeOfStatus } from "../exit-codes.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type OutputFormat,
} from "../output.ts";
import { parsePriority } from "./notify-options.ts";
import { collect } from "./repeatable.ts";
import { parseDurationMs } from "./time-argument.ts";

interface SendOptions {
  readonly user: readonly string[];
  readonly topic: readonly string[];
  readonly everyone?: boolean;
  readonly title: string;
  readonly message?: string;
  readonly type?: string;
  readonly priority?: number;
  readonly metadata: readonly (readonly [string, string])[];
  readonly ttl?: number;
  readonly collapse?: string;
  readonly in?: number;
  readonly url?: string;
  readonly key?: string;
  readonly server: string;
  readonly output: OutputFormat;
}

export function notifySendCommand(context: CommandContext): Command {
  const command = new Command("send")
    .summary("publish a notification")
    .description(
      "Publishes a notification: to users, to whoever joined a topic, or to everyone. Prints its id when it is on disk.",
    )
    .option("-u, --user <user>", "for whom; may be repeated", collect, [])
    .option("-T, --topic <topic>", "for who has joined it; may be repeated", collect, [])
    .option("--everyone", "for all users there are")
    .requiredOption("--title <text>", "its title")
    .option("-m, --message <text>", "its text")
    .option("-t, --type <type>", 'what it is about: "order.paid"')
    .option("-p, --priority <number>", "0 to 7, 7 is the most urgent (default: 0)", parsePriority)
    .option("--metadata <name=value>", "something for programs; may be repeated", collectPair, [])
    .option("--ttl <time>", "it is gone so long after it was delivered", parseDurationMs)
    .option("--collapse <key>", "it replaces the unread one with this key")
    .option("--in <time>", "delivered so much later", parseDurationMs)
    .option("--url <url>", "where it leads")
    .option("--key <key>", "the same key again within a day publishes nothing");
  addServerOption(addOutputOption(command));
  return command.action(async (options: SendOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const [outcome] = await client.notifications.publish(draftOf(options), { signal: context.stop });
    const { id = "", duplicate = false, code = 0, error = "" } = outcome ?? {};
    if (id === "") throw new CommandFailure(error, { exitCode: exitCodeOfStatus(code as Code) });
    if (duplicate) output.note("It was there already: nothing was published.");
    await output.result({ text: () => id, json: () => ({ id, duplicate }) });
  });
}

function draftOf(options: SendOptions): NewNotification {
  const {
    user,
    topic,
    everyone = false,
    title,
    message = "",
    type = "",
    priority = 0,
    metadata,
    ttl,
    collapse,
  } = options;
  if (user.length === 0 && topic.length === 0 && !everyone) {
    throw new CommandFailure("Say for whom: --user, --topic or --everyone.", { exitCode: EXIT.usage });
  }
  return {
    userIds: [...user],
    topics: [...topic],
    everyone,
    title,
    message,
    type,
    priority,
    metadata: Object.fromEntries(metadata),
    ...(ttl === undefined ? {} : { ttlMs: BigInt(ttl) }),
    ...(collapse === undefined ? {} : { collapseKey: collapse }),
    ...(options.in === undefined ? {} : { deliverAt: BigInt(Date.now() + options.in) * 1_000_000n }),
    ...(options.url === undefined ? {} : { actionUrl: options.url }),
    ...(options.key === undefined ? {} : { idempotencyKey: options.key }),
  };
}

function collectPair(
  text: string,
  all: readonly (readonly [string, string])[],
): readonly (readonly [string, string])[] {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError(`"${text}" is no NAME=VALUE.`);
  return [...all, [text.slice(0, at), text.slice(at + 1)]];
}
