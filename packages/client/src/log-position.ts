// Where a log stream stands, and the request that goes on from exactly there.
//
// P1. Whatever was delivered lies at or before the cursor; whatever was not lies after it. So a stream that is opened
//     anew after the cursor neither repeats nor misses.
// P2. `tail_lines` counts back from the head of the moment: it is asked for only until a place is known.
// P3. A server that interrupts a stream says up to where it had served it; its status comes after all that it had sent.
// P4. A heartbeat names the head of the log: a place to go on from only while the reader has no lag.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Gap, type LogStreamRequestSchema, type Notice, SlowReader, type StreamControl } from "@sluice/api";
import { ErrorInfoSchema, RpcError } from "@sluice/rpc";

/** Which entries of a log are meant. Everything that is absent does not restrict. */
export interface LogSelection {
  /** Name of the log; absent: "default". */
  readonly log?: string;
  /** Entries of these applications; absent or empty: all. */
  readonly applications?: readonly string[];
  /** Minimum severity: TRACE, DEBUG, INFO, WARN, ERROR, FATAL. */
  readonly logLevel?: string;
  /** Terms that must all hold: text -text "quoted text" k=v k!=v k~regex k!~regex k>n k>=n k<n k<=n */
  readonly filters?: readonly string[];
  /** Event time, Unix ns, inclusive. */
  readonly startTimestamp?: bigint;
  /** Event time, Unix ns, exclusive. */
  readonly endTimestamp?: bigint;
}

/**
 * What becomes of a follower that is more than `lagMaxEntries` (default 10,000) entries of the log behind. "drop-oldest"
 * stays live, with a gap; "sample" gets at most `perSecond` in a second, with gaps for the rest; "disconnect" ends with
 * RESOURCE_EXHAUSTED, and the stream's `cursor` is where to go on. History is given whole to all of them.
 */
export type SlowReaderChoice =
  | { readonly kind: "drop-oldest" | "disconnect"; readonly lagMaxEntries?: number }
  | { readonly kind: "sample"; readonly perSecond: number; readonly lagMaxEntries?: number };

/** What is to be read of a log. */
export interface LogQuery extends LogSelection {
  /** After history, go on with what comes. */
  readonly follow?: boolean;
  /** With `follow`. Absent: the reader catches up, however far behind it is. */
  readonly slowReader?: SlowReaderChoice;
  /** Cursor of the last entry already seen. */
  readonly resumeAfter?: string;
  /** End after the place of this cursor: what a gap left out lies after its `afterCursor`, until its `toCursor`. */
  readonly untilCursor?: string;
  /** An expired cursor ends the stream with OUT_OF_RANGE instead of telling of a gap. */
  readonly strictCursor?: boolean;
  /** Only the last n matching entries of history; 0 with `follow`: only what comes. */
  readonly tailLines?: number;
  /** End after n entries. */
  readonly limit?: number;
}

/** What a stream delivers beside entries. */
export type LogControl =
  /** Entries are missing: the range, the count and the reason. */
  | { readonly kind: "gap"; readonly gap: Gap }
  /** History ends here; what follows is live. */
  | { readonly kind: "sync"; readonly cursor: string }
  /** The stream lives. `lagEntries` lie between the reader and the head of the log. */
  | { readonly kind: "heartbeat"; readonly headCursor: string; readonly lagEntries: bigint }
  /** Something to know, for people and programs. A control that this client does not know is one, `UNKNOWN_CONTROL`. */
  | { readonly kind: "notice"; readonly notice: Pick<Notice, "code" | "text"> };

/** What a stream is made of: the place behind it is known. */
export interface Placed {
  readonly cursor: string;
}

const UNKNOWN_CONTROL = {
  code: "UNKNOWN_CONTROL",
  text: "The server sent a control that this client does not know; a newer client would",
};

export class LogPosition {
  readonly #query: LogQuery;
  readonly #heartbeatMs: number | undefined;
  #cursor: string;
  #remaining: number | undefined;

