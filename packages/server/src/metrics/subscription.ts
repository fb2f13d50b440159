// One subscriber's stream: frames of its selection's rounds, and the controls between them.
//
// U1. What waits to be sent is one round, whatever happens: the next one comes when that has gone (`isBusy`).
// U2. Whatever ends the stream, `close` runs in that turn.
import { MetricPointSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES, type FrameSource, type FrameStream, retryDelayMs, type RpcError } from "@sluice/rpc";
import { StreamInterrupted } from "../errors.ts";
import type { Clock } from "../store/contract.ts";
import { ControlFrames } from "../stream/control.ts";
import type { Beating, Heartbeats } from "../stream/heartbeat.ts";
import type { MetricsQuery } from "./query.ts";
import type { RoundReader, Selection } from "./selection.ts";

const controls = new ControlFrames(MetricPointSchema.field.control.number);

export interface SubscriptionOptions {
  readonly query: MetricsQuery;
  readonly selection: Selection;
  readonly heartbeats: Heartbeats;
  readonly clock: Clock;
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
  #leftOut = 0;
  #isSynced = false;
  #isBeatDue = false;
  #isClosed = false;

  constructor(options: SubscriptionOptions) {
    const { query, selection, heartbeats } = options;
    this.#options = options;
    this.beatEveryMs = query.heartbeatMs;
    selection.join(this);
    if (query.hasControls && query.heartbeatMs > 0) heartbeats.add(this);
  }

  get isBusy(): boolean {
    return this.#frames !== undefined;
  }

  attach(stream: FrameStream): void {
    this.#stream = stream;
  }

  take(frames: Uint8Array): void {
    this.#frames = frames;
    this.#sent = 0;
    this.#stream?.wake();
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
    return this.#nextFrames(maxBytes) ?? this.#nextControl();
  }

  /** The server stops. */
  interrupt(): void {
    const stream = this.#stream;
    this.close();
    stream?.fail(this.farewell());
  }

  farewell(error?: RpcError): StreamInterrupted {
    return new StreamInterrupted({
      cursor: undefined,
      retryAfterMs: error === undefined ? undefined : retryDelayMs(error),
    });
  }

  /** U2. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#frames = undefined;
    this.#stream = undefined;
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
    if (end === frames.length) this.#frames = undefined;
    return piece;
  }

  #nextControl(): Uint8Array | undefined {
    const { query, clock } = this.#options;
    if (!this.#isSynced) {
      this.#isSynced = true;
      if (query.hasControls) return controls.sync("");
    }
    if (query.mode === "once") {
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
    return controls.heartbeat({ headCursor: "", nowNs: clock.nowNs(), lagEntries: 0 });
  }
}
