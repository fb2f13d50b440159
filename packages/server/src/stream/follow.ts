// Streams a log to one reader: history, then, when it follows, what comes. A cursor that the transport pulls.
//
// S1. Entries leave in ingest order, each at most once, and none is left out but by the query, or with a gap that says so:
//     history and live are one scan.
// S2. At the head an unfiltered follower is a handful of field accesses a delivery, and no allocation here.
// S3. The event loop is held for SELECT_MS at a time, however rare the matches are.
// S4. Who is interrupted (drain, age of the connection) is told the cursor behind what was sent and left out: going on after
//     it neither repeats nor misses.
// S5. Whatever ends the stream, `close` runs in that turn: the scan, the place among the followers, the heartbeat and a
//     timer are all that there is to free.
import { type FrameSource, type FrameStream, retryDelayMs, type RpcError } from "@sluice/rpc";
import { StreamInterrupted } from "../errors.ts";
import type { EntryRun, LogReader, Run, Scan, ScanQuery } from "../store/contract.ts";
import type { ControlFrames, GapControl } from "./control.ts";
import { cursorOf, formatCursor, type Resumption } from "./cursor.ts";
import { gapError, gapOfCut, gapOfRun } from "./gap.ts";
import type { Follower, Followers } from "./followers.ts";
import { type FrameFilter, selectFrames } from "./frame-filter.ts";
import type { Beating } from "./heartbeat.ts";

/** How long one pull may filter, in ms. */
const SELECT_MS = 3;

export interface FollowOptions {
  readonly reader: LogReader;
  readonly followers: Followers;
  /** Where to begin: after this sequence, or after the one that is found first. */
  readonly after: number | (() => Promise<number>);
  readonly query: ScanQuery;
  /** What the index cannot answer. */
  readonly filter: FrameFilter | undefined;
  /** Called before each step, as long as it answers true: applications that may yet appear. */
  readonly resolve: (() => boolean) | undefined;
  /** Go on after history. */
  readonly isFollowing: boolean;
  /** End after so many entries; Infinity: never. */
  readonly limit: number;
  /** Sent when there are any; without them a gap ends the stream. */
  readonly controls: ControlFrames | undefined;
  /** A gap of retention or of an era ends the stream also with controls. */
  readonly isStrict: boolean;
  /** Ms; 0: none. */
  readonly heartbeatMs: number;
  /** What the reader's cursor stands for and is not there any more. */
  readonly cut: Resumption["cut"];
}

/** Opens a stream. Whoever does must `close` it when the call ends. @throws LimitExceeded, CursorExpired */
export function openFollow(options: FollowOptions): Follow {
  return new Follow(options);
}

/** What the next pull has to do. */
type Step =
  /** Nothing but take the next run: live, all of it, no limit. */
  | "pass"
  /** Take, filter, count. */
  | "take"
  /** Nothing until the head moves; then take. */
  | "park"
  /** Nothing until a disk read, the search for the beginning or the next turn of the event loop. */
  | "wait"
  | "end"
  | "closed";

export class Follow implements FrameSource, Follower, Beating {
  readonly reader: LogReader;
  readonly beatEveryMs: number;
  beatDueMs = 0;
  beatPlace = -1;
  place = -1;

  readonly #followers: Followers;
  readonly #filter: FrameFilter | undefined;
  readonly #controls: ControlFrames | undefined;
  readonly #isStrict: boolean;
  readonly #isFollowing: boolean;
  /** History ends here: what the head was when the stream began. */
  readonly #historyEnd: number;
  #stream: FrameStream | undefined = undefined;
  #scan: Scan | undefined = undefined;
  #step: Step = "take";
  #isLive = false;
  /** Parked: nothing to pull until the head moves. */
  #isAtHead = false;
  #isBeatDue = false;
  /** Gone when there is nothing left to resolve. */
  #resolve: (() => boolean) | undefined;
  #remaining: number;
  /** Frames that go before the next run; none at nearly all times. */
  #first: Uint8Array[] | undefined = undefined;
  /** A run that is not used up, and the first frame of it that was not looked at. */
  #run: EntryRun | undefined = undefined;
  #runNext = 0;
  #arrived: Run | undefined = undefined;
  /** The position when a disk read began: the scan's own moves before what was read is here. -1: none is under way. */
  #readAfter = -1;
  /** Ms spent on filtering since the event loop was last given to others. */
  #spentMs = 0;
  #turn: NodeJS.Immediate | undefined = undefined;
  /** What went wrong before there was a stream to tell. */
  #failure: { readonly error: unknown } | undefined = undefined;

