// A watch: tells one reader what becomes of what is in a folder. A place in a picture that the transport pulls.
//
// W1. All that is kept for a reader is a number. Who reads slowly is told less often, of each path what has become of it
//     since; never is anything kept for it that could grow.
// W2. What it cannot be told is said (Resync), before anything else is.
// W3. A sync is sent once all that happened before the call began has been told.
// W4. Whatever ends the stream, `close` runs in that turn: a place among the watches and the heartbeat are all there is to
//     free.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileChangeKind, type FileChangeSchema, ResyncReason, WatchFilesResponseSchema } from "@sluice/api";
import { frameOf, type FrameSource, type FrameStream, retryDelayMs, type RpcError } from "@sluice/rpc";
import { StreamInterrupted } from "../errors.ts";
import type { Clock } from "../store/contract.ts";
import { ControlFrames } from "../stream/control.ts";
import type { Beating, Heartbeats } from "../stream/heartbeat.ts";
import { fileInfo } from "./file-info.ts";
import { type Entry, Picture } from "./watch-picture.ts";
import { formatToken, type WatchQuery } from "./watch-query.ts";
import type { Scanner } from "./watch-scanner.ts";

export interface WatchOptions {
  readonly query: WatchQuery;
  readonly scanner: Scanner;
  readonly heartbeats: Heartbeats;
  readonly clock: Clock;
  /** Called once, when the watch ends. */
  readonly onClose: (watch: Watch) => void;
}

/** Changes in a message, and entries looked through in a turn to find those that a glob takes. */
const BATCH = 256;
const SEARCHED = 4096;

const controls = new ControlFrames(WatchFilesResponseSchema.field.control.number);

export class Watch implements FrameSource, Beating {
  readonly beatEveryMs: number;
  beatDueMs = 0;
  beatPlace = -1;

  readonly #options: WatchOptions;
  readonly #picture: Picture;
  /** The look that must have ended before the sync. */
  readonly #syncLook: number;
  #stream: FrameStream | undefined;
  /** Told up to here; undefined: nothing is told yet, the sync says from where on. */
  #position: number | undefined;
  /** What is told is what was there before. */
  #isInState = false;
  #isSynced = false;
  #isBeatDue = false;
  #resync: ResyncReason | undefined;
  #failure: { readonly error: unknown } | undefined;
  #isClosed = false;

  constructor(options: WatchOptions) {
    const { query, scanner, heartbeats } = options;
    const { after, heartbeatMs } = query;
    this.#options = options;
    this.#picture = scanner.picture;
    this.beatEveryMs = heartbeatMs;
    this.#syncLook = scanner.ask();
    if (after === undefined) this.#begin();
    else if (after.generation !== this.#picture.generation || after.position > this.#picture.head) {
      this.#resyncFor(ResyncReason.GENERATION_UNKNOWN);
    } else {
      this.#position = after.position;
      this.#isInState = after.isInState;
    }
    if (heartbeatMs > 0) heartbeats.add(this);
  }

