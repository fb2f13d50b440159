// StreamLogs and StreamLogBatches: from a request to a stream that is pulled.
import type { Call, FrameSource, Frames } from "@sluice/rpc";
import type { Clock, LogReader, ScanQuery } from "../store/contract.ts";
import { BatchSource, type EncodesBatches } from "../stream/batches.ts";
import type { ControlFrames, NoticeControl } from "../stream/control.ts";
import { parseCursor, type Resumption, resumeAfter } from "../stream/cursor.ts";
import { type Follow, openFollow } from "../stream/follow.ts";
import type { Followers } from "../stream/followers.ts";
import type { FrameFilter } from "../stream/frame-filter.ts";
import type { MannerOptions } from "../stream/manner.ts";
import { findTail, type TailOptions } from "../stream/tail.ts";
import { readBackwards } from "./backward.ts";
import { sequenceOf } from "./frame-fields.ts";
import { impossibility } from "./impossible.ts";
import { marksOf } from "./marks.ts";
import { EntryMatcher } from "./matcher.ts";
import type { LogQuery } from "./query.ts";
import type { SharedMatchers } from "./shared-matcher.ts";
import { soughtBy } from "./sought-texts.ts";

/** Characters of what a notice cites. */
const NOTICE_LENGTH_MAX = 1000;

export interface ReadOptions {
  readonly reader: LogReader;
  readonly followers: Followers;
  readonly matchers: SharedMatchers;
  /** Of LogEntry. */
  readonly controls: ControlFrames;
  /** Of LogBatch. */
  readonly batchControls: ControlFrames;
  readonly encoder: EncodesBatches;
}

/** Opens the stream of a query and closes it with the call. @throws InvalidRequest, CursorExpired, LimitExceeded */
export function readLogs(query: LogQuery, call: Call, options: ReadOptions): FrameSource | AsyncIterable<Frames> {
  const { reader, followers } = options;
  const start = startOf(query, reader);
  const labels = query.applications.length === 0 ? undefined : new ApplicationLabels(reader, query.applications);
  const scanQuery = scanQueryOf(query, labels, soughtBy(query.terms, followers));
  const filter = filterOf(query, call, options.matchers);
  const notices = query.hasControls ? noticesOf(query, labels) : [];
  if (query.isNewestFirst) {
    return readBackwards(query, call, { ...options, clock: followers.clock, start, scanQuery, filter, notices });
  }
  const follow = openFollow({
    reader,
    followers,
    after: query.tail === undefined ? start.after : tailFinder(query, call, { ...options, start, scanQuery, filter }),
    query: scanQuery,
    filter,
    resolve: labels?.resolver(),
    isFollowing: query.isFollowing,
    limit: query.limit,
    controls: query.hasControls ? options.controls : undefined,
    isStrict: query.isStrict,
    heartbeatMs: query.heartbeatMs,
    cut: start.cut,
    notices,
    manner: mannerOf(query, reader),
  });
  closeWith(call, follow);
  if (query.batch === undefined) return follow;
  const { encoder, controls: entryControls, batchControls } = options;
  return new BatchSource(follow, { entriesMax: query.batch.entriesMax, encoder, entryControls, batchControls });
}

/** Who follows shares the matching with all who have the same filter. */
function filterOf({ terms, isFollowing }: LogQuery, call: Call, matchers: SharedMatchers): FrameFilter | undefined {
  if (terms.length === 0) return undefined;
  if (!isFollowing) return new EntryMatcher(terms);
  const filter = matchers.join(terms);
  call.onEnd(() => {
    matchers.leave(filter);
  });
  return filter;
}

// The closures of a stream are made in functions of their own, so that each holds what it names and nothing else: a
// follower at the head should keep neither its request nor its query alive.

function closeWith(call: Call, follow: Follow): void {
  call.onEnd(() => {
    follow.close();
  });
}

interface TailParts extends ReadOptions {
  readonly start: Resumption;
  readonly scanQuery: ScanQuery;
  readonly filter: FrameFilter | undefined;
}

