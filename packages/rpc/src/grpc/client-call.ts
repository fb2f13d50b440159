// One call on the client, from before it has a stream to its status.
//
// Q1. It settles once, by `#settle`: with the server's status, or with what kept it from getting one.
// Q2. A call that the server never looked at (REFUSED_STREAM, a stream above GOAWAY's last) is sent again on its own, as
//     long as everything that was sent is still in `#outbox`.
import { HeaderBlock } from "../transport.ts";
import type { ClientTransportConnection, HeaderList, StreamEnd, StreamHandler, TransportStream } from "../transport.ts";
import type { GrpcLimits } from "../limits.ts";
import { ACCEPTED_ENCODINGS, GZIP, IDENTITY } from "./compression.ts";
import { formatTimeout, type Deadline, type DeadlineOwner, type DeadlineWheel } from "./deadline.ts";
import { Incoming, type IncomingOwner } from "./incoming.ts";
import { Metadata } from "./metadata.ts";
import { OnlyMessage } from "./only-message.ts";
import { Code, codeOfReset, Http2Error, RpcError } from "./status.ts";
import { field, readStatus, refuseResponse, type ReceivedStatus } from "./status-wire.ts";

/** What the caller may say about one call. */
export interface CallOptions {
  /** Cancels the call; a pending `next` rejects in the same turn. */
  readonly signal?: AbortSignal;
  /** After it the call fails with DEADLINE_EXCEEDED; the server is told. Default: never. */
  readonly timeoutMs?: number;
  readonly metadata?: Metadata;
  /** Compresses requests of 1 KiB and more; the server will answer in kind. */
  readonly compress?: "gzip";
  /** Waits for a connection instead of failing with UNAVAILABLE while there is none. */
  readonly waitForReady?: boolean;
  /** The response's headers, as soon as they are there. */
  readonly onHeaders?: (metadata: Metadata) => void;
  /** What came with the status. */
  readonly onTrailers?: (metadata: Metadata) => void;
}

/** What a call needs of its channel. */
export interface CallChannel {
  readonly limits: GrpcLimits;
  readonly wheel: DeadlineWheel;
  /** For error messages. */
  readonly address: string;
  /** Pseudo-header fields except the path, and what is the same for all calls. */
  headerFields(path: string): readonly string[];
  /** Starts the call when there is a stream for it: `attach`, or `fail`. */
  dispatch(call: ClientCall): void;
  /** The call has settled. */
  onSettled(call: ClientCall): void;
}

/** One method as a client calls it. */
export interface ClientRoute {
  readonly path: string;
  readonly isResponseStream: boolean;
  /** Header blocks of calls without metadata, by their timeout; the last one is kept. */
  lastHeaders: { readonly timeout: string; readonly block: HeaderBlock } | undefined;
}

/** What a response's headers say; kept on the list, since servers repeat themselves. */
interface ResponseHead {
  readonly refusal: RpcError | undefined;
  readonly isCompressed: boolean;
}

export class ClientCall implements StreamHandler, DeadlineOwner, IncomingOwner<unknown> {
  readonly incomingName = "response";
  readonly waitForReady: boolean;
  isEnded = false;
  isCompressed = false;
  /** Tells the source of a request stream that nobody listens any more. */
  leaveRequests: (() => void) | undefined = undefined;
  /** The messages of a streaming response. */
  readonly responses: Incoming<unknown> | undefined;
  readonly #channel: CallChannel;
  readonly #route: ClientRoute;
  readonly #options: CallOptions;
  readonly #decode: (bytes: Uint8Array) => unknown;
  readonly #onResult: (error: RpcError | undefined, response: unknown) => void;
  readonly #only: OnlyMessage | undefined;
  readonly #startMs: number;
  #deadline: Deadline | undefined;
  #stream: TransportStream | undefined;
  #attempts = 0;
  /** Frames given so far, while the call may have to be sent (again). */
  #outbox: Uint8Array[] = [];
  #outboxBytes = 0;
  #isReplayable = true;
  #isRequestEnded = false;
  /** The server's side has ended. */
  #hasStatus = false;
  #onWritable: (() => void) | undefined;

  /** @param onResult hears once how the call ended; with the one response where there is no stream of them. */
  constructor(
    channel: CallChannel,
    route: ClientRoute,
    options: CallOptions,
    decode: (bytes: Uint8Array) => unknown,
    onResult: (error: RpcError | undefined, response: unknown) => void,
  ) {
    this.#channel = channel;
    this.#route = route;
    this.#options = options;
    this.#decode = decode;
    this.#onResult = onResult;
    this.waitForReady = options.waitForReady ?? false;
    this.responses = route.isResponseStream ? new Incoming<unknown>(this) : undefined;
    this.#only = route.isResponseStream ? undefined : new OnlyMessage(this);
    this.#startMs = options.timeoutMs === undefined ? 0 : channel.wheel.nowMs;
  }

