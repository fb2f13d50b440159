// The server's own log as a producer of the log store, so that it can be streamed like any other: application "sluice".
//
// W1. Nothing here logs: what fails is told by the next entry that succeeds, so that no failure feeds on itself.
// W2. Bounded: `LINES_MAX` wait, `LINES_PER_SECOND_MAX` are taken; what is beyond is dropped and counted, and said.
// W3. One write is under way at a time; `close` waits for it, after a last one.
import type { Clock } from "../store/contract.ts";
import { formatField, type LogRecord } from "./logger.ts";

export const OWN_APPLICATION = "sluice";

const LINES_MAX = 1024;
const LINES_PER_SECOND_MAX = 1000;
const LINE_CHARACTERS_MAX = 64 * 1024;

/** One entry of the server's own log. */
export interface OwnEntry {
  /** Unix ns. */
  readonly timestamp: bigint;
  readonly level: string;
  readonly application: string;
  readonly message: string;
  readonly fields: Record<string, string>;
}

/** Appends entries; resolves when they are durable. */
export type AppendOwn = (entries: readonly OwnEntry[]) => Promise<unknown>;

export interface OwnLog {
  /** Takes one JSON line of the logger. Before `start` it waits. */
  write(line: string): void;
  /** The store is open: what waited goes there, and what comes. */
  start(append: AppendOwn): void;
  /** Writes what waits, and takes no more. */
  close(): Promise<void>;
}

export function createOwnLog(clock: Clock): OwnLog {
  const waiting: string[] = [];
  let dropped = 0;
  let append: AppendOwn | undefined;
  let underWay: Promise<void> | undefined;
  let isClosed = false;
  let windowStartMs = clock.monotonicMs();
  let windowLines = 0;

  function write(line: string): void {
    if (isClosed) return;
    const nowMs = clock.monotonicMs();
    if (nowMs - windowStartMs >= 1000) {
      windowStartMs = nowMs;
      windowLines = 0;
    }
    windowLines += 1;
    if (waiting.length >= LINES_MAX || windowLines > LINES_PER_SECOND_MAX || line.length > LINE_CHARACTERS_MAX) {
      dropped += 1;
      return;
    }
    waiting.push(line);
    flush();
  }

  function flush(): void {
    if (append !== undefined && underWay === undefined && waiting.length > 0) underWay = sendAll(append);
  }

  async function sendAll(to: AppendOwn): Promise<void> {
    // Not in the caller's turn: what it logs besides joins, and what `to` logs is no recursion.
    await Promise.resolve();
    while (waiting.length > 0) {
      const entries = takeWaiting();
      try {
        await to(entries);
      } catch {
        dropped += entries.length;
      }
    }
    underWay = undefined;
  }

  function takeWaiting(): OwnEntry[] {
    const entries = waiting.splice(0).map(toEntry);
    if (dropped > 0) {
      entries.push(droppedEntry(clock.nowNs(), dropped));
      dropped = 0;
    }
    return entries;
  }

  return {
    write,
    start(to) {
      append = to;
      flush();
    },
    async close() {
      isClosed = true;
      await underWay;
    },
  };
}

function toEntry(line: string): OwnEntry {
  const { level, time, message, ...rest } = JSON.parse(line) as LogRecord;
  const fields: Record<string, string> = {};
  for (const [key, value] of Object.entries(rest)) {
    if (value !== undefined) fields[key] = typeof value === "string" ? value : formatField(value);
  }
  return {
    timestamp: BigInt(Date.parse(time)) * 1_000_000n,
    level: level.toUpperCase(),
    application: OWN_APPLICATION,
    message: message ?? "",
    fields,
  };
}

function droppedEntry(timestamp: bigint, count: number): OwnEntry {
  return {
    timestamp,
    level: "WARN",
    application: OWN_APPLICATION,
    message: `${count} lines of the server's own log were dropped here`,
    fields: { event: "own-log-dropped", count: String(count) },
  };
}