  constructor(options: FollowOptions) {
    const { reader, followers, cut, isFollowing, controls, heartbeatMs, after, query } = options;
    this.reader = reader;
    this.beatEveryMs = heartbeatMs;
    this.#followers = followers;
    this.#filter = options.filter;
    this.#controls = controls;
    this.#isStrict = options.isStrict;
    this.#isFollowing = isFollowing;
    this.#resolve = options.resolve;
    this.#historyEnd = reader.head.sequence;
    this.#remaining = options.limit;
    if (cut !== undefined) this.#tell(gapOfCut(reader, cut));
    if (typeof after === "number" && after < reader.first - 1) {
      this.#tell(gapOfRun(reader, { first: after + 1, last: reader.first - 1, reason: "retention" }));
    }
    if (isFollowing) followers.join(this);
    if (isFollowing && heartbeatMs > 0 && controls !== undefined) followers.heartbeats.add(this);
    if (typeof after === "number") this.#scan = reader.scan(Math.max(after, reader.first - 1), query);
    else this.#locate(after(), query);
  }

  attach(stream: FrameStream): void {
    this.#stream = stream;
    if (this.#failure !== undefined) this.fail(this.#failure.error);
  }

  pull(maxBytes: number): Uint8Array | undefined {
    try {
      if (this.#step !== "pass") return this.#pullStep(maxBytes);
      const run = this.#scan!.next(maxBytes);
      if (run === undefined) {
        this.#isAtHead = true;
        return undefined;
      }
      if (!(run instanceof Promise) && run.kind === "entries") return run.bytes;
      this.#receive(run);
      return this.#pullStep(maxBytes);
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  onHead(): void {
    if (!this.#isAtHead) return;
    this.#isAtHead = false;
    if (this.#step === "park") this.#step = "take";
    this.#stream?.wake();
  }

  beat(): void {
    this.#isBeatDue = true;
    if (this.#step === "pass") this.#step = "take";
    this.#stream?.wake();
  }

  fail(error: unknown): void {
    const stream = this.#stream;
    if (stream === undefined) this.#failure = { error };
    this.close();
    stream?.fail(error);
  }

  interrupt(): void {
    this.fail(this.#interruption(undefined));
  }

  farewell(error: RpcError): StreamInterrupted {
    return this.#interruption(retryDelayMs(error));
  }

  /** Frees everything. Idempotent. */
  close(): void {
    if (this.#step === "closed") return;
    this.#step = "closed";
    this.#stream = undefined;
    this.#run = undefined;
    this.#arrived = undefined;
    this.#scan?.close();
    if (this.#turn !== undefined) clearImmediate(this.#turn);
    this.#followers.leave(this);
    this.#followers.heartbeats.remove(this);
  }

  /** What was pulled has left. What waits here is of the same memory. */
  sent(): void {
    if (this.#run === undefined && this.#arrived === undefined) this.#scan?.release?.();
  }

  #pullStep(maxBytes: number): Uint8Array | undefined {
    for (;;) {
      const control = this.#nextControl();
      if (control !== undefined) return control;
      switch (this.#step) {
        case "take": {
          const bytes = this.#take(maxBytes);
          if (bytes !== undefined) return bytes;
          break;
        }
        case "end": {
          const stream = this.#stream;
          this.close();
          stream?.end();
          return undefined;
        }
        case "pass":
        case "park":
        case "wait":
        case "closed":
          return undefined;
        default:
          return this.#step satisfies never;
      }
    }
  }

  /** One step on; what it has to send, or undefined: then the new `#step` or the controls say how to go on. */
  #take(maxBytes: number): Uint8Array | undefined {
    if (this.#remaining === 0) {
      this.#step = "end";
      return undefined;
    }
    if (this.#resolve?.() === false) this.#resolve = undefined;
    if (this.#run !== undefined && this.#filter !== undefined) return this.#select(this.#run, this.#filter);
    const next = this.#arrived ?? this.#scan!.next(maxBytes);
    this.#arrived = undefined;
    if (next === undefined) this.#reachHead();
    else if (next instanceof Promise) this.#receive(next);
    else if (next.kind === "entries") return this.#deliver(next);
    else {
      this.#tell(gapOfRun(this.reader, next));
      this.#endHistory();
    }
    return undefined;
  }

  /** Takes in what the scan had when something else was expected. */
  #receive(run: Run | Promise<Run | undefined>): void {
    if (!(run instanceof Promise)) {
      this.#arrived = run;
      this.#step = "take";
      return;
    }
    this.#step = "wait";
    this.#readAfter = this.#scan!.position;
    run.then(
      (arrived) => {
        this.#readAfter = -1;
        this.#arrived = arrived;
        this.#goOn();
      },
      (error: unknown) => {
        this.fail(error);
      },
    );
  }

  /** What was waited for is there. */
  #goOn(): void {
    if (this.#step !== "wait") return;
    this.#step = "take";
    this.#stream?.wake();
  }

  #locate(after: Promise<number>, query: ScanQuery): void {
    this.#step = "wait";
    after.then(
      (sequence) => {
        if (this.#step === "closed") return;
        this.#scan = this.reader.scan(sequence, query);
        this.#goOn();
      },
      (error: unknown) => {
        this.fail(error);
      },
    );
  }

  #deliver(run: EntryRun): Uint8Array | undefined {
    if (this.#filter !== undefined) {
      this.#run = run;
      this.#runNext = 0;
      return this.#select(run, this.#filter);
    }
    const isCut = run.count > this.#remaining;
    const bytes = isCut ? run.bytes.subarray(0, run.starts[this.#remaining]) : run.bytes;
    this.#remaining = isCut ? 0 : this.#remaining - run.count;
    this.#endHistory();
    return bytes;
  }

  /** Filters on, from where the last pull stopped. */
  #select(run: EntryRun, filter: FrameFilter): Uint8Array | undefined {
    const { clock } = this.#followers;
    const startMs = clock.monotonicMs();
    const lateMs = startMs + SELECT_MS - this.#spentMs;
    const selection = selectFrames(run, filter, {
      from: this.#runNext,
      countMax: this.#remaining,
      isLate: () => clock.monotonicMs() >= lateMs,
    });
    this.#remaining -= selection.count;
    this.#runNext = selection.next;
    if (selection.next === run.count) {
      this.#run = undefined;
      this.#endHistory();
    }
    this.#spentMs += clock.monotonicMs() - startMs;
    if (this.#spentMs >= SELECT_MS) this.#giveWay();
    return selection.bytes.length === 0 ? undefined : selection.bytes;
  }

  /** Lets others have the event loop. */
  #giveWay(): void {
    this.#spentMs = 0;
    if (this.#step !== "take") return;
    this.#step = "wait";
    this.#turn = setImmediate(() => {
      this.#turn = undefined;
      this.#goOn();
    });
  }

  /** Nothing more is there now. */
  #reachHead(): void {
    if (!this.#isLive) {
      this.#goLive();
      return;
    }
    const isPlain = this.#filter === undefined && this.#remaining === Number.POSITIVE_INFINITY;
    this.#step = isPlain && this.#resolve === undefined ? "pass" : "park";
    this.#isAtHead = true;
  }

  #endHistory(): void {
    if (!this.#isLive && this.#remaining > 0 && this.#scan!.position >= this.#historyEnd) this.#goLive();
  }

  /** Happens once, when history has ended. */
  #goLive(): void {
    this.#isLive = true;
    if (!this.#isFollowing) this.#step = "end";
    else if (this.#controls !== undefined)
      this.#sendFirst(this.#controls.sync(cursorOf(this.reader, this.#scan!.position)));
  }

  #sendFirst(frame: Uint8Array): void {
    this.#first = [...(this.#first ?? []), frame];
  }

  #nextControl(): Uint8Array | undefined {
    if (this.#first !== undefined) {
      const [frame, ...rest] = this.#first;
      this.#first = rest.length === 0 ? undefined : rest;
      return frame;
    }
    if (!this.#isBeatDue) return undefined;
    this.#isBeatDue = false;
    const { head } = this.reader;
    return this.#controls?.heartbeat({
      headCursor: formatCursor(this.reader.name, head),
      nowNs: this.#followers.clock.nowNs(),
      lagEntries: Math.max(0, head.sequence - this.#position),
    });
  }

  /** Everything up to here was sent or left out. */
  get #position(): number {
    const run = this.#run;
    const filter = this.#filter;
    if (run !== undefined && filter !== undefined) {
      const { bytes, starts } = run;
      return filter.sequenceOf(bytes, starts[this.#runNext]!, starts[this.#runNext + 1]!) - 1;
    }
    if (this.#arrived !== undefined) return this.#arrived.first - 1;
    if (this.#readAfter >= 0) return this.#readAfter;
    return this.#scan?.position ?? this.reader.first - 1;
  }

  /** S4. While the beginning is looked for, or a gap waits to be told, there is no such place. */
  #interruption(retryAfterMs: number | undefined): StreamInterrupted {
    const isPlace = this.#scan !== undefined && this.#first === undefined && this.#remaining > 0;
    const cursor = isPlace ? cursorOf(this.reader, this.#position) : undefined;
    return new StreamInterrupted({ cursor, retryAfterMs });
  }

  /** Sends a gap to whoever wants to hear of it, and ends the stream of others. @throws CursorExpired, DataLoss */
  #tell(gap: GapControl): void {
    if (this.#controls === undefined || (this.#isStrict && gap.reason !== "corruption"))
      throw gapError(this.reader, gap);
    this.#sendFirst(this.#controls.gap(gap));
  }
}
