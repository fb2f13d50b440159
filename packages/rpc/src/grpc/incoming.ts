// The messages of one direction of a stream, as an async iterator over a MessageReader.
//
// I1. Credit returns to the sender when its bytes are taken, or when the message that is waited for needs more of them:
//     what nobody reads stays with the sender (a reader that does not pull holds at most one window).
// I2. `abort` rejects a pending `next` in the same turn; buffered messages are dropped with it. Nor does a later `next`
//     wait, also while a message is still being decompressed that nobody will get.
// I3. Where the memory of a message is lent, it is used again when the next one is asked for, and not before: who left, or was
//     told of the end, may still look at the last one.
import { decompress } from "./compression.ts";
import { frameMemory } from "./frame-memory.ts";
import { FLAG_COMPRESSED, MessageReader } from "./frames.ts";
import { Code, RpcError } from "./status.ts";

/** Where the messages come from and what to do with them. */
export interface IncomingOwner<T> {
  /** Largest message, on the wire and decompressed. */
  readonly messageBytesMax: number;
  /** Whether the stream's headers allow compressed messages. */
  readonly isCompressed: boolean;
  /** What is decoded is looked at only until the next message is asked for (I3). Default: it is kept. */
  readonly isLending?: boolean;
  decode(bytes: Uint8Array): T;
  /** These many bytes were taken. */
  onConsumed(byteCount: number): void;
  /** Bytes of an unfinished message whose credit was returned: so many more (or fewer). @throws RpcError when too many */
  onHeld?(change: number): void;
  /** A message came through. `byteCount` is its length on the wire, without the frame's header. */
  onMessage(byteCount: number): void;
  /** A message cannot be accepted: the call is to fail with this error. `abort` follows from there. */
  onInvalid(error: RpcError): void;
  /** The reader wants no more; what still comes is credited and dropped. */
  onReturn?(): void;
}

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** While messages wait, credit returns in steps of this size: not one by one. */
const CREDIT_BYTES_MIN = 8 * 1024;

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

export class Incoming<T> implements AsyncIterableIterator<T, undefined, unknown> {
  readonly #owner: IncomingOwner<T>;
  readonly #reader: MessageReader;
  readonly #waiters: Waiter<T>[] = [];
  /** Bytes received whose credit was not returned yet. */
  #unconsumed = 0;
  /** Bytes whose credit was returned although they wait: the beginning of the message that is waited for. */
  #held = 0;
  #isEnded = false;
  #error: RpcError | undefined;
  #isDiscarding = false;
  /** A compressed message is being read: those behind it wait. */
  #isInflating = false;
  /** I3 */
  #lent: Uint8Array | undefined;

  constructor(owner: IncomingOwner<T>) {
    this.#owner = owner;
    this.#reader = new MessageReader(owner.messageBytesMax, { isLending: owner.isLending ?? false });
  }

  /** Bytes arrived. */
  push(buffer: Buffer, start: number, end: number): void {
    if (this.#isDiscarding) {
      this.#owner.onConsumed(end - start);
      return;
    }
    this.#unconsumed += end - start;
    this.#reader.push(buffer, start, end);
    if (this.#waiters.length > 0) this.#serve();
    this.#reader.keep();
  }

  /** The peer sent its last message; with `error` the iteration ends with it, after what is buffered. */
  finish(error?: RpcError): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    this.#serve();
  }