  /** Arms deadline and signal, and asks the channel for a stream. */
  start(): void {
    const { signal, timeoutMs } = this.#options;
    if (signal?.aborted === true) {
      this.#onAbort();
      return;
    }
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (timeoutMs !== undefined) this.#deadline = this.#channel.wheel.add(this.#startMs + timeoutMs, this);
    this.#channel.dispatch(this);
  }

  /** The channel has a stream for this call. */
  attach(connection: ClientTransportConnection): void {
    this.#attempts++;
    const endStream = this.#isRequestEnded && this.#outbox.length === 0;
    this.#stream = connection.open(this.#headers(), this, { endStream });
    let isWritable = true;
    for (const frames of this.#outbox) isWritable = this.#stream.write(frames);
    if (this.#isRequestEnded && !endStream) this.#stream.end();
    if (isWritable) this.onWritable();
  }

  #headers(): HeaderBlock {
    const { timeoutMs, metadata, compress } = this.#options;
    let timeout = "";
    if (timeoutMs !== undefined) {
      const waitedMs = this.#channel.wheel.nowMs - this.#startMs;
      // Most calls start at once: their timeout is the caller's, to the letter, and so is their header block.
      timeout = formatTimeout(waitedMs < 1 ? timeoutMs : timeoutMs - waitedMs);
    }
    const isPlain = (metadata === undefined || metadata.size === 0) && compress === undefined;
    const last = this.#route.lastHeaders;
    if (isPlain && last?.timeout === timeout) return last.block;
    const fields = [...this.#channel.headerFields(this.#route.path)];
    if (timeout !== "") fields.push("grpc-timeout", timeout);
    if (compress !== undefined) fields.push("grpc-encoding", compress);
    fields.push("grpc-accept-encoding", ACCEPTED_ENCODINGS, ...(metadata?.fields ?? []));
    const block = new HeaderBlock(fields);
    if (isPlain) this.#route.lastHeaders = { timeout, block };
    return block;
  }

  // Requests.

  /** Gives whole frames. Returns whether more may come now; if not, `writable` tells when. */
  send(frames: Uint8Array): boolean {
    if (this.isEnded) return true;
    if (this.#isReplayable) {
      this.#outbox.push(frames);
      this.#outboxBytes += frames.length;
    }
    if (this.#stream === undefined) return this.#outboxBytes < this.#channel.limits.replayBytesMax;
    if (this.#outboxBytes > this.#channel.limits.replayBytesMax && this.#outbox.length > 1) this.#commit();
    return this.#stream.write(frames);
  }

  endRequests(): void {
    if (this.isEnded || this.#isRequestEnded) return;
    this.#isRequestEnded = true;
    this.#stream?.end();
  }

  /** Resolves when more may be sent, or nothing more matters. */
  writable(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWritable = resolve;
    });
  }

  onWritable(): void {
    const resume = this.#onWritable;
    this.#onWritable = undefined;
    resume?.();
  }

  /** From now on the call cannot be sent again. */
  #commit(): void {
    this.#isReplayable = false;
    this.#outbox = [];
    this.#outboxBytes = 0;
  }

  // IncomingOwner.

  get messageBytesMax(): number {
    return this.#channel.limits.messageBytesMax;
  }

  decode(bytes: Uint8Array): unknown {
    return this.#decode(bytes);
  }

  onConsumed(byteCount: number): void {
    this.#stream?.consume(byteCount);
  }

  onMessage(): void {
    // Clients are not observed.
  }

  onInvalid(error: RpcError): void {
    this.fail(error);
  }

  onReturn(): void {
    this.fail(new RpcError(Code.CANCELLED, "The call was cancelled: its reader left"));
  }

  // The transport's side.

  onHeaders(headers: HeaderList, endStream: boolean): void {
    if (this.isEnded) return;
    this.#commit();
    const head = responseHead(headers);
    if (endStream) {
      this.#onStatus(readStatus(headers), head.refusal);
      return;
    }
    if (head.refusal !== undefined) {
      this.fail(head.refusal);
      return;
    }
    this.isCompressed = head.isCompressed;
    this.#options.onHeaders?.(Metadata.received(headers.fields));
  }

  onData(buffer: Buffer, start: number, end: number, endStream: boolean): void {
    if (this.isEnded) return;
    if (this.responses !== undefined) this.responses.push(buffer, start, end);
    else if (this.#only !== undefined) {
      this.#only.push(buffer, start, end);
      this.#guard(() => this.#only?.advance(false));
      this.#only?.keep();
    }
    if (endStream && !this.isEnded) this.#onStatus(undefined, undefined);
  }

  onTrailers(trailers: HeaderList): void {
    if (!this.isEnded) this.#onStatus(readStatus(trailers), undefined);
  }

  #onStatus(status: ReceivedStatus | undefined, refusal: RpcError | undefined): void {
    this.#hasStatus = true;
    if (status === undefined) {
      this.fail(refusal ?? new RpcError(Code.INTERNAL, "The server ended the stream without a status"));
      return;
    }
    this.#options.onTrailers?.(status.metadata);
    if (status.error !== undefined || this.responses !== undefined) this.#settle(status.error, undefined);
    else this.#guard(() => this.#takeOnly());
  }

  #takeOnly(): void {
    const message = this.#only?.advance(true);
    if (message instanceof Promise) {
      message.then(
        (bytes) => this.#guard(() => this.#settle(undefined, this.#decode(bytes))),
        (error: unknown) => this.fail(asRpcError(error)),
      );
    } else if (message !== undefined) this.#settle(undefined, this.#decode(message));
  }

