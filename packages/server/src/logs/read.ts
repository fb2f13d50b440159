// StreamLogs: from a request to a stream that is pulled.
import type { Call } from "@sluice/rpc";
import type { Clock, LogReader, ScanQuery } from "../store/contract.ts";
import type { ControlFrames } from "../stream/control.ts";
import { parseCursor, type Resumption, resumeAfter } from "../stream/cursor.ts";
import { type Follow, openFollow } from "../stream/follow.ts";
import type { Followers } from "../stream/followers.ts";
import { findTail, type TailOptions } from "../stream/tail.ts";
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
  const scanQuery = scanQueryOf(query, labels);
  const filter = query.terms.length === 0 ? undefined : new EntryMatcher(query.terms);
  const follow = openFollow({
    reader,
    followers,
    after:
      query.tail === undefined
        ? after
        : tailFinder(reader, after, {
            count: query.tail,
            query: scanQuery,
            filter,
            clock: followers.clock,
            call,
          }),
    query: scanQuery,
    filter,
    resolve: labels?.resolver(),
    isFollowing: query.isFollowing,
    limit: query.limit,
    controls: query.hasControls ? options.controls : undefined,
    isStrict: query.isStrict,
    heartbeatMs: query.heartbeatMs,
    cut,
  });
  closeWith(call, follow);
  return follow;
}

// The closures of a stream are made in functions of their own, so that each holds what it names and nothing else: a
// follower at the head should keep neither its request nor its query alive.

function closeWith(call: Call, follow: Follow): void {
  call.onEnd(() => {
    follow.close();
  });
}

function tailFinder(
  reader: LogReader,
  after: number,
  options: Pick<TailOptions, "count" | "query" | "filter"> & { readonly clock: Clock; readonly call: Call },
): () => Promise<number> {
  const { clock, call, ...rest } = options;
  const tail = { ...rest, nowMs: () => clock.monotonicMs(), isCancelled: () => call.isEnded };
  return async () => Math.max(after, await findTail(reader, tail));
}

function scanQueryOf(query: LogQuery, labels: ApplicationLabels | undefined): ScanQuery {
  return {
    minSeverity: query.minSeverity,
    ...(labels === undefined ? {} : { labels: labels.ids }),
    ...(query.startTimestamp === undefined ? {} : { startTimestamp: query.startTimestamp }),
    ...(query.endTimestamp === undefined ? {} : { endTimestamp: query.endTimestamp }),
  };
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
    this.#resolve();
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
