// Writes the frames that a connection itself sends: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM.
//
// They overtake all streams. Those that answer the peer are counted while the socket is full: a peer that asks and never
// reads is cut off before its answers pile up.
import { ConnectionError, ErrorCode, Flag, FrameType, readUint32, STREAM_ID_MAX } from "./frame.ts";
import type { Sender } from "./sender.ts";

export interface ControlWriterLimits {
  readonly controlBytesMax: number;
  readonly flushBytes: number;
}

/** A GOAWAY's reason is for a human with a packet dump. */
const REASON_BYTES_MAX = 128;

export class ControlWriter {
  readonly #sender: Sender;
  readonly #limits: ControlWriterLimits;
  /** Written since the socket became full. */
  #waitingBytes = 0;
  /** Whom to tell when the answer comes, by the number in the PING. */
  readonly #pings = new Map<number, () => void>();
  #pingsSent = 0;
  /** Of the last GOAWAY: none may say more than the one before it (RFC 9113 §6.8). */
  #lastStreamId = STREAM_ID_MAX;

  constructor(sender: Sender, limits: ControlWriterLimits) {
    this.#sender = sender;
    this.#limits = limits;
  }

  /** @param settings identifier, value, identifier, value, … */
  settings(settings: readonly number[]): void {
    this.#begin(settings.length * 3, FrameType.SETTINGS, 0, 0);
    for (let at = 0; at < settings.length; at += 2) {
      this.#sender.output.uint16(settings[at]!);
      this.#sender.output.uint32(settings[at + 1]!);
    }
  }

  settingsAcknowledgement(): void {
    this.#begin(0, FrameType.SETTINGS, Flag.ACK, 0);
  }

  ping(onAcknowledged: () => void): void {
    this.#pingsSent += 1;
    this.#pings.set(this.#pingsSent, onAcknowledged);
    this.#begin(8, FrameType.PING, 0, 0);
    this.#sender.output.uint32(0);
    this.#sender.output.uint32(this.#pingsSent);
  }

  /** The peer answered a PING of ours; one that was never sent is nobody's. */
  onPingAcknowledged(bytes: Buffer, start: number): void {
    const number = readUint32(bytes, start) === 0 ? readUint32(bytes, start + 4) : 0;
    const onAcknowledged = this.#pings.get(number);
    this.#pings.delete(number);
    onAcknowledged?.();
  }

  /** The connection is over: nobody waits for answers any more. */
  forgetPings(): void {
    this.#pings.clear();
  }

  /** Answers with the peer's own eight bytes at `start`. */
  pingAcknowledgement(bytes: Buffer, start: number): void {
    this.#begin(8, FrameType.PING, Flag.ACK, 0);
    this.#sender.output.payload(bytes, start, start + 8);
  }

  /** @param lastStreamId the last of the peer's streams that is being handled. */
  goaway(lastStreamId: number, code: number, reason: string): void {
    const bytes = Buffer.from(reason.slice(0, REASON_BYTES_MAX), "latin1");
    this.#lastStreamId = Math.min(this.#lastStreamId, lastStreamId);
    this.#begin(8 + bytes.length, FrameType.GOAWAY, 0, 0);
    this.#sender.output.uint32(this.#lastStreamId);
    this.#sender.output.uint32(code);
    this.#sender.output.payload(bytes, 0, bytes.length);
  }

  /** @param streamId 0 for the connection's window. */
  windowUpdate(streamId: number, increment: number): void {
    this.#begin(4, FrameType.WINDOW_UPDATE, 0, streamId);
    this.#sender.output.uint32(increment);
  }

  reset(streamId: number, code: number): void {
    this.#begin(4, FrameType.RST_STREAM, 0, streamId);
    this.#sender.output.uint32(code);
  }

  /** Throws ConnectionError ENHANCE_YOUR_CALM when more waits than the limit allows; called after each frame read. */
  checkWaiting(): void {
    if (this.#waitingBytes > this.#limits.controlBytesMax) {
      throw new ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        `more than ${this.#limits.controlBytesMax} bytes of control frames wait for a peer that does not read`,
      );
    }
  }

  #begin(length: number, type: number, flags: number, streamId: number): void {
    const sender = this.#sender;
    if (!sender.isFull && sender.output.pendingBytes >= this.#limits.flushBytes) sender.handOver();
    this.#waitingBytes = sender.isFull ? this.#waitingBytes + 9 + length : 0;
    sender.output.frame(length, type, flags, streamId);
    sender.requestFlush();
  }
}
