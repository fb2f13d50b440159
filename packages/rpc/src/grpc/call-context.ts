// What handlers see of a call on the server, and how it ends. The other half, requests and answers, is in call.ts.
//
// K1. The status is sent once, by `#finish`, whoever ends the call; what comes after is ignored.
// K2. `#release` runs exactly once, in the turn in which the call ends: it disarms, aborts, and wakes whoever waits.
import type { DescMethod } from "@bufbuild/protobuf";
import {
  HeaderBlock,
  type Peer,
  type StreamEnd,
  type TransportConnection,
  type TransportStream,
} from "../transport.ts";
import type { GrpcLimits } from "../limits.ts";
import type { Deadline, DeadlineOwner, DeadlineWheel } from "./deadline.ts";
import type { Call } from "./handlers.ts";
import { Metadata } from "./metadata.ts";
import type { CallObserver, Interceptor, Observe } from "./observe.ts";
import type { Route } from "./route.ts";
import { trailersOnly, type RequestHead } from "./routes.ts";
import { Code, Http2Error, RpcError } from "./status.ts";
import { errorFields, okTrailers, TRAILERS_OK } from "./status-wire.ts";

const OPEN = { endStream: false } as const;
const FINAL = { endStream: true } as const;

/** The signal's reason after a call that ended well; made once, since an error with its stack costs more than a call. */
const CALL_ENDED = new DOMException("The call has ended", "AbortError");

/** What a call needs of its server. */
export interface CallHost {
  readonly limits: GrpcLimits;
  readonly wheel: DeadlineWheel;
  readonly interceptors: readonly Interceptor[];
  readonly observe: Observe | undefined;
  /** Handlers and interceptors that have not come to their end, also of calls that are over. */
  runningHandlers: number;
  /**
   * A call holds so many bytes more (or fewer) of an unfinished message whose credit was returned, so that it can be
   * finished. @throws RpcError when there is no room for them
   */
  onHeld(call: CallContext, change: number): void;
  /** The status for whatever a handler threw. */
  statusOf(error: unknown, call: Call): RpcError;
  /** Something failed that no client will hear of any more. */
  report(error: unknown, call: Call): void;
  /** Lets the headers go at the end of this turn, unless the call has failed by then. */
  sendHeadersSoon(call: CallContext): void;
  onClosed(call: CallContext): void;
}

export abstract class CallContext implements Call, DeadlineOwner {
  isEnded = false;
  /** Of an unfinished message; see `CallHost.onHeld`. */
  heldBytes = 0;
  /** The handler will say when its headers may go. */
  isHoldingHeaders = false;
  /** Links of the server's list of open calls. */
  previousCall: CallContext | undefined = undefined;
  nextCall: CallContext | undefined = undefined;
  protected readonly host: CallHost;
  protected readonly route: Route;
  protected readonly head: RequestHead;
  protected readonly stream: TransportStream;
  protected readonly observer: CallObserver | undefined;
  /** When the headers arrived, in the clock's ms; 0 when nobody will ask. */
  protected readonly startMs: number;
  #hasSentHeaders = false;
  /** The stream has gone too. */
  #isClosed = false;
  /** Promises of handler and interceptors that have not settled. */
  #running = 0;
  #deadline: Deadline | undefined = undefined;
  #controller: AbortController | undefined = undefined;
  #listeners: ((code: Code) => void)[] | undefined = undefined;
  /** Why the call ended; undefined when it ended well. */
  #endError: RpcError | undefined = undefined;
  #responseMetadata: Metadata | undefined = undefined;
  #responseTrailers: Metadata | undefined = undefined;

  constructor(host: CallHost, route: Route, head: RequestHead, stream: TransportStream) {
    this.host = host;
    this.route = route;
    this.head = head;
    this.stream = stream;
    this.startMs = head.timeoutMs === undefined && host.observe === undefined ? 0 : host.wheel.nowMs;
    if (head.timeoutMs !== undefined) {
      this.#deadline = host.wheel.add(this.startMs + head.timeoutMs, this, this.startMs);
    }
    this.observer = host.observe?.(this);
  }

  get method(): DescMethod {
    return this.route.method;
  }

  get connection(): TransportConnection {
    return this.stream.connection;
  }

  get peer(): Peer {
    return this.stream.connection.peer;
  }

  get requestMetadata(): Metadata {
    return (this.head.metadata ??= Metadata.received(this.head.headers.fields));
  }

  get responseMetadata(): Metadata {
    if (this.#responseMetadata === undefined) {
      this.#responseMetadata = new Metadata();
      if (this.#hasSentHeaders) this.#responseMetadata.seal();
    }
    return this.#responseMetadata;
  }

  get responseTrailers(): Metadata {
    return (this.#responseTrailers ??= new Metadata());
  }

  get deadlineMs(): number | undefined {
    return this.head.timeoutMs === undefined ? undefined : this.startMs + this.head.timeoutMs;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.isEnded) this.#controller.abort(this.#endError ?? CALL_ENDED);
    }
    return this.#controller.signal;
  }

