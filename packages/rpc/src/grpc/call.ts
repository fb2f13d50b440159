// One call on the server: requests in, the handler, answers out. A state machine that the transport drives.
//
// Nothing here makes a promise, a closure or a signal for a call that does not need one: a unary call of 100 B with a
// synchronous handler is this object and three calls of the transport (benchmark `unary`).
import { keepBytes } from "../reading/read-buffer.ts";
import type { ByteSource, StreamHandler } from "../transport.ts";
import { CallContext } from "./call-context.ts";
import { compressedFrame, isWorthCompressing } from "./compression.ts";
import { frameMemory } from "./frame-memory.ts";
import { countFrames, FRAME_HEADER_BYTES, frameLengthAt, Frames } from "./frames.ts";
import type { FrameSource, FrameStream } from "./handlers.ts";
import { Incoming, type IncomingOwner } from "./incoming.ts";
import { OnlyMessage } from "./only-message.ts";
import type { RpcError } from "./status.ts";
import { spendTurn } from "./turns.ts";

export class ServerCall extends CallContext implements StreamHandler, ByteSource, FrameStream, IncomingOwner<unknown> {
  readonly incomingName = "request";
  /** The interceptors let the call pass. */
  #isAdmitted = false;
  #isRequestEnded = false;
  /** The observer has heard of the first message. */
  #hasSent = false;
  /** Where requests gather: one that is not in one piece, or the stream of them. */
  #only: OnlyMessage | undefined = undefined;
  #requests: Incoming<unknown> | undefined = undefined;
  /** Where the answer comes from, and what waits for the transport. */
  #source: FrameSource | undefined = undefined;
  #replies: AsyncIterator<unknown> | undefined = undefined;
  #onWritable: (() => void) | undefined = undefined;

  // The beginning: interceptors, then requests.

  /** Runs the interceptors; then the handler as soon as it has its request. */
  start(endStream: boolean): void {
    this.#isRequestEnded = endStream;
    if (this.route.isRequestStream) {
      this.#requests = new Incoming<unknown>(this);
      if (endStream) this.#requests.finish();
    }
    this.#intercept(0);
  }

  #intercept(from: number): void {
    const { interceptors } = this.host;
    for (let at = from; at < interceptors.length && !this.isEnded; at++) {
      let pending: void | Promise<void>;
      try {
        pending = interceptors[at]?.(this);
      } catch (error) {
        this.fail(error);
        return;
      }
      if (pending instanceof Promise) {
        this.#whenSettled(pending, () => this.#intercept(at + 1));
        return;
      }
    }
    if (this.isEnded) return;
    this.#isAdmitted = true;
    if (this.#requests !== undefined) this.#invoke(this.#requests);
    else if (this.#only !== undefined || this.#isRequestEnded) this.#advanceOnly();
  }

  /** Goes on when a handler's or interceptor's promise settles. What is still running after the end is counted. */
  #whenSettled<T>(pending: Promise<T>, then: (value: T) => void): void {
    this.startRunning();
    pending.then(
      (value) => {
        if (!this.isEnded) then(value);
        this.stopRunning();
      },
      (error: unknown) => {
        this.fail(error);
        this.stopRunning();
      },
    );
  }

