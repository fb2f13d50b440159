// A watch of a folder that outlives its connections, and the server.
//
// FW1. Between two attempts the token decides alone what is asked for next. What the server cannot tell any more comes as a
//      "resync", never as silence.
// FW2. One message is pulled at a time, and only when the reader has taken all of the last one: what waits, waits at the
//      server, as a place in what it knows of the folder.
// FW3. When the reader leaves, by `return` or by its signal, the attempt, its timer and its listeners go in that turn.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  FileChangeKind,
  type FileInfo,
  ResyncReason,
  type WatchFilesRequestSchema,
  type WatchFilesResponse,
} from "@sluice/api";
import { listenTo, SILENCE_IN_HEARTBEATS } from "./listen.ts";
import { type ConnectionEvent, reconnecting } from "./reconnect.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Clock, Random } from "./time.ts";

/** What is watched. */
export interface FileWatchQuery {
  /** The folder. Default: all that is shared. */
  readonly path?: string;
  /** Also what is in the folders below. */
  readonly isRecursive?: boolean;
  /** Only paths, relative to the folder, that match one of these. */
  readonly globs?: readonly string[];
  /** First what is there, as "exists", up to a "sync"; also after a "resync". */
  readonly includeExisting?: boolean;
  /** The `token` of an earlier watch of the same folder: what happened behind it. */
  readonly resumeAfter?: string;
}

/** How it is watched. */
export interface FileWatchOptions {
  /** Ends the watch: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /**
   * How often the server says that the stream lives, ms. One that is silent for two and a half times as long is given up
   * and opened anew. 0: never. Default: 15 s.
   */
  readonly heartbeatMs?: number;
  /** Default: goes on for ever, with up to 30 s between attempts. */
  readonly retry?: Partial<RetryPolicy>;
}

/** What happens in a folder, in order. Of each path only what has become of it since the last event that named it. */
export type FileWatchEvent =
  /** "exists": was there before. "created": also removed and made again. "changed": has other contents. */
  | { readonly kind: "exists" | "created" | "changed"; readonly file: FileInfo }
  | { readonly kind: "removed"; readonly path: string; readonly isDirectory: boolean }
  /** Everything that happened before the watch began (or began again) was told. */
  | { readonly kind: "sync" }
  /** What is known of the folder no longer holds: forget it. With `includeExisting` all that is there follows. */
  | { readonly kind: "resync"; readonly reason: "generation-unknown" | "removals-forgotten" | "unknown" }
  | ConnectionEvent;

/** The one call that a watch needs. */
export interface WatchFilesCall {
  (
    request: MessageInitShape<typeof WatchFilesRequestSchema>,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<WatchFilesResponse>;
}

interface WatchContext {
  readonly call: WatchFilesCall;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

const HEARTBEAT_MS = 15_000;
/** What becomes of what is in a folder. Iterated once. */
export class FileWatch implements AsyncIterable<FileWatchEvent> {
  readonly #context: WatchContext;
  readonly #query: FileWatchQuery;
  readonly #options: FileWatchOptions;
  #token: string;
  #isTaken = false;

  constructor(context: WatchContext, query: FileWatchQuery, options: FileWatchOptions) {
    this.#context = context;
    this.#query = query;
    this.#options = options;
    this.#token = query.resumeAfter ?? "";
  }

  /**
   * `resumeAfter` of a later watch: everything before it was handed out. Several events may come together; while they are
   * handed out it is the place before all of them.
   */
  get token(): string {
    return this.#token;
  }

  /** @throws RpcError; the signal's reason */
  [Symbol.asyncIterator](): AsyncIterableIterator<FileWatchEvent> {
    if (this.#isTaken) throw new Error("Cannot iterate a watch twice: open another with resumeAfter");
    this.#isTaken = true;
    const { clock, random, closed, retry } = this.#context;
    return reconnecting<WatchFilesResponse, FileWatchEvent>({
      attempt: (stop) => this.#attempt(stop),
      eventsOf: (message) => this.#eventsOf(message),
      clock,
      random,
      retry: { ...retry, ...this.#options.retry },
      signals: [closed, this.#options.signal],
    });
  }

  *#eventsOf(message: WatchFilesResponse): Generator<FileWatchEvent> {
    const events = eventsOf(message);
    for (const [i, event] of events.entries()) {
      // All of a message, or none of it.
      if (i === events.length - 1) this.#token = tokenOf(message) ?? this.#token;
      yield event;
    }
  }

  #attempt(stop: AbortSignal): AsyncGenerator<WatchFilesResponse> {
    const { call, clock } = this.#context;
    const { path = "", isRecursive = false, globs = [], includeExisting = false } = this.#query;
    const { heartbeatMs = HEARTBEAT_MS } = this.#options;
    const wanted = { path, recursive: isRecursive, globs: [...globs], includeExisting };
    return listenTo((options) => call({ ...wanted, resumeToken: this.#token, heartbeatMs }, options), {
      what: "watch",
      silenceMs: heartbeatMs > 0 ? heartbeatMs * SILENCE_IN_HEARTBEATS : undefined,
      clock,
      stop,
    });
  }
}

function eventsOf({ changes, resync, control }: WatchFilesResponse): FileWatchEvent[] {
  const events: FileWatchEvent[] = [];
  if (resync !== undefined) events.push({ kind: "resync", reason: reasonOf(resync.reason) });
  for (const { kind, file } of changes) {
    if (file === undefined) continue;
    const { filePath: path, isDirectory } = file;
    if (kind === FileChangeKind.REMOVED) events.push({ kind: "removed", path, isDirectory });
    else events.push({ kind: kindOf(kind), file });
  }
  if (control?.kind.case === "sync") events.push({ kind: "sync" });
  return events;
}

function kindOf(kind: FileChangeKind): "exists" | "created" | "changed" {
  if (kind === FileChangeKind.EXISTS) return "exists";
  return kind === FileChangeKind.CREATED ? "created" : "changed";
}

function reasonOf(reason: ResyncReason): "generation-unknown" | "removals-forgotten" | "unknown" {
  if (reason === ResyncReason.GENERATION_UNKNOWN) return "generation-unknown";
  return reason === ResyncReason.REMOVALS_FORGOTTEN ? "removals-forgotten" : "unknown";
}

/** The place behind a message; undefined: it names none. */
function tokenOf({ resumeToken, control }: WatchFilesResponse): string | undefined {
  if (resumeToken !== "") return resumeToken;
  return control?.kind.case === "sync" ? control.kind.value.cursor : undefined;
}
