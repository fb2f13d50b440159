// One subscriber's stream: frames of its selection's rounds, and the controls between them.
//
// U1. What waits to be sent is one round, whatever happens: the next one comes when that has gone (`isBusy`).
//     The history comes a piece at a time, the next one when that has gone; until its end no round is taken.
// U2. Whatever ends the stream, `close` runs in that turn.
import { MetricPointSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES, type FrameSource, type FrameStream, retryDelayMs, type RpcError } from "@sluice/rpc";
import { StreamInterrupted } from "../errors.ts";
import type { Clock } from "../store/contract.ts";
import { ControlFrames, type GapControl } from "../stream/control.ts";
import type { Beating, Heartbeats } from "../stream/heartbeat.ts";
import type { MetricsQuery } from "./query.ts";
import type { RoundReader, Selection } from "./selection.ts";
import type { Series } from "./series.ts";

const controls = new ControlFrames(MetricPointSchema.field.control.number);

/** What of the history a subscriber gets. */
export interface Past {
  /** Not all that it asked for is there. */
  readonly gap: GapControl | undefined;
  /** Frames; each piece is asked for when the one before has gone. Closed when the stream ends. */
  readonly frames: AsyncGenerator<Uint8Array, void, void>;
  /** Where it begins and ends. */
  readonly from: string;
  readonly cursor: string;
  /** Asked at the end: which live series are to be told as they are, since nothing of them was in it. */
  readonly untold: () => readonly Series[];
}

export interface SubscriptionOptions {
  readonly query: MetricsQuery;
  readonly selection: Selection;
  readonly heartbeats: Heartbeats;
  readonly clock: Clock;
  /** What of the history comes first; undefined: nothing. */
  readonly past?: Past | undefined;
  /** Called once, when the stream has ended. */
  readonly onClose: (subscription: Subscription) => void;
}

export class Subscription implements FrameSource, RoundReader, Beating {
  readonly beatEveryMs: number;
  beatDueMs = 0;
  beatPlace = -1;
  readonly #options: SubscriptionOptions;
  #stream: FrameStream | undefined;
  /** Of the round that is being sent. */
  #frames: Uint8Array | undefined;
  #sent = 0;
  /** Of what was taken last, and of what has gone. */
  #takenCursor = "";
  #cursor = "";
  #isReplaying = false;
  #isGapDue = false;
  /** Told when what was taken has gone. */
  #onSent: (() => void) | undefined;
  #leftOut = 0;
  #isSynced = false;
  #isBeatDue = false;
  #isClosed = false;

  constructor(options: SubscriptionOptions) {
    const { query, selection, heartbeats, past } = options;
    this.#options = options;
    this.beatEveryMs = query.heartbeatMs;
    if (past === undefined) selection.join(this, query);
    else {
      this.#isReplaying = true;
      this.#isGapDue = past.gap !== undefined;
      this.#cursor = past.from;
      selection.joinLater(this);
      void this.#replay(past);
    }
    if (query.hasControls && query.heartbeatMs > 0) heartbeats.add(this);
  }

  get isBusy(): boolean {
    return this.#frames !== undefined || this.#isReplaying;
  }

  attach(stream: FrameStream): void {
    this.#stream = stream;
  }

  take(frames: Uint8Array, cursor: string): void {
    this.#frames = frames;
    this.#takenCursor = cursor;
    this.#sent = 0;
    this.#stream?.wake();
  }

  onNothing(cursor: string): void {
    this.#cursor = cursor;
  }

  onLeftOut(count: number): void {
    this.#leftOut = count;
    this.#stream?.wake();
  }

  beat(): void {
    this.#isBeatDue = true;
    this.#stream?.wake();
  }

  pull(maxBytes: number): Uint8Array | undefined {
    if (this.#isClosed) return undefined;
    if (this.#frames === undefined && this.#isSynced) this.#options.selection.onIdle(this);
    return (this.#isGapDue ? this.#nextControl() : undefined) ?? this.#nextFrames(maxBytes) ?? this.#nextControl();
  }

  /** The server stops. */
  interrupt(): void {
    const stream = this.#stream;
    this.close();
    stream?.fail(this.farewell());
  }

  farewell(error?: RpcError): StreamInterrupted {
    return new StreamInterrupted({
      cursor: this.#cursor === "" ? undefined : this.#cursor,
      retryAfterMs: error === undefined ? undefined : retryDelayMs(error),
    });
  }

  /** U2. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#frames = undefined;
    this.#stream = undefined;
    this.#onSent?.();
    const { selection, heartbeats, onClose } = this.#options;
    heartbeats.remove(this);
    selection.leave(this);
    onClose(this);
  }

  #nextFrames(maxBytes: number): Uint8Array | undefined {
    const frames = this.#frames;
    if (frames === undefined) return undefined;
    const view = new DataView(frames.buffer, frames.byteOffset, frames.length);
    let end = this.#sent;
    do end += FRAME_HEADER_BYTES + view.getUint32(end + 1);
    while (end < frames.length && end - this.#sent < maxBytes);
    const piece = frames.subarray(this.#sent, end);
    this.#sent = end;
    if (end === frames.length) {
      this.#frames = undefined;
      this.#cursor = this.#takenCursor;
      this.#onSent?.();
    }
    return piece;
  }

  async #replay({ frames, cursor, untold }: Past): Promise<void> {
    try {
      for await (const piece of frames) {
        if (this.#isClosed) return;
        const gone = new Promise<void>((resolve) => {
          this.#onSent = resolve;
        });
        this.take(piece, this.#cursor);
        await gone;
      }
    } catch (error) {
      const stream = this.#stream;
      this.close();
      stream?.fail(error);
    }
    if (this.#isClosed) return;
    this.#onSent = undefined;
    this.#isReplaying = false;
    this.#cursor = cursor;
    if (!this.#options.query.updatesOnly) this.#options.selection.introduce(this, untold());
    this.#stream?.wake();
  }

  #nextControl(): Uint8Array | undefined {
    const { query, clock } = this.#options;
    if (this.#isGapDue && query.hasControls) {
      this.#isGapDue = false;
      return controls.gap(this.#options.past!.gap!);
    }
    if (!this.#isSynced && !this.#isReplaying) {
      this.#isSynced = true;
      if (query.hasControls) return controls.sync(this.#cursor);
    }
    if (query.mode === "once" && !this.#isReplaying) {
      const stream = this.#stream;
      this.close();
      stream?.end();
      return undefined;
    }
    if (!query.hasControls) return undefined;
    if (this.#leftOut > 0) {
      this.#leftOut = 0;
      const text = "Series were left out: there are more of them than max_series, or the server's limit; ask for fewer";
      return controls.notice({ code: "SERIES_LEFT_OUT", text });
    }
    if (!this.#isBeatDue) return undefined;
    this.#isBeatDue = false;
    return controls.heartbeat({ headCursor: this.#cursor, nowNs: clock.nowNs(), lagEntries: 0 });
  }
}