  onData(buffer: Buffer, start: number, end: number, endStream: boolean): void {
    if (this.isEnded) return;
    if (endStream) this.#isRequestEnded = true;
    if (this.#requests !== undefined) {
      this.#requests.push(buffer, start, end);
      if (endStream) this.#requests.finish();
      return;
    }
    // The usual case: one message in one piece.
    const isOnePiece = endStream && this.#only === undefined && !this.isUnframed;
    if (isOnePiece && this.#isAdmitted && end - start >= FRAME_HEADER_BYTES) {
      const length = frameLengthAt(buffer, start);
      const isWhole = length === end - start - FRAME_HEADER_BYTES;
      if (isWhole && buffer[start] === 0 && length <= this.messageBytesMax) {
        this.#invokeDecoded(keepBytes(buffer, start + FRAME_HEADER_BYTES, end));
        return;
      }
    }
    this.#only ??= new OnlyMessage(this);
    this.#only.push(buffer, start, end);
    if (this.#isAdmitted) this.#advanceOnly();
    this.#only?.keep();
  }

  #advanceOnly(): void {
    this.#only ??= new OnlyMessage(this);
    let request: Uint8Array | Promise<Uint8Array> | undefined;
    try {
      request = this.#only.advance(this.#isRequestEnded);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (request === undefined) return;
    this.#only = undefined;
    if (request instanceof Promise) this.#whenSettled(request, (bytes) => this.#invokeDecoded(bytes));
    else this.#invokeDecoded(request);
  }

  /** Trailers of a request say nothing in gRPC; they end it. */
  onTrailers(): void {
    if (this.isEnded) return;
    this.#isRequestEnded = true;
    if (this.#requests !== undefined) this.#requests.finish();
    else if (this.#isAdmitted) this.#advanceOnly();
  }

  onHeaders(): void {
    // Of the client role only.
  }

  // IncomingOwner: what requests may be, and what becomes of them.

  get messageBytesMax(): number {
    return this.host.limits.messageBytesMax;
  }

  get isCompressed(): boolean {
    return this.head.isCompressed;
  }

  get isLending(): boolean {
    return this.route.isLending;
  }

  get isUnframed(): boolean {
    return this.head.isUnframed;
  }

  decode(bytes: Uint8Array): unknown {
    return this.route.decode(bytes);
  }

  onConsumed(byteCount: number): void {
    if (!this.#isRequestEnded) this.stream.consume(byteCount);
  }

  /** Unfinished messages of all calls share one budget: else many large ones, begun and never finished, would be the end. */
  onHeld(change: number): void {
    this.heldBytes += change;
    this.host.onHeld(this, change);
  }

  onMessage(byteCount: number): void {
    this.observer?.received?.(1, byteCount);
  }

  onInvalid(error: RpcError): void {
    this.fail(error);
  }

  // The handler and its answer.

  #invokeDecoded(bytes: Uint8Array): void {
    this.onMessage(bytes.length);
    let request: unknown;
    try {
      request = this.route.decode(bytes);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.#invoke(request);
  }

  #invoke(request: unknown): void {
    let answer: unknown;
    try {
      answer = this.route.handler?.(request, this);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.route.isResponseStream) this.#answerWithStream(answer);
    else if (answer instanceof Promise) {
      if (this.#requests !== undefined) this.host.sendHeadersSoon(this);
      this.#whenSettled(answer, (reply) => this.#answerWith(reply));
    } else this.#answerWith(answer);
  }

  #answerWith(reply: unknown): void {
    if (this.isEnded) return;
    let frames: Uint8Array | Promise<Uint8Array>;
    try {
      frames = this.#framesOf(reply);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (frames instanceof Promise) this.#whenSettled(frames, (bytes) => this.#sendOnly(bytes));
    else this.#sendOnly(frames);
  }

  #sendOnly(frames: Uint8Array): void {
    this.#write(frames);
    this.end();
  }

  #framesOf(reply: unknown): Uint8Array | Promise<Uint8Array> {
    if (reply instanceof Frames) return reply.bytes;
    const frame = this.route.encode(reply);
    return this.head.isCompressing && isWorthCompressing(frame) ? compressedFrame(frame) : frame;
  }

  /** Returns whether the transport takes more now. */
  #write(frames: Uint8Array): boolean {
    this.sendHeaders();
    if (this.observer !== undefined) this.#observeSent(frames);
    return this.stream.write(frames, frameMemory);
  }

  #observeSent(frames: Uint8Array): void {
    if (!this.#hasSent) {
      this.#hasSent = true;
      this.observer?.answered?.(this.host.wheel.nowMs - this.startMs);
    }
    if (this.observer?.sent !== undefined) this.observer.sent(countFrames(frames), frames.length);
    if (this.observer?.wrote !== undefined) this.observer.wrote(frames.length);
  }

