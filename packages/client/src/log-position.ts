// Where a log stream stands, and the request that goes on from exactly there.
//
// P1. Whatever was delivered lies at or before the cursor; whatever was not lies after it. So a stream that is opened
//     anew after the cursor neither repeats nor misses.
// P2. `tail_lines` counts back from the head of the moment: it is asked for only until a place is known.
// P3. A server that interrupts a stream says up to where it had served it; its status comes after all that it had sent.
// P4. A heartbeat names the head of the log: a place to go on from only while the reader has no lag.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Gap, LogEntry, LogStreamRequestSchema, Notice } from "@sluice/api";
import { ErrorInfoSchema, RpcError } from "@sluice/rpc";

/** Which entries of a log are wanted. Everything that is absent does not restrict. */
export interface LogQuery {
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
  /** After history, go on with what comes. */
  readonly follow?: boolean;
  /** Cursor of the last entry already seen. */
  readonly resumeAfter?: string;
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
      log: query.log ?? "",
      applications: [...(query.applications ?? [])],
      logLevel: query.logLevel ?? "",
      filters: [...(query.filters ?? [])],
      startTimestamp: query.startTimestamp ?? 0n,
      endTimestamp: query.endTimestamp ?? 0n,
      follow: query.follow ?? false,
      strictCursor: query.strictCursor ?? false,
      controlFrames: true,
      resumeAfter: this.#cursor,
      ...(isFresh && query.tailLines !== undefined ? { tailLines: BigInt(query.tailLines) } : {}), // P2
      ...(this.#remaining === undefined ? {} : { limit: BigInt(this.#remaining) }),
      ...(this.#heartbeatMs === undefined ? {} : { heartbeatMs: this.#heartbeatMs }),
    };
  }

  /** Moves past a message of the stream. Returns the control in it; undefined: it is an entry. */
  advance(message: LogEntry): LogControl | undefined {
    const kind = message.control?.kind;
    if (kind === undefined) {
      this.#cursor = message.cursor;
      if (this.#remaining !== undefined) this.#remaining--;
      return undefined;
    }
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
      if (domain === "sluice" && reason === "STREAM_INTERRUPTED") this.#cursor = metadata["cursor"] ?? this.#cursor; // P3
    }
  }
}
