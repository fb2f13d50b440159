// One method that can be called: what a call needs to know of it.
import type { DescMethod } from "@bufbuild/protobuf";
import type { Decode, Encode } from "./codec.ts";
import type { Call } from "./handlers.ts";

/** A handler whose types were checked by `serve`: takes one request or the stream of them. */
export type Invoke = (request: unknown, call: Call) => unknown;

/** One method that can be called. */
export interface Route {
  readonly method: DescMethod;
  /** undefined: declared, but nobody serves it. */
  readonly handler: Invoke | undefined;
  /** How many requests the method takes. */
  readonly isRequestStream: boolean;
  readonly isResponseStream: boolean;
  readonly decode: Decode;
  readonly encode: Encode;
  /** Whether the handler takes requests undecoded. */
  readonly isRaw: boolean;
  /** See `RawHandler.lends`. */
  readonly isLending: boolean;
  /** Made on first use: see `jsonRoute`. */
  json: Route | undefined;
}
