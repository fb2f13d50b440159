// Streams a log to one reader: history, then, when it follows, what comes. A cursor that the transport pulls.
//
// S1. Entries leave in ingest order, each at most once, and none is left out but by the query, or with a gap that says so:
//     history and live are one scan.
// S2. At the head an unfiltered follower is a handful of field accesses a delivery, and no allocation here.
// S3. The event loop is held for a share of its turn (TurnShares), however rare the matches are and however many search.
// S4. Who is interrupted (drain, age of the connection) is told the cursor behind what was sent and left out: going on after
//     it neither repeats nor misses.
// S5. Whatever ends the stream, `close` runs in that turn: the scan, the place among the followers, the heartbeat and a
//     timer are all that there is to free.
// S6. A follower that wants to be live (`manner.pace`) is judged by its position and the head before each step, and when
//     the head moves: nothing waits for it here.
import { type FrameSource, type FrameStream, retryDelayMs, type RpcError } from "@sluice/rpc";
import { ReaderTooSlow, StreamInterrupted } from "../errors.ts";
import type { EntryRun, LogReader, Run, Scan, ScanQuery } from "../store/contract.ts";
import type { ControlFrames, GapControl } from "./control.ts";
import { cursorOf, formatCursor } from "./cursor.ts";
import { gapError, gapOfCut, gapOfRun } from "./gap.ts";
import type { FollowOptions } from "./follow-options.ts";
import type { Follower, Followers } from "./followers.ts";
import type { Beating } from "./heartbeat.ts";
import { Manner } from "./manner.ts";
import { Sieve } from "./sieve.ts";

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
  readonly #controls: ControlFrames | undefined;
  readonly #isStrict: boolean;
  readonly #isFollowing: boolean;
  readonly #manner: Manner | undefined;
  /** Of a stream that does not take all. */
  readonly #sieve: Sieve | undefined;
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
  #arrived: Run | undefined = undefined;
  /** The position when a disk read began: the scan's own moves before what was read is here. -1: none is under way. */
  #readAfter = -1;
  /** Of a stream with a sieve: something of the scan's memory was pulled and has not left. */
  #isLent = false;
  /** Cancels the wait for the next turn of the event loop. */
  #leaveTurn: (() => void) | undefined = undefined;
  /** What went wrong before there was a stream to tell. */
  #failure: { readonly error: unknown } | undefined = undefined;

  constructor(options: FollowOptions) {
    const { reader, followers, cut, isFollowing, controls, heartbeatMs, after, query } = options;
    this.reader = reader;
    this.beatEveryMs = heartbeatMs;
    this.#followers = followers;
    this.#controls = controls;
    this.#isStrict = options.isStrict;
    this.#isFollowing = isFollowing;
    this.#resolve = options.resolve;
    this.#historyEnd = reader.head.sequence;
    this.#remaining = options.limit;
    const manner = options.manner === undefined ? undefined : new Manner(options.manner, query);
    const { filter } = options;
    this.#manner = manner;
    this.#sieve =
      filter === undefined && manner === undefined
        ? undefined
        : new Sieve({ filter, manner, clock: followers.clock, shares: followers.shares });
    if (controls !== undefined && options.notices.length > 0) {
      this.#first = options.notices.map((notice) => controls.notice(notice));
    }
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
      if (!(run instanceof Promise) && run.kind === "entries") {
        this.#followers.delivered.entries += run.count;
        return run.bytes;
      }
      this.#receive(run);
      return this.#pullStep(maxBytes);
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  /** The same for a batch, which has its own bound of entries. */
  pullSome(maxBytes: number, entriesMax: number): Uint8Array | undefined {
    this.#manner!.batchLeft = entriesMax;
    return this.pull(maxBytes);
  }

  onHead(): void {
    if (this.#manner !== undefined && !this.#mayLeaveHead(this.#manner)) return;
    if (this.#isAtHead) this.#leaveHead();
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
    this.#sieve?.clear();
    this.#arrived = undefined;
    this.#scan?.close();
    this.#leaveTurn?.();
    this.#manner?.cancel();
    this.#followers.leave(this);
    this.#followers.heartbeats.remove(this);
  }

  /** What was pulled has left. What waits here is of the same memory. */
  sent(): void {
    this.#isLent = false;
    if (this.#sieve?.isEmpty !== false && this.#arrived === undefined) this.#scan?.release?.();
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
    if (this.#manner !== undefined && !this.#mayGoOn(this.#manner)) return undefined;
    if (this.#sieve?.isEmpty === false) return this.#goThrough(this.#sieve);
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
    if (this.#sieve !== undefined) {
      this.#sieve.fill(run);
      return this.#goThrough(this.#sieve);
    }
    const isCut = run.count > this.#remaining;
    const bytes = isCut ? run.bytes.subarray(0, run.starts[this.#remaining]) : run.bytes;
    this.#followers.delivered.entries += isCut ? this.#remaining : run.count;
    this.#remaining = isCut ? 0 : this.#remaining - run.count;
    this.#endHistory();
    return bytes;
  }

  /** Goes on with a run, from where the last pull stopped. */
  #goThrough(sieve: Sieve): Uint8Array | undefined {
    const manner = this.#manner;
    const { bytes, count } = sieve.take(Math.min(this.#remaining, manner?.entriesMax ?? Number.POSITIVE_INFINITY));
    this.#remaining -= count;
    this.#followers.delivered.entries += count;
    // What is read of history is no part of what a sample may have.
    if (this.#isLive) manner?.pace?.took(count, this.#followers.clock.monotonicMs());
    if (bytes.length > 0) this.#isLent = true;
    if (sieve.isEmpty) {
      // A search that finds nothing sends nothing, so nobody would say that its memory is free.
      if (!this.#isLent) this.#scan!.release?.();
      this.#endHistory();
    }
    if (sieve.isSpent()) this.#giveWay();
    return bytes.length === 0 ? undefined : bytes;
  }

  /** Lets others have the event loop. */
  #giveWay(): void {
    if (this.#step !== "take") return;
    this.#step = "wait";
    this.#leaveTurn = this.#followers.shares.wait(() => {
      this.#leaveTurn = undefined;
      this.#goOn();
    });
  }

  /** Nothing more is there now. */
  #reachHead(): void {
    if (!this.#isLive) {
      this.#goLive();
      return;
    }
    const isPlain = this.#sieve === undefined && this.#remaining === Number.POSITIVE_INFINITY;
    this.#step = isPlain && this.#resolve === undefined ? "pass" : "park";
    this.#isAtHead = true;
  }

  #leaveHead(): void {
    this.#isAtHead = false;
    if (this.#step === "park") this.#step = "take";
    this.#stream?.wake();
  }

  /** The head has moved: whether a stream that waits for it goes on now. */
  #mayLeaveHead(manner: Manner): boolean {
    const lagEntries = this.reader.head.sequence - this.#position;
    if (this.#isAtHead) {
      return manner.isDue(this.#sieve!.isFiltering ? 0 : lagEntries, this.#followers.clock, () => {
        if (this.#isAtHead) this.#leaveHead();
      });
    }
    // S6. A stream that stands still is pulled by nobody.
    if (this.#isLive && manner.pace?.isTooSlow(lagEntries) === true) this.fail(this.#tooSlow(manner, lagEntries));
    return false;
  }

  /** Before each step: whether there is something to take for a stream that does not take all. */
  #mayGoOn(manner: Manner): boolean {
    const position = this.#position;
    if (position >= manner.until) {
      this.#step = "end";
      return false;
    }
    if (manner.pace === undefined || !this.#isLive) return true;
    const verdict = manner.pace.judge(position, this.reader.head.sequence, this.#followers.clock.monotonicMs());
    switch (verdict.kind) {
      case "go":
        manner.paceLeft = verdict.entriesMax;
        return true;
      case "skip":
        this.#moveTo(verdict.to, manner);
        this.#tell(gapOfRun(this.reader, { first: position + 1, last: verdict.to, reason: verdict.reason }));
        return false;
      case "hold":
        this.#moveTo(position, manner);
        this.#step = "wait";
        manner.wait(this.#followers.clock, verdict.ms, () => {
          this.#goOn();
        });
        return false;
      case "disconnect":
        throw this.#tooSlow(manner, verdict.lagEntries);
      default:
        return verdict satisfies never;
    }
  }

  /** Lets go of what was taken and not sent. */
  #moveTo(position: number, manner: Manner): void {
    this.#sieve!.clear();
    this.#arrived = undefined;
    this.#scan!.close();
    this.#scan = this.reader.scan(position, manner.query);
  }

  #tooSlow(manner: Manner, lagEntries: number): ReaderTooSlow {
    const { lagMaxEntries } = manner.pace!.policy;
    return new ReaderTooSlow({ cursor: this.#place, lagEntries, lagMaxEntries });
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
    const within = this.#sieve?.position;
    if (within !== undefined) return within;
    if (this.#arrived !== undefined) return this.#arrived.first - 1;
    if (this.#readAfter >= 0) return this.#readAfter;
    return this.#scan?.position ?? this.reader.first - 1;
  }

  /** S4. While the beginning is looked for, or a gap waits to be told, there is no such place. */
  get #place(): string | undefined {
    const isPlace = this.#scan !== undefined && this.#first === undefined && this.#remaining > 0;
    return isPlace ? cursorOf(this.reader, this.#position) : undefined;
  }

  #interruption(retryAfterMs: number | undefined): StreamInterrupted {
    return new StreamInterrupted({ cursor: this.#place, retryAfterMs });
  }

  /** Sends a gap to whoever wants to hear of it, and ends the stream of others. @throws CursorExpired, DataLoss */
  #tell(gap: GapControl): void {
    const isExpired = gap.reason === "retention" || gap.reason === "epoch";
    if (this.#controls === undefined || (this.#isStrict && isExpired)) throw gapError(this.reader, gap);
    this.#followers.delivered.gaps++;
    this.#sendFirst(this.#controls.gap(gap));
  }
}
