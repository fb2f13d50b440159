// Flow control of what is received (RFC 9113 §5.2): who may still send how much, and when credit goes back. And what all
// connections of a server hold together.
//
// F1. The peer may send what `available` says; every byte, padding included, lowers it, every increment told raises it.
// F2. A connection's credit returns on receipt, a stream's on consumption: a stream that nobody reads stops itself alone.
// F3. What all streams of a server hold beyond their first windows stays within one budget.
// F4. What all connections of a server hold for one purpose stays within one bound: above it, who holds most gives way,
//     whoever it was that asked for more. Else those who came when others had little could keep what they took then.
import type { StreamEnd } from "../transport.ts";
import { ErrorCode, WINDOW_BYTES_MAX } from "./frame.ts";

/** A connection, as far as one purpose goes. */
export interface Holder {
  readonly heldBytes: number;
  /** Lets go of what holds most of it. */
  giveWay(): void;
}

/** The end of a stream that gave way. */
export const GAVE_WAY: StreamEnd = {
  by: "stream-error",
  code: ErrorCode.ENHANCE_YOUR_CALM,
  reason: "the server holds too much, and this stream most of it",
};

/** Bytes that the connections of a server hold for one purpose (F4). */
export class SharedBytes {
  bytes = 0;
  readonly #bytesMax: number;
  readonly #holders = new Set<Holder>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  join(holder: Holder): void {
    this.#holders.add(holder);
  }

  leave(holder: Holder): void {
    this.#holders.delete(holder);
  }

  get isOverdrawn(): boolean {
    return this.bytes > this.#bytesMax;
  }

  /** Makes room if there is too much. What gives way may be what the caller is busy with. */
  relieve(): void {
    while (this.isOverdrawn) {
      const { bytes } = this;
      mostBy(this.#holders, (holder) => holder.heldBytes)?.giveWay();
      // Who was asked has nothing that it could let go of.
      if (this.bytes >= bytes) return;
    }
  }
}

/** What a connection holds, as it says. */
export class Holding implements Holder {
  heldBytes = 0;
  readonly giveWay: () => void;
  readonly #shared: SharedBytes;

  constructor(shared: SharedBytes, giveWay: () => void) {
    this.#shared = shared;
    this.giveWay = giveWay;
    shared.join(this);
  }

  /** More may make somebody give way at once: the one that holds most. */
  set(bytes: number): void {
    const change = bytes - this.heldBytes;
    this.heldBytes = bytes;
    this.#shared.bytes += change;
    if (change > 0) this.#shared.relieve();
  }

  close(): void {
    this.set(0);
    this.#shared.leave(this);
  }
}

/** The one with the largest amount, of several the first. */
export function mostBy<T>(all: Iterable<T>, amountOf: (one: T) => number): T | undefined {
  let most: T | undefined;
  for (const one of all) if (most === undefined || amountOf(one) > amountOf(most)) most = one;
  return most;
}

/** What the streams of a server may have in wide windows, shared by all of its connections. */
export class ReceiveBudget {
  readonly bytesMax: number;
  #usedBytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  reserve(bytes: number): boolean {
    if (this.#usedBytes + bytes > this.bytesMax) return false;
    this.#usedBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes;
  }
}

/** A stream's receive window, made when a body does not fit its first frame. */
export class StreamWindow {
  readonly #budget: ReceiveBudget;
  readonly #firstBytes: number;
  readonly #bytesMax: number;
  #bytes: number;
  #available: number;
  /** Consumed and not yet told. */
  #owed = 0;
  /** Consumed since the window last widened. */
  #read = 0;

  constructor(firstBytes: number, bytesMax: number, budget: ReceiveBudget) {
    this.#budget = budget;
    this.#firstBytes = firstBytes;
    this.#bytesMax = bytesMax;
    this.#bytes = firstBytes;
    this.#available = firstBytes;
  }

  /** Counts received bytes; false when the peer had no right to send them (F1). */
  receive(bytes: number): boolean {
    this.#available -= bytes;
    return this.#available >= 0;
  }

  /**
   * Counts consumed bytes. Returns the increment to tell the peer now, 0 when it can wait: half a window at a time.
   * A window that was read once over doubles, while the budget lasts (F3).
   */
  consume(bytes: number): number {
    this.#owed += bytes;
    this.#read += bytes;
    if (this.#owed < this.#bytes / 2) return 0;
    let increment = this.#owed;
    if (this.#read >= this.#bytes && 2 * this.#bytes <= this.#bytesMax && this.#budget.reserve(this.#bytes)) {
      increment += this.#bytes;
      this.#bytes *= 2;
      this.#read = 0;
    }
    this.#owed = 0;
    this.#available += increment;
    return increment;
  }

  /** The stream is over. */
  release(): void {
    this.#budget.release(this.#bytes - this.#firstBytes);
    this.#bytes = this.#firstBytes;
  }
}

export interface ConnectionWindowLimits {
  /** The window as told to the peer. */
  readonly connectionWindowBytes: number;
  /** With more bytes than this received and not consumed, credit is held back until readers catch up. */
  readonly connectionUnreadBytesMax: number;
}

/** The connection's receive window, and what it was used for. */
export class ConnectionWindow implements Holder {
  readonly #bytes: number;
  readonly #unreadMax: number;
  readonly #shared: SharedBytes;
  readonly #giveWay: () => void;
  #available: number;
  #owed = 0;
  #unread = 0;

  /**
   * @param shared what all connections have unread.
   * @param giveWay resets the stream that has most.
   */
  constructor(limits: ConnectionWindowLimits, shared: SharedBytes, giveWay: () => void) {
    this.#bytes = limits.connectionWindowBytes;
    this.#available = this.#bytes;
    this.#unreadMax = limits.connectionUnreadBytesMax;
    this.#shared = shared;
    this.#giveWay = giveWay;
    shared.join(this);
  }

  /** The connection is over, and its streams are. */
  close(): void {
    this.#shared.leave(this);
  }

  get heldBytes(): number {
    return this.#unread;
  }

  giveWay(): void {
    this.#giveWay();
  }

  /** Counts received bytes; false when the peer had no right to send them (F1). */
  receive(bytes: number): boolean {
    this.#available -= bytes;
    this.#owed += bytes;
    return this.#available >= 0;
  }

  /** Bytes were handed to a stream's reader. */
  addUnread(bytes: number): void {
    this.#unread += bytes;
    this.#shared.bytes += bytes;
  }

  /** Bytes were consumed, or their stream is over. */
  removeUnread(bytes: number): void {
    this.#unread -= bytes;
    this.#shared.bytes -= bytes;
  }

  /** The increment to tell the peer now, 0 when it can wait. */
  takeIncrement(): number {
    if (this.#owed < this.#bytes / 2 || this.#unread > this.#unreadMax) return 0;
    const increment = this.#owed;
    this.#owed = 0;
    this.#available += increment;
    return increment;
  }
}

/** A send window after an increment or a change of settings; -1 when it would pass 2³¹-1 (RFC 9113 §6.9.1). It may be negative before. */
export function isWindowTooLarge(window: number, increment: number): boolean {
  return window + increment > WINDOW_BYTES_MAX;
}