  constructor(query: LogQuery, options: { heartbeatMs: number | undefined }) {
    this.#query = query;
    this.#heartbeatMs = options.heartbeatMs;
    this.#cursor = query.resumeAfter ?? "";
    this.#remaining = query.limit;
  }

  /** Everything up to here was delivered; empty: no place is known yet. */
  get cursor(): string {
    return this.#cursor;
  }

  /** True when as many entries were delivered as were asked for. */
  get isFull(): boolean {
    return this.#remaining === 0;
  }

  /** The request for what is still missing. */
  request(): MessageInitShape<typeof LogStreamRequestSchema> {
    const query = this.#query;
    const isFresh = this.#cursor === (query.resumeAfter ?? "");
    return {
      ...selectionOf(query),
      ...slowReaderOf(query.slowReader),
      ...(query.untilCursor === undefined ? {} : { untilCursor: query.untilCursor }),
      follow: query.follow ?? false,
      strictCursor: query.strictCursor ?? false,
      controlFrames: true,
      resumeAfter: this.#cursor,
      ...(isFresh && query.tailLines !== undefined ? { tailLines: BigInt(query.tailLines) } : {}), // P2
      ...(this.#remaining === undefined ? {} : { limit: BigInt(this.#remaining) }),
      ...(this.#heartbeatMs === undefined ? {} : { heartbeatMs: this.#heartbeatMs }),
    };
  }

  /** Moves past an entry. */
  pass(entry: Placed): void {
    this.#cursor = entry.cursor;
    if (this.#remaining !== undefined) this.#remaining--;
  }

  /** Moves past a control, and says what it is. */
  hear({ kind }: StreamControl): LogControl {
    switch (kind.case) {
      case "gap":
        this.#cursor = kind.value.toCursor;
        return { kind: "gap", gap: kind.value };
      case "sync":
        this.#cursor = kind.value.cursor;
        return { kind: "sync", cursor: kind.value.cursor };
      case "heartbeat": {
        const { headCursor, lagEntries } = kind.value;
        if (lagEntries === 0n && headCursor !== "") this.#cursor = headCursor; // P4
        return { kind: "heartbeat", headCursor, lagEntries };
      }
      case "notice":
        return { kind: "notice", notice: kind.value };
      case undefined:
        return { kind: "notice", notice: UNKNOWN_CONTROL };
      default:
        return kind satisfies never;
    }
  }

  /** Moves to where the server says that it ended the stream; an error that says nothing of the kind changes nothing. */
  interrupt(error: unknown): void {
    if (!(error instanceof RpcError)) return;
    for (const { domain, reason, metadata } of error.findDetails(ErrorInfoSchema)) {
      const isPlace = reason === "STREAM_INTERRUPTED" || reason === "SLOW_READER";
      if (domain === "sluice" && isPlace) this.#cursor = metadata["cursor"] ?? this.#cursor; // P3
    }
  }
}

/** The fields of a request that say which entries are meant. */
export function selectionOf(selection: LogSelection) {
  return {
    log: selection.log ?? "",
    applications: [...(selection.applications ?? [])],
    logLevel: selection.logLevel ?? "",
    filters: [...(selection.filters ?? [])],
    startTimestamp: selection.startTimestamp ?? 0n,
    endTimestamp: selection.endTimestamp ?? 0n,
  };
}

function slowReaderOf(choice: SlowReaderChoice | undefined) {
  if (choice === undefined) return {};
  return {
    slowReader: SLOW_READERS[choice.kind],
    ...(choice.lagMaxEntries === undefined ? {} : { lagMaxEntries: BigInt(choice.lagMaxEntries) }),
    ...(choice.kind === "sample" ? { samplePerSecond: choice.perSecond } : {}),
  };
}

const SLOW_READERS: Readonly<Record<SlowReaderChoice["kind"], SlowReader>> = {
  "drop-oldest": SlowReader.DROP_OLDEST,
  sample: SlowReader.SAMPLE,
  disconnect: SlowReader.DISCONNECT,
};