  attach(stream: FrameStream): void {
    this.#stream = stream;
    if (this.#failure !== undefined) this.fail(this.#failure.error);
  }

  pull(_maxBytes: number): Uint8Array | undefined {
    if (this.#isClosed) return undefined;
    const { scanner, clock } = this.#options;
    if (this.#isBehind()) this.#resyncFor(ResyncReason.REMOVALS_FORGOTTEN);
    if (this.#resync !== undefined) {
      const reason = this.#resync;
      this.#resync = undefined;
      return frame({ resync: { reason } });
    }
    if (this.#isBeatDue) {
      this.#isBeatDue = false;
      const lagEntries = this.#picture.head - (this.#position ?? this.#picture.head);
      return controls.heartbeat({ headCursor: this.#tokenOf(this.#picture.head), nowNs: clock.nowNs(), lagEntries });
    }
    const changes = this.#nextChanges();
    if (changes !== undefined) return changes;
    if (this.#isSynced || scanner.looks < this.#syncLook) return undefined;
    if (this.#position !== undefined && this.#position < this.#picture.head) return undefined;
    this.#isSynced = true;
    this.#isInState = false;
    this.#position ??= this.#picture.head;
    return controls.sync(this.#tokenOf(this.#position));
  }

  /** There may be something to tell. */
  onMoved(): void {
    const { head } = this.#picture;
    const isSyncDue = !this.#isSynced && this.#options.scanner.looks >= this.#syncLook;
    if (isSyncDue || (this.#position ?? head) < head) this.#stream?.wake();
  }

  beat(): void {
    this.#isBeatDue = true;
    this.#stream?.wake();
  }

  fail(error: unknown): void {
    const stream = this.#stream;
    if (stream === undefined) this.#failure = { error };
    this.close();
    stream?.fail(error);
  }

  /** The server stops. */
  interrupt(): void {
    this.fail(this.farewell());
  }

  farewell(error?: RpcError): StreamInterrupted {
    const isPlace = this.#position !== undefined && this.#resync === undefined;
    return new StreamInterrupted({
      cursor: isPlace ? this.#tokenOf(this.#position!) : undefined,
      retryAfterMs: error === undefined ? undefined : retryDelayMs(error),
    });
  }

  /** W4. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stream = undefined;
    this.#options.heartbeats.remove(this);
    this.#options.onClose(this);
  }

  /** More was removed since than is remembered; to who knows nothing yet it is nothing. */
  #isBehind(): boolean {
    return (this.#position ?? 0) > 0 && this.#position! < this.#picture.forgotten;
  }

  #begin(): void {
    this.#isInState = this.#options.query.hasState;
    this.#isSynced = false;
    this.#position = this.#isInState ? 0 : undefined;
  }

  #resyncFor(reason: ResyncReason): void {
    this.#resync = reason;
    this.#begin();
  }

  /** W1; undefined: there is nothing to tell now. */
  #nextChanges(): Uint8Array | undefined {
    const from = this.#position;
    if (from === undefined) return undefined;
    const { matches } = this.#options.query;
    const changes: MessageInitShape<typeof FileChangeSchema>[] = [];
    for (let searched = 0; changes.length < BATCH && searched < SEARCHED;) {
      const entries = this.#picture.after(this.#position!, BATCH);
      if (entries.length === 0) {
        this.#position = this.#picture.head;
        break;
      }
      for (const entry of entries) {
        if (changes.length === BATCH) break;
        this.#position = entry.at;
        const change = this.#changeOf(entry, from);
        if (change !== undefined && matches(partsOf(entry).join("/"))) changes.push(change);
      }
      searched += entries.length;
    }
    if (changes.length > 0) return frame({ changes, resumeToken: this.#tokenOf(this.#position!) });
    // Nothing that this reader wants, so far: on with the next turn.
    if (this.#position! < this.#picture.head) setImmediate(() => this.#stream?.wake());
    return undefined;
  }

  #changeOf(entry: Entry, from: number): MessageInitShape<typeof FileChangeSchema> | undefined {
    const what = Picture.kindOf(entry, from);
    if (what === undefined) return undefined;
    const { version, isFolder } = entry;
    const path = this.#pathOf(entry);
    if (what === "removed") {
      return { kind: FileChangeKind.REMOVED, file: { filePath: path, isDirectory: isFolder } };
    }
    const kind = this.#isInState
      ? FileChangeKind.EXISTS
      : what === "created"
        ? FileChangeKind.CREATED
        : FileChangeKind.CHANGED;
    return { kind, file: fileInfo(path, { version, isFolder }) };
  }

  #pathOf(entry: Entry): string {
    const { folder } = this.#options.query;
    return [...(folder === undefined || folder.text === "" ? [] : [folder.text]), ...partsOf(entry)].join("/");
  }

  #tokenOf(position: number): string {
    return formatToken({ generation: this.#picture.generation, position, isInState: this.#isInState });
  }
}

/** Relative to the folder that is watched. */
function partsOf(entry: Entry): string[] {
  const parts: string[] = [];
  for (let each = entry; each.parent !== undefined; each = each.parent) parts.push(each.name);
  return parts.reverse();
}

function frame(message: MessageInitShape<typeof WatchFilesResponseSchema>): Uint8Array {
  return frameOf(toBinary(WatchFilesResponseSchema, create(WatchFilesResponseSchema, message)));
}
