// The gRPC server: what becomes of a new stream. Pure: it has no socket; `listen` or a transport of a test feeds it.
import { inspect } from "node:util";
import type {
  HeaderList,
  ServerTransportHandler,
  StreamEnd,
  StreamHandler,
  TransportConnection,
  TransportStream,
} from "../transport.ts";
import { DEFAULT_GRPC_LIMITS, type GrpcLimits } from "../limits.ts";
import { ServerCall } from "./call.ts";
import type { CallContext, CallHost } from "./call-context.ts";
import type { Codec } from "./codec.ts";
import { processClock, type Clock } from "../clock.ts";
import { DeadlineWheel } from "./deadline.ts";
import type { Call } from "./handlers.ts";
import type { Interceptor, Observe } from "./observe.ts";
import { createRoutes, requestHead, type RouteTable, type ServedService } from "./routes.ts";
import { Code, retryAfter, RpcError } from "./status.ts";

/** What a server serves, and who looks on. */
export interface ServerOptions {
  /** See `serve`. */
  readonly services: readonly ServedService[];
  /** Run in this order before each handler. */
  readonly interceptors?: readonly Interceptor[];
  readonly observe?: Observe;
  readonly limits?: Partial<GrpcLimits>;
  readonly clock?: Clock;
  /**
   * The status of an error, whoever threw it. undefined: an RpcError stays as it is; anything else becomes UNKNOWN without
   * its text, and `onError` hears of it.
   */
  readonly mapError?: (error: unknown, call: Call) => RpcError | undefined;
  /** Hears of errors that no client may see, and of those after a call's end. Default: the process's stderr. */
  readonly onError?: (error: unknown, call: Call) => void;
  /** Faster codecs for hot messages. */
  readonly codecs?: readonly Codec[];
}

/** A server without a socket. */
export interface RpcServer extends ServerTransportHandler {
  readonly services: readonly ServedService[];
  /** Calls whose stream is open. */
  readonly openCalls: number;
  /** Handlers that run, also those of calls that are over; 0 after all calls ended, or one of them ignores its signal. */
  readonly runningHandlers: number;
  /** Bytes of unfinished messages. */
  readonly heldBytes: number;
  /** Deadlines that are armed. */
  readonly armedDeadlines: number;
  /** Ends the open calls of these connections with this status. */
  terminateCalls(error: RpcError, connections: ReadonlySet<TransportConnection>): void;
}

/** When a call may be tried again that found no room for its message, or whose connection was too old: soon, and on another. */
const HELD_RETRY_MS = 1000;
const RETRY_AFTER_EXPIRY_MS = 100;

/**
 * A server of these services, without a socket: `listen` gives it one.
 * @throws Error when a service is given twice
 */
export function createServer(options: ServerOptions): RpcServer {
  return new Server(options);
}

/** Status of calls that a drain could not wait for. */
export function drainingError(retryDelayMs: number): RpcError {
  return new RpcError(Code.UNAVAILABLE, "The server is shutting down; try again", {
    details: [retryAfter(retryDelayMs)],
  });
}

class Server implements RpcServer, CallHost {
  readonly services: readonly ServedService[];
  readonly limits: GrpcLimits;
  readonly wheel: DeadlineWheel;
  readonly interceptors: readonly Interceptor[];
  readonly observe: Observe | undefined;
  openCalls = 0;
  runningHandlers = 0;
  heldBytes = 0;
  readonly #routes: RouteTable;
  readonly #mapError: ServerOptions["mapError"];
  readonly #onError: (error: unknown, call: Call) => void;
  #firstCall: CallContext | undefined;
  /** Calls that hold bytes of unfinished messages, those that have longest first. */
  readonly #holders = new Set<CallContext>();
  #headersDue: CallContext[] = [];

  constructor(options: ServerOptions) {
    this.services = options.services;
    this.limits = { ...DEFAULT_GRPC_LIMITS, ...options.limits };
    this.wheel = new DeadlineWheel(options.clock ?? processClock);
    this.interceptors = options.interceptors ?? [];
    this.observe = options.observe;
    this.#routes = createRoutes(options.services, options.codecs);
    this.#mapError = options.mapError;
    this.#onError = options.onError ?? printError;
  }

