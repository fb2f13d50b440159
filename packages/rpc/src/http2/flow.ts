// Flow control of what is received (RFC 9113 §5.2): who may still send how much, and when credit goes back.
//
// F1. The peer may send what `available` says; every byte, padding included, lowers it, every increment told raises it.
// F2. A connection's credit returns on receipt, a stream's on consumption: a stream that nobody reads stops itself alone.
// F3. What all streams of a server hold beyond their first windows stays within one budget.
// F4. What all connections of a server hold unread stays within twice its bound: no more than the bound by those below
//     their share of it, and no more by the others, whose streams are reset as they go on.
import { WINDOW_BYTES_MAX } from "./frame.ts";

/** What a server holds of what its clients send, shared by all of its connections. */
export class ReceiveBudget {
  /** Connections that are open. */
  connections = 0;
  /** Received and not consumed. */
  unreadBytes = 0;
  readonly bytesMax: number;
  readonly #unreadMax: number;
  #usedBytes = 0;

  /**
   * @param bytesMax of wide windows.
   * @param unreadMax of bytes received and not consumed.
   */
  constructor(bytesMax: number, unreadMax: number) {
    this.bytesMax = bytesMax;
    this.#unreadMax = unreadMax;
  }

  /** Whether a connection that holds `unread` bytes has to give some up: there are too many, and it has more than its share (F4). */
  isOverdrawn(unread: number): boolean {
    return this.unreadBytes > this.#unreadMax && unread * this.connections > this.#unreadMax;
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

/** The connection's receive window. */
export class ConnectionWindow {
  readonly #bytes: number;
  readonly #unreadMax: number;
  readonly #budget: ReceiveBudget;
  #available: number;
  #owed = 0;
  #unread = 0;

  /**
   * @param bytes the window as told to the peer.
   * @param unreadMax with more bytes than this received and not consumed, credit is held back until readers catch up.
   */
  constructor(bytes: number, unreadMax: number, budget: ReceiveBudget) {
    this.#bytes = bytes;
    this.#available = bytes;
    this.#unreadMax = unreadMax;
    this.#budget = budget;
  }

  /** See `ReceiveBudget.isOverdrawn`. */
  get isOverdrawn(): boolean {
    return this.#budget.isOverdrawn(this.#unread);
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
    this.#budget.unreadBytes += bytes;
  }

  /** Bytes were consumed, or their stream is over. */
  removeUnread(bytes: number): void {
    this.#unread -= bytes;
    this.#budget.unreadBytes -= bytes;
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
