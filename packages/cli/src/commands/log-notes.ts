// What a reader of a log is told beside its entries, on stderr, so that the results stay clean.
import { type Gap, GapReason, type LogEvent } from "@sluice/client";
import { reasonOf } from "../failure.ts";
import type { Output } from "../output.ts";
import { formatCount } from "../terminal.ts";

/** Says what is no entry. */
export function noteEvent(event: Exclude<LogEvent, { kind: "entry" }>, output: Output): undefined {
  switch (event.kind) {
    case "gap":
      noteGap(event.gap, output);
      return undefined;
    case "disconnected":
      output.note(`${reasonOf(event.error)}; trying again in ${(event.retryInMs / 1000).toFixed(1)} s`);
      return undefined;
    case "resumed":
      output.note("connected again; going on exactly where it stopped");
      return undefined;
    case "notice":
      output.note(`${event.notice.code}: ${event.notice.text}`);
      return undefined;
    case "sync":
    case "heartbeat":
      return undefined;
    default:
      return event satisfies never;
  }
}

/** Says what is missing, and how to get it where it is still there. */
export function noteGap({ count, reason, afterCursor, toCursor }: Gap, output: Output): void {
  const what = `${formatCount(count)} ${count === 1n ? "entry is" : "entries are"} missing here`;
  const isThere = reason === GapReason.SLOW_READER || reason === GapReason.SAMPLED;
  const where = isThere
    ? `to read them: --resume-after ${afterCursor} --until-cursor ${toCursor}`
    : `up to ${toCursor}`;
  output.note(`${what}: ${GAP_TEXTS[reason]} (${where})`);
}

const GAP_TEXTS: Readonly<Record<GapReason, string>> = {
  [GapReason.UNSPECIFIED]: "the server does not say why",
  [GapReason.SLOW_READER]: "this reader was too slow",
  [GapReason.SAMPLED]: "only a sample was asked for",
  [GapReason.RETENTION]: "they were older than the server keeps",
  [GapReason.EPOCH]: "they were cut off when the server recovered",
  [GapReason.CORRUPTION]: "their stored bytes are damaged",
};
