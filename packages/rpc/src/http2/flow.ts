// Flow control of what is received (RFC 9113 §5.2): who may still send how much, and when credit goes back. And what all
// connections of a server hold together.
//
// F1. The peer may send what `available` says; every byte, padding included, lowers it, every increment told raises it.
// F2. A connection's credit returns on receipt, a stream's on consumption: a stream that nobody reads stops itself alone.
// F3. What all streams of a server hold beyond their first windows stays within one budget.
// F4. What all connections of a server hold for one purpose stays within twice its bound: no more than the bound by those
//     below their share of it, and no more by the others, whose streams are reset as they go on.
import { WINDOW_BYTES_MAX } from "./frame.ts";

/** Bytes that the connections of a server hold for one purpose. */
export class SharedBytes {
  /** Connections that are open. */
  connections = 0;
  bytes = 0;
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Whether a connection that holds `own` bytes has to give some up: there are too many, and it has more than its share (F4). */
  isOverdrawn(own: number): boolean {
    return this.bytes > this.#bytesMax && own * this.connections > this.#bytesMax;
  }
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

/** The connection's receive window. */
export class ConnectionWindow {
  readonly #bytes: number;
  readonly #unreadMax: number;
  readonly #shared: SharedBytes;
  #available: number;
  #owed = 0;
  #unread = 0;

  /** @param shared what all connections have unread. */
  constructor(limits: ConnectionWindowLimits, shared: SharedBytes) {
    this.#bytes = limits.connectionWindowBytes;
    this.#available = this.#bytes;
    this.#unreadMax = limits.connectionUnreadBytesMax;
    this.#shared = shared;
    shared.connections += 1;
  }

  /** The connection is over, and its streams are. */
  close(): void {
    this.#shared.connections -= 1;
  }

  /** See `SharedBytes.isOverdrawn`. */
  get isOverdrawn(): boolean {
    return this.#shared.isOverdrawn(this.#unread);
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