  #answerWithStream(answer: unknown): void {
    if (answer instanceof Promise) {
      this.#whenSettled(answer, (source) => this.#answerWithStream(source));
    } else if (isFrameSource(answer)) this.#pullFrom(answer);
    else if (isAsyncIterable(answer)) {
      this.host.sendHeadersSoon(this);
      void this.#pump(answer);
    } else {
      this.fail(
        new TypeError(`The handler of ${this.method.name} returned neither an async iterable nor a FrameSource`),
      );
    }
  }

  /** Sends what a generator yields, at the pace of the peer. Never rejects. */
  async #pump(replies: AsyncIterable<unknown>): Promise<void> {
    this.startRunning();
    try {
      const iterator = replies[Symbol.asyncIterator]();
      this.#replies = iterator;
      while (!this.isEnded) {
        let step: IteratorResult<unknown> | undefined = await iterator.next();
        if (this.isEnded) break;
        if (step.done === true) {
          this.#replies = undefined;
          this.end();
          break;
        }
        let frames: Uint8Array | Promise<Uint8Array> | undefined = this.#framesOf(step.value);
        if (frames instanceof Promise) frames = await frames;
        if (this.isEnded) break;
        const isWritable = this.#write(frames);
        const turn = spendTurn(frames.length);
        // Thousands may wait here: what they sent is the transport's, to keep or to drop.
        step = frames = undefined;
        if (!isWritable && !this.isEnded) await this.#writable();
        if (turn !== undefined && !this.isEnded) await turn;
      }
    } catch (error) {
      this.fail(error);
    }
    this.stopRunning();
  }

  #writable(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWritable = resolve;
    });
  }

  onWritable(): void {
    const resume = this.#onWritable;
    this.#onWritable = undefined;
    resume?.();
  }

  // ByteSource and FrameStream: the way of a FrameSource.

  #pullFrom(source: FrameSource): void {
    if (this.isEnded) return;
    this.#source = source;
    try {
      source.attach(this);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.isEnded) return;
    this.sendHeaders();
    this.stream.setSource(this);
  }

  pull(maxBytes: number): Uint8Array | undefined {
    if (this.#source === undefined) return undefined;
    try {
      const frames = this.#source.pull(maxBytes);
      if (frames !== undefined && this.observer !== undefined) this.#observeSent(frames);
      return frames;
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  sent(): void {
    this.#source?.sent?.();
  }

  wake(): void {
    if (!this.isEnded) this.stream.wake();
  }

  // The end.

  dismiss(error: RpcError): void {
    if (this.isEnded) return;
    let last: unknown = error;
    try {
      last = this.#source?.farewell?.(error) ?? error;
    } catch (failure) {
      last = failure;
    }
    this.terminate(this.host.statusOf(last, this));
  }

  protected onReleased(error: RpcError | undefined): void {
    if (this.heldBytes > 0) this.onHeld(-this.heldBytes);
    // Cleared, not only forgotten: the stack of an error may lead to it.
    this.#only?.clear();
    this.#only = undefined;
    this.#source = undefined;
    this.#requests?.abort(error);
    this.onWritable();
    const replies = this.#replies;
    this.#replies = undefined;
    // A generator that waits at a `yield` runs its `finally` now; one that waits elsewhere has its signal.
    replies?.return?.().then(undefined, (failure: unknown) => this.fail(failure));
  }
}

function isFrameSource(answer: unknown): answer is FrameSource {
  return typeof answer === "object" && answer !== null && "attach" in answer && "pull" in answer;
}

function isAsyncIterable(answer: unknown): answer is AsyncIterable<unknown> {
  return typeof answer === "object" && answer !== null && Symbol.asyncIterator in answer;
}