function tailFinder(query: LogQuery, call: Call, parts: TailParts): () => Promise<number> {
  const { reader, start, scanQuery, filter, followers } = parts;
  const { after } = start;
  const tail = tailOptions({ count: query.tail!, query: scanQuery, filter }, call, followers.clock);
  return async () => Math.max(after, await findTail(reader, tail));
}

function tailOptions(tail: Pick<TailOptions, "count" | "query" | "filter">, call: Call, clock: Clock): TailOptions {
  return { ...tail, nowMs: () => clock.monotonicMs(), isCancelled: () => call.isEnded };
}

function scanQueryOf(query: LogQuery, labels: ApplicationLabels | undefined, sought: ScanQuery["sought"]): ScanQuery {
  const marks = marksOf(query.terms);
  return {
    ...(marks.length === 0 ? {} : { marks }),
    ...(sought === undefined ? {} : { sought }),
    minSeverity: query.minSeverity,
    ...(labels === undefined ? {} : { labels: labels.ids }),
    ...(query.startTimestamp === undefined ? {} : { startTimestamp: query.startTimestamp }),
    ...(query.endTimestamp === undefined ? {} : { endTimestamp: query.endTimestamp }),
  };
}

function startOf(query: LogQuery, reader: LogReader): Resumption {
  const { resumeAfter: cursor } = query;
  if (cursor !== "") return resumeAfter(reader, parseCursor(reader.name, cursor, "resume_after"));
  return { after: query.isNewestFirst ? reader.head.sequence + 1 : reader.first - 1, cut: undefined };
}

/** undefined: a plain stream. */
function mannerOf(query: LogQuery, reader: LogReader): MannerOptions | undefined {
  const { slowReader, batch, untilCursor } = query;
  if (slowReader === undefined && batch === undefined && untilCursor === "") return undefined;
  const until =
    untilCursor === ""
      ? Number.POSITIVE_INFINITY
      : resumeAfter(reader, parseCursor(reader.name, untilCursor, "until_cursor")).after;
  return { until, slowReader, batch, sequenceOf };
}

/** What a reader should know who will see nothing, or less than it thinks. */
function noticesOf(query: LogQuery, labels: ApplicationLabels | undefined): NoticeControl[] {
  const notices: NoticeControl[] = [];
  const why = impossibility(query);
  if (why !== undefined) {
    notices.push({ code: "CANNOT_MATCH", text: shortened(`Nothing can match this query: ${why}`) });
  }
  const unknown = labels?.unknown ?? [];
  if (unknown.length > 0) {
    const [first, ...others] = unknown;
    const rest = others.length === 0 ? "" : `, nor of ${others.length} more that are asked for`;
    const text = `No entry of the application "${shortened(first!)}" is in the log "${query.log}" so far${rest}`;
    notices.push({ code: "UNKNOWN_APPLICATION", text });
  }
  return notices;
}

function shortened(text: string): string {
  return text.length <= NOTICE_LENGTH_MAX ? text : `${text.slice(0, NOTICE_LENGTH_MAX)}…`;
}

/** The label ids of applications, some of which may never have written so far. */
class ApplicationLabels {
  readonly ids = new Set<number>();
  readonly #reader: LogReader;
  #unknown: readonly string[];

  constructor(reader: LogReader, names: readonly string[]) {
    this.#reader = reader;
    this.#unknown = names;
    this.#resolve();
  }

  /** Those of which no entry is there. */
  get unknown(): readonly string[] {
    return this.#unknown;
  }

  /** Looks for those still unknown and answers whether any is left; undefined when all are known. */
  resolver(): (() => boolean) | undefined {
    return this.#unknown.length === 0 ? undefined : () => this.#resolve();
  }

  #resolve(): boolean {
    this.#unknown = this.#unknown.filter((name) => {
      const id = this.#reader.findLabel(name);
      if (id !== undefined) this.ids.add(id);
      return id === undefined;
    });
    return this.#unknown.length > 0;
  }
}