  onEnd(listener: (code: Code) => void): void {
    if (this.isEnded) listener(this.#endError?.code ?? Code.OK);
    // Most calls have one: an empty array that is pushed to makes room for 17 (benchmark `idle-streams`).
    else if (this.#listeners === undefined) this.#listeners = [listener];
    else this.#listeners.push(listener);
  }

  sendHeaders(): void {
    if (this.#hasSentHeaders || this.isEnded) return;
    this.#hasSentHeaders = true;
    const block = this.head.response;
    const metadata = this.#responseMetadata;
    metadata?.seal();
    const isPlain = metadata === undefined || metadata.size === 0;
    this.stream.sendHeaders(isPlain ? block : new HeaderBlock([...block.fields, ...metadata.fields]), OPEN);
  }

  holdHeaders(): void {
    this.isHoldingHeaders = true;
  }

  /** The call has answered all there is. */
  end(): void {
    if (!this.isEnded) this.#finish(undefined);
  }

  /** Ends the call with the status of whatever was thrown. After the end: quiet about what the end itself caused. */
  fail(error: unknown): void {
    if (!this.isEnded) this.#finish(this.host.statusOf(error, this));
    else if (!isEcho(error)) this.host.report(error, this);
  }

  /** Ends the call from outside (deadline, drain); a peer that does not fetch the status in time is cut off. */
  terminate(error: RpcError): void {
    if (this.isEnded) return;
    this.#finish(error);
    if (this.#isClosed) return;
    this.#deadline = this.host.wheel.add(this.host.wheel.nowMs + this.host.limits.statusLingerMs, this);
  }

  onDeadline(): void {
    if (this.isEnded) this.stream.reset(Http2Error.CANCEL);
    else this.terminate(new RpcError(Code.DEADLINE_EXCEEDED, `The deadline of ${this.head.timeoutMs} ms has passed`));
  }

  onClose(end: StreamEnd): void {
    if (!this.isEnded) {
      const why = end.reason === "" ? end.by : `${end.by}, ${end.reason}`;
      this.#release(new RpcError(Code.CANCELLED, `The call was cancelled: ${why}`));
    }
    this.#isClosed = true;
    if (this.#running > 0) this.connection.busyHandlers++;
    if (this.#deadline !== undefined) this.host.wheel.remove(this.#deadline);
    this.host.onClosed(this);
  }

  /** The handler or an interceptor goes on after this turn. */
  protected startRunning(): void {
    this.host.runningHandlers++;
    this.#running++;
    if (this.#isClosed && this.#running === 1) this.connection.busyHandlers++;
  }

  protected stopRunning(): void {
    this.host.runningHandlers--;
    this.#running--;
    if (this.#isClosed && this.#running === 0) this.connection.busyHandlers--;
  }

  /** Ends a call that could go on, for the server's own reasons; who answers it may have a last word. */
  abstract dismiss(error: RpcError): void;

  /** The call has just ended: lets go of requests and answers. */
  protected abstract onReleased(error: RpcError | undefined): void;

  #finish(error: RpcError | undefined): void {
    const trailers = this.#responseTrailers;
    trailers?.seal();
    if (error === undefined) {
      this.sendHeaders();
      this.#release(undefined);
      this.stream.end(trailers === undefined ? TRAILERS_OK : okTrailers(trailers));
    } else {
      this.#release(error);
      if (this.#hasSentHeaders) this.stream.end(new HeaderBlock(errorFields(error, trailers)));
      else this.stream.sendHeaders(trailersOnly(error, trailers), FINAL);
    }
  }

  #release(error: RpcError | undefined): void {
    this.isEnded = true;
    this.#endError = error;
    if (this.#deadline !== undefined) this.host.wheel.remove(this.#deadline);
    this.#controller?.abort(error ?? CALL_ENDED);
    this.onReleased(error);
    const listeners = this.#listeners;
    this.#listeners = undefined;
    const code = error?.code ?? Code.OK;
    if (listeners !== undefined) for (const listener of listeners) this.#callBack(listener, code);
    if (this.observer?.ended !== undefined) this.observer.ended(code, this.host.wheel.nowMs - this.startMs);
  }

  #callBack(listener: (code: Code) => void, code: Code): void {
    try {
      listener(code);
    } catch (error) {
      this.host.report(error, this);
    }
  }
}

/** Whether an error only says that the call is over. */
function isEcho(error: unknown): boolean {
  return error instanceof RpcError || (error instanceof Error && error.name === "AbortError");
}
