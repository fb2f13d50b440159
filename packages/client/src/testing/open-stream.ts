// Streams whose attempts a test answers by hand.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { GapReason, type LogEntry, LogEntrySchema, type LogStreamRequestSchema } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import type { LogQuery } from "../log-position.ts";
import { type LogEvent, LogStream, type LogStreamOptions, oneByOne } from "../log-stream.ts";
import { STREAM_RETRY } from "../retry.ts";
import { constantRandom } from "./chance.ts";
import { Feed } from "./feed.ts";

type Request = MessageInitShape<typeof LogStreamRequestSchema>;

export function entry(sequence: number): LogEntry {
  return create(LogEntrySchema, { message: `m${sequence}`, sequence: BigInt(sequence), cursor: `c${sequence}` });
}
export function heartbeat(headCursor: string, lagEntries = 0n): LogEntry {
  return create(LogEntrySchema, { control: { kind: { case: "heartbeat", value: { headCursor, lagEntries } } } });
}
export function sync(cursor: string): LogEntry {
  return create(LogEntrySchema, { control: { kind: { case: "sync", value: { cursor } } } });
}
export function gap(afterCursor: string, toCursor: string, count: bigint): LogEntry {
  const value = { afterCursor, toCursor, count, reason: GapReason.RETENTION };
  return create(LogEntrySchema, { control: { kind: { case: "gap", value } } });
}
export const unavailable = (): RpcError => new RpcError(Code.UNAVAILABLE, "connection lost");

/** A stream whose attempts a test answers by hand. */
export function openStream(query: LogQuery, options: LogStreamOptions = {}) {
  const clock = new ManualClock();
  const closed = new AbortController();
  const requests: Request[] = [];
  const attempts: Feed<LogEntry>[] = [];
  const stream = new LogStream(
    {
      call: (request, { signal }) => {
        const feed = new Feed<LogEntry>(signal);
        requests.push(request);
        attempts.push(feed);
        return oneByOne(feed);
      },
      clock,
      random: constantRandom(0),
      retry: STREAM_RETRY,
      closed: closed.signal,
    },
    query,
    options,
  );
  const attempt = (number: number): Feed<LogEntry> => {
    const feed = attempts[number - 1];
    if (feed === undefined) throw new Error(`There was no attempt ${number}, only ${attempts.length}`);
    return feed;
  };
  return { clock, closed, requests, attempts, attempt, stream };
}

/** Reads in the background what a stream delivers. */
export function collect<T>(stream: AsyncIterable<T>) {
  const seen: T[] = [];
  const outcome: { error?: unknown; isDone: boolean } = { isDone: false };
  const finished = (async () => {
    try {
      for await (const each of stream) seen.push(each);
    } catch (error) {
      outcome.error = error;
    }
    outcome.isDone = true;
  })();
  return { seen, outcome, finished };
}

export const messagesOf = (entries: readonly LogEntry[]): string[] => entries.map((each) => each.message);
export const kindsOf = (events: readonly LogEvent[]): string[] => events.map((each) => each.kind);
