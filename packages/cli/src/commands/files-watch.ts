// `sluice files watch`: what becomes of what is in a shared folder, as it happens.
import { connect, type FileWatchEvent } from "@sluice/client";
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
import { collect } from "./repeatable.ts";
import { fileToJson } from "./transfer-options.ts";

interface WatchOptions {
  readonly recursive?: boolean;
  readonly glob: readonly string[];
  readonly existing?: boolean;
  readonly resumeAfter?: string;
  readonly server: string;
  readonly output: OutputFormat;
}

const COLOURS = { exists: "dim", created: "green", changed: "yellow", removed: "red" } as const;

export function filesWatchCommand(context: CommandContext): Command {
  const command = new Command("watch")
    .summary("follow what happens in a folder")
    .description(
      "Prints what is created, changed and removed in a shared folder, or in all of them, until Ctrl-C. Goes on after lost connections.",
    )
    .argument("[path]", "the folder", "")
    .option("-r, --recursive", "also what is in the folders below")
    .option("-g, --glob <pattern>", 'only these, as "**/*.txt"; may be repeated', collect, [])
    .option("-e, --existing", "first what is there; again when the server cannot tell what happened meanwhile")
    .option("--resume-after <token>", "go on behind the place with this token (of --output json)");
  addServerOption(addOutputOption(command));
  return command.action((path: string, options: WatchOptions) => watch(path, options, context));
}

async function watch(path: string, options: WatchOptions, context: CommandContext): Promise<void> {
  const output = createOutput(context, options.output);
  await using client = connect(options.server);
  const query = {
    path,
    isRecursive: options.recursive ?? false,
    globs: options.glob,
    includeExisting: options.existing ?? false,
    ...(options.resumeAfter === undefined ? {} : { resumeAfter: options.resumeAfter }),
  };
  const events = client.watchFiles(query, { signal: context.stop });
  try {
    let isConnected = false;
    for await (const event of events) {
      // A server that is not there at all is an error; one that goes away is waited for.
      if (event.kind === "disconnected" && !isConnected) throw event.error;
      isConnected = true;
      await print(event, events.token, output);
    }
  } catch (error) {
    if (!context.stop.aborted) throw error;
    if (context.stderr.isTTY === true && events.token !== "") {
      output.note(output.paint("dim", `to go on from here: --resume-after ${events.token}`));
    }
  }
}

/** @param token where a later watch goes on without missing this event */
function print(event: FileWatchEvent, token: string, output: Output): Promise<void> | undefined {
  const line = (kind: keyof typeof COLOURS, path: string, isDirectory: boolean): string =>
    `${output.paint(COLOURS[kind], kind.padEnd(8))} ${path}${isDirectory ? "/" : ""}`;
  switch (event.kind) {
    case "exists":
    case "created":
    case "changed":
      return output.result({
        text: () => line(event.kind, event.file.filePath, event.file.isDirectory),
        json: () => ({ kind: event.kind, ...fileToJson(event.file), token }),
      });
    case "removed":
      return output.result({
        text: () => line("removed", event.path, event.isDirectory),
        json: () => ({ kind: event.kind, filePath: event.path, isDirectory: event.isDirectory, token }),
      });
    case "sync":
      return output.format === "json" ? output.write(`${JSON.stringify({ kind: "sync", token })}\n`) : undefined;
    case "resync":
      // Never only on stderr: what was printed before no longer holds.
      return output.result({
        text: () => `${output.paint("red", "resync  ")} ${RESYNCS[event.reason]}`,
        json: () => ({ kind: "resync", reason: event.reason }),
      });
    case "disconnected":
      output.note(`${reasonOf(event.error)}; trying again in ${(event.retryInMs / 1000).toFixed(1)} s`);
      return undefined;
    case "resumed":
      output.note("connected again");
      return undefined;
    default:
      return event satisfies never;
  }
}

const RESYNCS = {
  "generation-unknown": "the server was restarted, or nobody watched for long: what happened meanwhile is not known",
  "removals-forgotten": "more was removed than the server remembers: what happened meanwhile is not all known",
  unknown: "the server cannot tell what happened meanwhile",
} as const;