  /** The call is over: nothing more is handed out. Without an error it ended well, before the reader did. */
  abort(error?: RpcError): void {
    this.#isEnded = true;
    this.#reader.clear();
    this.#isDiscarding = true;
    this.#error = error;
    if (this.#waiters.length > 0) this.#settle();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#lent !== undefined) {
      frameMemory.free(this.#lent);
      this.#lent = undefined;
    }
    // Most messages are there when they are asked for, and plain: no waiter for them.
    if (this.#waiters.length === 0 && this.#reader.available > 0 && !this.#owner.isCompressed) {
      const ready = this.#takeReady();
      if (ready !== undefined) return ready;
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      if (this.#waiters.length === 1) this.#serve();
    });
  }

  /** Leaves the iteration early. */
  return(): Promise<IteratorResult<T, undefined>> {
    if (!this.#isDiscarding) {
      this.#isDiscarding = true;
      this.#reader.clear();
      this.#giveBack(0);
      this.#owner.onReturn?.();
    }
    this.#isEnded = true;
    this.#error = undefined;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(DONE);
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.return().then(() => undefined);
  }

  #takeReady(): Promise<IteratorResult<T, undefined>> | undefined {
    try {
      const bytes = this.#reader.take();
      if (bytes === undefined) return undefined;
      if (this.#reader.flag === FLAG_COMPRESSED) throw unannounced();
      this.#owner.onMessage(bytes.length);
      const value = this.#decode(bytes);
      this.#hold(0);
      this.#giveBack(this.#reader.available);
      return Promise.resolve({ done: false, value });
    } catch (error) {
      return Promise.reject(this.#refuse(error));
    }
  }

  /** Answers who waits, as far as there are messages. */
  #serve(): void {
    if (this.#isDiscarding) {
      this.#settle();
      return;
    }
    try {
      while (this.#waiters.length > 0 && !this.#isInflating) {
        const bytes = this.#reader.take();
        if (bytes === undefined) break;
        this.#owner.onMessage(bytes.length);
        if (this.#reader.flag === FLAG_COMPRESSED) this.#inflate(bytes);
        else this.#answer(bytes);
      }
    } catch (error) {
      this.#refuse(error);
      return;
    }
    // I1: who still waits needs more bytes than there are.
    const isHungry = this.#waiters.length > 0 && !this.#isInflating;
    try {
      this.#hold(isHungry && !this.#isEnded ? this.#reader.available : 0);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#giveBack(isHungry ? 0 : this.#reader.available);
    if (isHungry && this.#isEnded) this.#settle();
  }

  /** Decodes before the waiter leaves the list: of a message that cannot be decoded it has to hear too. */
  #answer(message: Uint8Array): void {
    const value = this.#decode(message);
    this.#waiters.shift()?.resolve({ done: false, value });
  }

  #decode(message: Uint8Array): T {
    if (this.#owner.isLending === true) this.#lent = message;
    return this.#owner.decode(message);
  }

  #settle(): void {
    if (this.#error === undefined && this.#reader.available > 0) {
      this.#refuse(new RpcError(Code.INTERNAL, "Cannot read a message: the stream ended in the middle of it"));
      return;
    }
    for (const waiter of this.#waiters.splice(0)) {
      if (this.#error === undefined) waiter.resolve(DONE);
      else waiter.reject(this.#error);
    }
  }

  #hold(byteCount: number): void {
    const change = byteCount - this.#held;
    if (change === 0) return;
    this.#held = byteCount;
    this.#owner.onHeld?.(change);
  }

  #giveBack(keep: number): void {
    const count = this.#unconsumed - keep;
    if (count < CREDIT_BYTES_MIN && keep > 0) return;
    if (count <= 0) return;
    this.#unconsumed = keep;
    this.#owner.onConsumed(count);
  }

  #inflate(bytes: Uint8Array): void {
    if (!this.#owner.isCompressed) throw unannounced();
    this.#isInflating = true;
    decompress(bytes, this.#owner.messageBytesMax).then(
      (message) => {
        this.#isInflating = false;
        if (this.#isDiscarding) return;
        try {
          this.#answer(message);
        } catch (error) {
          this.#refuse(error);
          return;
        }
        this.#serve();
      },
      (error: unknown) => {
        this.#isInflating = false;
        if (!this.#isDiscarding) this.#refuse(error);
      },
    );
  }

  #refuse(error: unknown): RpcError {
    const refusal =
      error instanceof RpcError ? error : new RpcError(Code.INTERNAL, "Cannot read a message", { cause: error });
    this.abort(refusal);
    this.#owner.onInvalid(refusal);
    return refusal;
  }
}

function unannounced(): RpcError {
  return new RpcError(Code.INTERNAL, "Cannot read a compressed message: the stream has no grpc-encoding");
}
