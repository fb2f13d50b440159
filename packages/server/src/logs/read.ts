// StreamLogs: from a request to a stream that is pulled.
import type { Call } from "@sluice/rpc";
import type { LogReader, ScanQuery } from "../store/contract.ts";
import type { ControlFrames } from "../stream/control.ts";
import { parseCursor, type Resumption, resumeAfter } from "../stream/cursor.ts";
import { type Follow, openFollow } from "../stream/follow.ts";
import type { Followers } from "../stream/followers.ts";
import { findTail } from "../stream/tail.ts";
import { EntryMatcher } from "./matcher.ts";
import type { LogQuery } from "./query.ts";

export interface ReadOptions {
  readonly reader: LogReader;
  readonly followers: Followers;
  readonly controls: ControlFrames;
}

/** Opens the stream of a query and closes it with the call. @throws InvalidRequest, CursorExpired, LimitExceeded */
export function readLogs(query: LogQuery, call: Call, options: ReadOptions): Follow {
  const { reader, followers } = options;
  const { after, cut } = startOf(query, reader);
  const labels = query.applications.length === 0 ? undefined : new ApplicationLabels(reader, query.applications);
  const scanQuery: ScanQuery = {
    minSeverity: query.minSeverity,
    ...(labels === undefined ? {} : { labels: labels.ids }),
    ...(query.startTimestamp === undefined ? {} : { startTimestamp: query.startTimestamp }),
    ...(query.endTimestamp === undefined ? {} : { endTimestamp: query.endTimestamp }),
  };
  const filter = query.terms.length === 0 ? undefined : new EntryMatcher(query.terms);
  const tailOptions = {
    count: query.tail ?? 0,
    query: scanQuery,
    filter,
    nowMs: () => followers.clock.monotonicMs(),
    isCancelled: () => call.isEnded,
  };
  const follow = openFollow({
    reader,
    followers,
    after: query.tail === undefined ? after : async () => Math.max(after, await findTail(reader, tailOptions)),
    query: scanQuery,
    filter,
    resolve: labels === undefined ? undefined : () => labels.resolve(),
    isFollowing: query.isFollowing,
    limit: query.limit,
    controls: query.hasControls ? options.controls : undefined,
    isStrict: query.isStrict,
    heartbeatMs: query.heartbeatMs,
    cut,
  });
  call.onEnd(() => {
    follow.close();
  });
  return follow;
}

function startOf(query: LogQuery, reader: LogReader): Resumption {
  if (query.resumeAfter === "") return { after: reader.first - 1, cut: undefined };
  return resumeAfter(reader, parseCursor(reader.name, query.resumeAfter, "resume_after"));
}

/** The label ids of applications, some of which may never have written so far. */
class ApplicationLabels {
  readonly ids = new Set<number>();
  readonly #reader: LogReader;
  #unknown: readonly string[];

  constructor(reader: LogReader, names: readonly string[]) {
    this.#reader = reader;
    this.#unknown = names;
    this.resolve();
  }

  /** Looks for those still unknown; answers whether any is left. */
  resolve(): boolean {
    this.#unknown = this.#unknown.filter((name) => {
      const id = this.#reader.findLabel(name);
      if (id !== undefined) this.ids.add(id);
      return id === undefined;
    });
    return this.#unknown.length > 0;
  }
}
