// The one message of a direction that takes exactly one: the request of a unary or server-streaming call, when it does
// not arrive in one piece, and on clients the response of a unary or client-streaming one.
import { decompress } from "./compression.ts";
import { FLAG_COMPRESSED, MessageReader } from "./frames.ts";
import { Code, RpcError } from "./status.ts";

/** What the call allows, and where credit goes. */
export interface OnlyMessageOwner {
  readonly messageBytesMax: number;
  readonly isCompressed: boolean;
  /** Whether all there is, is the message, without a frame. */
  readonly isUnframed?: boolean;
  /** For error messages. */
  readonly incomingName: "request" | "response";
  onConsumed(byteCount: number): void;
  /** Bytes of an unfinished message whose credit was returned: so many more (or fewer). @throws RpcError when too many */
  onHeld?(change: number): void;
}

export class OnlyMessage {
  readonly #owner: OnlyMessageOwner;
  readonly #reader: MessageReader;
  #message: Uint8Array | undefined;
  /** Received while nobody asked: its credit is held back, so that a call which is not admitted holds one window. */
  #unconsumed = 0;
  #held = 0;

  constructor(owner: OnlyMessageOwner) {
    this.#owner = owner;
    this.#reader = new MessageReader(owner.messageBytesMax);
  }

  /** `keep` must follow: see `MessageReader.push`. */
  push(buffer: Buffer, start: number, end: number): void {
    this.#reader.push(buffer, start, end);
    this.#unconsumed += end - start;
  }

  keep(): void {
    this.#reader.keep();
  }

  /** Nobody wants the message any more. */
  clear(): void {
    this.#reader.clear();
    this.#message = undefined;
  }

  /**
   * The message's bytes when it is whole and nothing else came; undefined: not yet.
   * @throws RpcError RESOURCE_EXHAUSTED, before a message that is too large has arrived; UNIMPLEMENTED for none or
   * more than one (cardinality, doc/statuscodes.md); INTERNAL for a torn one.
   */
  advance(isEnded: boolean): Uint8Array | Promise<Uint8Array> | undefined {
    const arrived = this.#unconsumed;
    this.#unconsumed = 0;
    const isUnframed = this.#owner.isUnframed === true;
    this.#message ??= isUnframed ? this.#reader.takeUnframed(isEnded) : this.#reader.take();
    if (this.#message === undefined) {
      this.#held += arrived;
      this.#owner.onHeld?.(arrived);
    } else if (this.#held > 0) {
      this.#owner.onHeld?.(-this.#held);
      this.#held = 0;
    }
    if (arrived > 0) this.#owner.onConsumed(arrived);
    if (this.#message !== undefined && this.#reader.available > 0) {
      throw new RpcError(
        Code.UNIMPLEMENTED,
        `Cannot take more than one ${this.#owner.incomingName}: the method has exactly one`,
      );
    }
    if (!isEnded) return undefined;
    if (this.#message === undefined) {
      if (this.#reader.available > 0) {
        throw new RpcError(
          Code.INTERNAL,
          `Cannot read the ${this.#owner.incomingName}: the stream ended in the middle of a message`,
        );
      }
      throw new RpcError(
        Code.UNIMPLEMENTED,
        `Cannot go on without a ${this.#owner.incomingName}: the method has exactly one`,
      );
    }
    const isCompressed = isUnframed ? this.#owner.isCompressed : this.#reader.flag === FLAG_COMPRESSED;
    if (!isCompressed) return this.#message;
    if (!this.#owner.isCompressed) {
      throw new RpcError(Code.INTERNAL, "Cannot read a compressed message: the stream has no grpc-encoding");
    }
    return decompress(this.#message, this.#owner.messageBytesMax);
  }
}
