// How a program watches calls without standing in their way. Without an observer none of this costs anything.
import type { Call } from "./handlers.ts";
import type { Code } from "./status.ts";

/**
 * Runs before the handler, in the given order: limits, authenticate, authorize, observe. It sees the dispatched method,
 * the peer and the metadata, may add response metadata, and refuses the call by throwing an RpcError (or a domain
 * error). An asynchronous one holds back the request's credit while it decides.
 */
export type Interceptor = (call: Call) => void | Promise<void>;

/** Called for every call that starts, also for those an interceptor will refuse. undefined: this one is not watched. */
export type Observe = (call: Call) => CallObserver | undefined;

/** Hears of one call. May be shared between calls that need not be told apart. Must not throw. */
export interface CallObserver {
  /** Messages were received; `bytes` as they lie on the wire, without the frames' headers. */
  received?(messages: number, bytes: number): void;
  /** The first message was given to the transport, `afterMs` after the call's headers had arrived. */
  answered?(afterMs: number): void;
  /** Messages were given to the transport; `bytes` with the frames' headers. Counting them costs a look at each. */
  sent?(messages: number, bytes: number): void;
  /** The same without a count of the messages: the cost does not depend on how many there are. */
  wrote?(bytes: number): void;
  /** The call ended; `durationMs` since its headers arrived. */
  ended?(code: Code, durationMs: number): void;
}
