// What of the history a subscription begins with: found, and what is missing of it said.
import { CursorExpired, SluiceError } from "../errors.ts";
import { cursorOf, formatCursor, parseCursor, resumeAfter } from "../stream/cursor.ts";
import type { GapControl } from "../stream/control.ts";
import { HISTORY_LOG_NAME, type HistoryLog } from "./history/history-log.ts";
import { replayFrames } from "./history/replay.ts";
import type { MetricsQuery } from "./query.ts";
import type { Selection } from "./selection.ts";
import type { Past } from "./subscription.ts";

const END_NS = 2n ** 63n;

/**
 * Undefined: the query asks for none. What is live counts from the turn in which this is called.
 * @throws InvalidRequest, SluiceError: no history is kept, or it is behind the cursor; CursorExpired where a gap could not be told
 */
export function findPast(query: MetricsQuery, selection: Selection, log: HistoryLog | undefined): Past | undefined {
  const { replay } = query;
  if (replay === undefined) return undefined;
  if (log === undefined) {
    const text = "Cannot replay metrics: this server keeps no history of them (metrics.history is off)";
    throw new SluiceError("failed-precondition", text, { reason: "NO_HISTORY" });
  }
  const { history } = log;
  const { ticks } = history;
  const after = replay.kind === "after" ? findPlace(log, replay.cursor) : undefined;
  const gap = after === undefined ? gapSince(log, replay) : (after.gap ?? gapAfter(log, after.sequence));
  if (gap !== undefined && !query.hasControls) {
    const text = "Cannot go on from there: the history of metrics does not reach so far; subscribe without it";
    throw new CursorExpired(text, { cursor: gap.toCursor });
  }
  const told = new Set<number>();
  const ids: number[] = [];
  for (const [id, series] of history.all()) if (query.matches(series)) ids.push(id);
  const range = {
    fromNs: replay.kind === "since" ? replay.startNs : -END_NS,
    toNs: END_NS,
    toTick: ticks.next,
    ...(after === undefined ? {} : { fromTick: ticks.firstAfter(after.sequence) }),
  };
  const intervalNs = BigInt(query.intervalMs) * 1_000_000n;
  const options = { ...query, intervalNs, isRaw: query.isRaw ?? false };
  return {
    gap,
    frames: replayFrames(history, { ids, range, options, told }),
    from: replay.kind === "after" ? replay.cursor : "",
    cursor: log.cursor,
    untold() {
      if (replay.kind === "after") return [];
      return [...selection.series()].filter(({ historyId }) => !told.has(historyId));
    },
  };
}

interface Place {
  readonly sequence: number;
  /** The log has lost what the reader saw. */
  readonly gap: GapControl | undefined;
}

function findPlace({ reader }: HistoryLog, cursor: string): Place {
  const { after, cut } = resumeAfter(reader, parseCursor(HISTORY_LOG_NAME, cursor, "resume_after"));
  if (cut === undefined) return { sequence: after, gap: undefined };
  const afterCursor = formatCursor(reader.name, cut.seen);
  return {
    sequence: after,
    gap: { afterCursor, toCursor: cursorOf(reader, after), count: cut.count, reason: "epoch" },
  };
}

function gapAfter({ reader, history }: HistoryLog, sequence: number): GapControl | undefined {
  const { lostSequence } = history;
  if (sequence >= lostSequence) return undefined;
  const afterCursor = cursorOf(reader, sequence);
  const toCursor = cursorOf(reader, lostSequence);
  return { afterCursor, toCursor, count: lostSequence - sequence, reason: "retention" };
}

/** How many there were before the time is not known. */
function gapSince({ reader, history }: HistoryLog, replay: MetricsQuery["replay"]): GapControl | undefined {
  if (replay?.kind !== "since" || replay.startNs > history.lostUntilNs) return undefined;
  return { afterCursor: "", toCursor: cursorOf(reader, history.lostSequence), count: 0, reason: "retention" };
}
