// One HTTP/1.1 request and its answer, behind the interface of `transport.ts`.
//
// H1. A body that is not consumed stops the socket's reading at `unconsumedBytesMax`: HTTP/1.1 has no other flow control.
// H2. HTTP/1.1 can end one exchange early only by closing the connection: that is what `reset` does.
// H3. What still comes of a body after its answer is read and dropped, for clients that send all of it before they look at
//     the answer; beyond `droppedBytesMax`, or after `droppedTimeoutMs`, the connection ends.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../clock.ts";
import type { Http1Limits } from "../limits.ts";
import type {
  ByteSource,
  HeaderBlock,
  StreamEnd,
  StreamHandler,
  TransportConnection,
  TransportStream,
} from "../transport.ts";

/** What a stream needs of its connection. */
export interface Http1StreamOwner extends TransportConnection {
  readonly isDraining: boolean;
  readonly limits: Http1Limits;
  readonly clock: Clock;
  /** So many bytes more, or less, were received and not consumed. */
  addUnread(bytes: number): void;
  /** What waits to be sent has changed. */
  onQueued(): void;
  /** Holds writes back to the end of this turn, so that they leave as one. */
  gatherWrites(): void;
  onStreamClosed(stream: Http1Stream): void;
}

const PULL_BYTES = 64 * 1024;
const NOTHING = Buffer.alloc(0);

export class Http1Stream implements TransportStream {
  readonly connection: Http1StreamOwner;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #handler: StreamHandler | undefined = undefined;
  #source: ByteSource | undefined = undefined;
  #isPumpDue = false;
  #unconsumed = 0;
  #dropped = 0;
  #hasEnded = false;
  #isReset = false;
  #isClosed = false;

  constructor(connection: Http1StreamOwner, request: IncomingMessage, response: ServerResponse) {
    this.connection = connection;
    this.#request = request;
    this.#response = response;
  }

  /** From here on the handler hears of the request. */
  attach(handler: StreamHandler, hasBody: boolean): void {
    this.#handler = handler;
    // What an error means is said by the close that follows it.
    this.#request.on("error", () => {});
    this.#response.on("error", () => {});
    this.#response.on("drain", () => this.#onDrain());
    this.#response.on("close", () => this.close());
    if (!hasBody) return;
    this.#request.on("data", (chunk: Buffer) => this.#onData(chunk));
    this.#request.on("end", () => {
      if (!this.#isOver) handler.onData(NOTHING, 0, 0, true);
    });
  }

  sendHeaders({ fields }: HeaderBlock, { endStream }: { endStream: boolean }): void {
    if (this.#isOver || this.#response.headersSent) return;
    this.connection.gatherWrites();
    const status = Number(fields[1]);
    const rest = fields.slice(2);
    if (this.connection.isDraining) rest.push("connection", "close");
    this.#response.writeHead(status, rest);
    if (endStream) this.end();
    else this.#response.flushHeaders();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#isOver || this.#hasEnded) return true;
    this.connection.gatherWrites();
    const isWritable = this.#response.write(bytes);
    this.connection.onQueued();
    return isWritable || this.#isOver;
  }

  end(): void {
    if (this.#isOver || this.#hasEnded) return;
    this.connection.gatherWrites();
    this.#hasEnded = true;
    this.#response.end();
  }

  setSource(source: ByteSource): void {
    this.#source = source;
    this.wake();
  }

  wake(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    setImmediate(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  /** Written and not yet taken by the socket. */
  get queuedBytes(): number {
    return this.#response.writableLength;
  }

  consume(byteCount: number): void {
    if (this.#isClosed) return;
    this.#unconsumed -= byteCount;
    this.connection.addUnread(-byteCount);
    const { unconsumedBytesMax } = this.connection.limits;
    if (this.#unconsumed < unconsumedBytesMax && this.#request.isPaused() && !this.#isOver) this.#request.resume();
  }

  reset(): void {
    if (this.#isOver) return;
    this.#isReset = true;
    this.#request.socket.destroy(); // H2
  }

  /** The exchange is over, for whatever reason. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#source = undefined;
    this.connection.addUnread(-this.#unconsumed);
    this.connection.onStreamClosed(this);
    this.#handler?.onClose({ by: this.#endedBy(), code: 0, reason: "" });
    this.#handler = undefined;
    if (!this.#request.complete && !this.#request.destroyed) this.#dropRest();
  }

  /** H3 */
  #dropRest(): void {
    const { clock, limits } = this.connection;
    const { socket } = this.#request;
    const timer = clock.setTimer(() => socket.destroy(), limits.droppedTimeoutMs);
    const stop = (): void => {
      timer.cancel();
      socket.off("close", stop);
    };
    this.#request.once("close", stop);
    // Of a request that was answered, Node closes the socket only.
    socket.once("close", stop);
    this.#request.resume();
  }

  get #isOver(): boolean {
    return this.#isClosed || this.#isReset;
  }

  #endedBy(): StreamEnd["by"] {
    if (this.#isReset) return "local-reset";
    return this.#response.writableFinished ? "both-sides" : "connection-lost";
  }

  #onData(chunk: Buffer): void {
    if (this.#isOver) {
      this.#dropped += chunk.length;
      if (this.#dropped > this.connection.limits.droppedBytesMax) this.#request.socket.destroy(); // H3
      return;
    }
    this.#unconsumed += chunk.length;
    this.connection.addUnread(chunk.length);
    this.#handler?.onData(chunk, 0, chunk.length, false);
    if (this.#unconsumed >= this.connection.limits.unconsumedBytesMax && !this.#isOver) this.#request.pause(); // H1
  }

  #onDrain(): void {
    this.connection.onQueued();
    if (this.#source === undefined) this.#handler?.onWritable();
    else {
      this.#source.sent?.();
      this.#pump();
    }
  }

  #pump(): void {
    while (this.#source !== undefined && !this.#isOver && !this.#hasEnded && !this.#response.writableNeedDrain) {
      const bytes = this.#source.pull(PULL_BYTES);
      if (bytes === undefined || bytes.length === 0) return;
      this.write(bytes);
    }
  }
}