  #guard(step: () => unknown): void {
    try {
      step();
    } catch (error) {
      this.fail(asRpcError(error));
    }
  }

  onClose(end: StreamEnd): void {
    this.#stream = undefined;
    // With its status there, a call may only be waiting for its response to be decompressed.
    if (this.isEnded || this.#hasStatus) return;
    const isUntouched =
      end.by === "refused-by-goaway" || (end.by === "peer-reset" && end.code === Http2Error.REFUSED_STREAM);
    if (isUntouched && this.#isReplayable && this.#attempts <= this.#channel.limits.replaysMax) {
      this.#channel.dispatch(this);
      return;
    }
    this.fail(this.#errorOf(end));
  }

  #errorOf(end: StreamEnd): RpcError {
    const why = end.reason === "" ? "" : `: ${end.reason}`;
    switch (end.by) {
      case "connection-lost":
      case "refused-by-goaway":
        return new RpcError(Code.UNAVAILABLE, `The connection to ${this.#channel.address} was lost${why}`);
      case "peer-reset":
        // The server's timer was faster than ours: it gave up for the same reason (grpc-go resets, without a status).
        if (end.code === Http2Error.CANCEL && this.#isLate) return this.#deadlineError();
        return new RpcError(codeOfReset(end.code), `The server reset the stream with HTTP/2 error ${end.code}${why}`);
      default:
        return new RpcError(Code.INTERNAL, `The stream ended without a status (HTTP/2 error ${end.code}${why})`);
    }
  }

  // The end.

  onDeadline(): void {
    this.fail(this.#deadlineError());
  }

  get #isLate(): boolean {
    return this.#deadline !== undefined && this.#channel.wheel.nowMs >= this.#deadline.dueMs;
  }

  #deadlineError(): RpcError {
    return new RpcError(Code.DEADLINE_EXCEEDED, `The deadline of ${this.#options.timeoutMs} ms has passed`);
  }

  readonly #onAbort = (): void => {
    const cause: unknown = this.#options.signal?.reason;
    this.fail(new RpcError(Code.CANCELLED, "The call was cancelled by its signal", { cause }));
  };

  /** Ends the call from this side: nothing more is handed out, the stream is reset. */
  fail(error: RpcError): void {
    if (this.isEnded) return;
    this.responses?.abort(error);
    this.#settle(error, undefined);
  }

  #settle(error: RpcError | undefined, response: unknown): void {
    this.isEnded = true;
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    if (this.#deadline !== undefined) this.#channel.wheel.remove(this.#deadline);
    this.#commit();
    this.responses?.finish(error);
    this.onWritable();
    if (!this.#hasStatus || !this.#isRequestEnded) this.#stream?.reset(Http2Error.CANCEL);
    this.leaveRequests?.();
    this.#channel.onSettled(this);
    this.#onResult(error, response);
  }
}

function responseHead(headers: HeaderList): ResponseHead {
  headers.memo ??= parseResponseHead(headers);
  return headers.memo as ResponseHead;
}

function parseResponseHead(headers: HeaderList): ResponseHead {
  const encoding = field(headers, "grpc-encoding") ?? IDENTITY;
  const isKnown = encoding === IDENTITY || encoding === GZIP;
  const unknown = isKnown
    ? undefined
    : new RpcError(Code.INTERNAL, `Cannot read responses with the encoding "${encoding}"`);
  return { refusal: refuseResponse(headers) ?? unknown, isCompressed: encoding === GZIP };
}

function asRpcError(error: unknown): RpcError {
  return error instanceof RpcError ? error : new RpcError(Code.INTERNAL, "Cannot read the response", { cause: error });
}