  get armedDeadlines(): number {
    return this.wheel.size;
  }

  onStream(stream: TransportStream, headers: HeaderList, endStream: boolean): StreamHandler {
    const head = requestHead(headers, this.#routes);
    if (head.refusal !== undefined || head.route === undefined) {
      if (head.refusal !== undefined) stream.sendHeaders(head.refusal, { endStream: true });
      return IGNORE;
    }
    const call = new ServerCall(this, head.route, head, stream);
    this.openCalls++;
    call.nextCall = this.#firstCall;
    if (this.#firstCall !== undefined) this.#firstCall.previousCall = call;
    this.#firstCall = call;
    call.start(endStream);
    return call;
  }

  onConnectionClose(_connection: TransportConnection): void {
    // Each of its streams has told its call.
  }

  terminateCalls(error: RpcError, connections: ReadonlySet<TransportConnection>): void {
    const open: CallContext[] = [];
    for (let call = this.#firstCall; call !== undefined; call = call.nextCall) {
      if (connections.has(call.connection)) open.push(call);
    }
    for (const call of open) call.dismiss(error);
  }

  onExpired(connection: TransportConnection): void {
    this.terminateCalls(drainingError(RETRY_AFTER_EXPIRY_MS), new Set([connection]));
  }

  /**
   * All calls share one budget: else many large messages, begun and never finished, would be the end. Who has held
   * something for longest gives way: uploads that go on are not stopped by those that were left.
   */
  onHeld(call: CallContext, change: number): void {
    this.heldBytes += change;
    if (call.heldBytes === 0) this.#holders.delete(call);
    if (change <= 0) return;
    this.#holders.add(call);
    const { heldBytesMax } = this.limits;
    while (this.heldBytes > heldBytesMax) {
      const [oldest = call] = this.#holders;
      const text = `Cannot take more: unfinished messages of all calls hold ${this.heldBytes} bytes, the limit is ${heldBytesMax}`;
      const error = new RpcError(Code.RESOURCE_EXHAUSTED, text, { details: [retryAfter(HELD_RETRY_MS)] });
      if (oldest === call) throw error;
      oldest.fail(error);
    }
  }

  onClosed(call: CallContext): void {
    this.openCalls--;
    const { previousCall, nextCall } = call;
    if (previousCall === undefined) this.#firstCall = nextCall;
    else previousCall.nextCall = nextCall;
    if (nextCall !== undefined) nextCall.previousCall = previousCall;
    call.previousCall = undefined;
    call.nextCall = undefined;
  }

  sendHeadersSoon(call: CallContext): void {
    if (this.#headersDue.push(call) > 1) return;
    setImmediate(() => {
      const due = this.#headersDue;
      this.#headersDue = [];
      for (const each of due) if (!each.isHoldingHeaders) each.sendHeaders();
    });
  }

  statusOf(error: unknown, call: Call): RpcError {
    try {
      const mapped = this.#mapError?.(error, call);
      if (mapped !== undefined) return mapped;
    } catch (failure) {
      this.report(failure, call);
    }
    if (error instanceof RpcError) return error;
    this.report(error, call);
    // UNKNOWN is the code for a handler that failed without a status (doc/statuscodes.md). Its text stays here.
    return new RpcError(Code.UNKNOWN, `The server failed to answer ${call.method.name}; its log says why`);
  }

  report(error: unknown, call: Call): void {
    this.#onError(error, call);
  }
}

function printError(error: unknown, call: Call): void {
  process.stderr.write(`A handler of ${call.method.parent.typeName}/${call.method.name} failed: ${inspect(error)}\n`);
}

/** Of streams that were answered at once; the transport credits and drops what still comes. */
const IGNORE: StreamHandler = {
  onHeaders() {},
  onData() {},
  onTrailers() {},
  onWritable() {},
  onClose(_end: StreamEnd) {},
};
