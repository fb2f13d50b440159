// One stream of a connection: its state, what waits to be sent on it, and its place in the connection's lists.
//
// A connection may have a thousand of these, idle: a field here is a field in each. What only some need (a receive window,
// a queue) is made when it is needed.
import type {
  ByteSource,
  BytesOwner,
  HeaderBlock,
  StreamEnd,
  StreamHandler,
  TransportConnection,
  TransportStream,
} from "../transport.ts";
import type { StreamWindow } from "./flow.ts";
import { StreamState } from "./states.ts";

/** What a stream needs of its connection; the methods of `TransportStream`, with the stream named. */
export interface StreamOwner extends TransportConnection {
  sendHeaders(stream: Stream, block: HeaderBlock, endStream: boolean): void;
  write(stream: Stream, bytes: Uint8Array): boolean;
  end(stream: Stream, trailers: HeaderBlock | undefined): void;
  setSource(stream: Stream, source: ByteSource): void;
  wake(stream: Stream): void;
  consume(stream: Stream, byteCount: number): void;
  reset(stream: Stream, code: number): void;
}

export class Stream implements TransportStream {
  readonly id: number;
  readonly owner: StreamOwner;
  handler: StreamHandler | undefined = undefined;
  /** Set while the handler is not known yet: what it has to be told first. */
  endedAs: StreamEnd | undefined = undefined;

  isClosed = false;
  /** END_STREAM was received. */
  isRemoteEnded = false;
  /** END_STREAM was sent. */
  isLocalEnded = false;
  /** The peer's header block was received: the request (server), the final response (client). */
  hasHeaders = false;
  /** This side has begun to answer, or to ask. */
  isAnswered = false;

  // Received.
  /** Undefined until a body is longer than its first frame. */
  receiveWindow: StreamWindow | undefined = undefined;
  /** Handed to the handler and not consumed. */
  unread = 0;
  /** What `content-length` still promises; -1 when it does not. */
  expectedBytes = -1;

  // To be sent, in this order: `headers`, the queue, then what `source` gives, then the end.
  headers: HeaderBlock | undefined = undefined;
  queue: Uint8Array[] | undefined = undefined;
  /** How much of the queue's first entry has been sent. */
  queueOffset = 0;
  queuedBytes = 0;
  /** Of what is written. */
  bytesOwner: BytesOwner | undefined = undefined;
  source: ByteSource | undefined = undefined;
  /** The source said that it has nothing; `wake` changes that. */
  isSourceIdle = false;
  /** What was pulled from the source may still be in use here. */
  isLent = false;
  isEnding = false;
  trailers: HeaderBlock | undefined = undefined;
  /** `write` has said false and `onWritable` is owed. */
  isWritableOwed = false;
  /** What the peer lets this side send; negative after it lowered its settings. */
  sendWindow: number;

  // Links of `StreamList`.
  list: StreamList | undefined = undefined;
  before: Stream | undefined = undefined;
  after: Stream | undefined = undefined;

  constructor(id: number, owner: StreamOwner, sendWindow: number) {
    this.id = id;
    this.owner = owner;
    this.sendWindow = sendWindow;
  }

  get connection(): TransportConnection {
    return this.owner;
  }

  /** A row of the table in `states.ts`. */
  get state(): number {
    if (this.isRemoteEnded) return StreamState.HALF_CLOSED_REMOTE;
    return this.isLocalEnded ? StreamState.HALF_CLOSED_LOCAL : StreamState.OPEN;
  }

  /** Whether anything more may be given to it to send. */
  get canSend(): boolean {
    return !this.isClosed && !this.isEnding && !this.isLocalEnded;
  }

  sendHeaders(block: HeaderBlock, options: { endStream: boolean }): void {
    this.owner.sendHeaders(this, block, options.endStream);
  }

  write(bytes: Uint8Array, owner?: BytesOwner): boolean {
    this.bytesOwner = owner;
    return this.owner.write(this, bytes);
  }

  end(trailers?: HeaderBlock): void {
    this.owner.end(this, trailers);
  }

  setSource(source: ByteSource): void {
    this.owner.setSource(this, source);
  }

  wake(): void {
    this.owner.wake(this);
  }

  consume(byteCount: number): void {
    this.owner.consume(this, byteCount);
  }

  reset(code: number): void {
    this.owner.reset(this, code);
  }
}

/** A queue of streams through links of their own: a stream is in one list at most, and leaves it at no cost. */
export class StreamList {
  #first: Stream | undefined = undefined;
  #last: Stream | undefined = undefined;

  get isEmpty(): boolean {
    return this.#first === undefined;
  }

  push(stream: Stream): void {
    stream.list = this;
    stream.before = this.#last;
    if (this.#last === undefined) this.#first = stream;
    else this.#last.after = stream;
    this.#last = stream;
  }

  shift(): Stream | undefined {
    const stream = this.#first;
    if (stream !== undefined) this.remove(stream);
    return stream;
  }

  remove(stream: Stream): void {
    if (stream.before === undefined) this.#first = stream.after;
    else stream.before.after = stream.after;
    if (stream.after === undefined) this.#last = stream.before;
    else stream.after.before = stream.before;
    stream.list = undefined;
    stream.before = undefined;
    stream.after = undefined;
  }
}
