// Status codes, the one error type, and what HTTP and HTTP/2 say in gRPC's codes.
// Sources: github.com/grpc/grpc doc/statuscodes.md, doc/PROTOCOL-HTTP2.md, doc/http-grpc-status-mapping.md.
import {
  create,
  fromBinary,
  isMessage,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { AnySchema, type Any } from "@bufbuild/protobuf/wkt";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { Metadata } from "./metadata.ts";

/** The status codes of gRPC (grpc/doc/statuscodes.md). */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type Code = (typeof Code)[keyof typeof Code];

const CODE_NAMES = Object.keys(Code);

/** "INVALID_ARGUMENT". */
export function codeName(code: Code): string {
  return CODE_NAMES[code] ?? `CODE_${code}`;
}

/** The code of a `grpc-status` field; a number that gRPC does not know is UNKNOWN, as in the other implementations. */
export function parseCode(text: string): Code {
  return (Object.values(Code) as readonly number[]).includes(Number(text)) && /^\d{1,2}$/.test(text)
    ? (Number(text) as Code)
    : Code.UNKNOWN;
}

/** A typed detail of an error (google.rpc.Status.details). */
export interface ErrorDetail<D extends DescMessage = DescMessage> {
  readonly desc: D;
  readonly value: MessageInitShape<D>;
}

/** A typed detail, checked against its descriptor. */
export function errorDetail<D extends DescMessage>(desc: D, value: MessageInitShape<D>): ErrorDetail {
  return { desc, value: create(desc, value) };
}

/** What an error carries besides its code and text; `cause` stays in this process. */
export interface RpcErrorOptions extends ErrorOptions {
  /** What programs may read; see `errorDetail`. */
  readonly details?: readonly ErrorDetail[];
  /** Sent with the trailers; on a client: what came with them. */
  readonly metadata?: Metadata;
}

/** The status of a call that did not succeed. Handlers throw it, clients get it. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: Code;
  /**
   * Typed details. On a client those of google.rpc are decoded; others are there as google.protobuf.Any.
   */
  readonly details: readonly ErrorDetail[];
  readonly #metadata: Metadata | undefined;

  constructor(code: Code, message: string, options: RpcErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.details = options.details ?? [];
    this.#metadata = options.metadata;
  }

  get metadata(): Metadata {
    return this.#metadata ?? NO_METADATA;
  }

  /** The details of one type. One that does not decode is left out. */
  findDetails<D extends DescMessage>(desc: D): MessageShape<D>[] {
    const found: MessageShape<D>[] = [];
    for (const detail of this.details) {
      if (detail.desc.typeName === desc.typeName) {
        found.push(create(desc, detail.value as MessageInitShape<D>));
      } else if (isMessage(detail.value, AnySchema)) {
        const message = unpack(detail.value, desc);
        if (message !== undefined) found.push(message);
      }
    }
    return found;
  }
}

const NO_METADATA = Metadata.received([]);

function unpack<D extends DescMessage>(any: Any, desc: D): MessageShape<D> | undefined {
  if (any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1) !== desc.typeName) return undefined;
  try {
    return fromBinary(desc, any.value);
  } catch {
    return undefined;
  }
}

/** After how many ms the same call may succeed (google.rpc.RetryInfo); undefined: the server did not say. */
export function retryDelayMs(error: unknown): number | undefined {
  if (!(error instanceof RpcError)) return undefined;
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? undefined : Number(delay.seconds) * 1000 + delay.nanos / 1e6;
}

/** A detail that says when to try again. */
export function retryAfter(ms: number): ErrorDetail {
  const seconds = Math.floor(ms / 1000);
  return errorDetail(RetryInfoSchema, {
    retryDelay: { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) },
  });
}

/** The code of a response whose HTTP status is not 200. */
export function codeOfHttpStatus(status: number): Code {
  switch (status) {
    case 400:
      return Code.INTERNAL;
    case 401:
      return Code.UNAUTHENTICATED;
    case 403:
      return Code.PERMISSION_DENIED;
    case 404:
      return Code.UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
      return Code.UNAVAILABLE;
    default:
      return Code.UNKNOWN;
  }
}

/** Error codes of HTTP/2 (RFC 9113 §7) that gRPC gives a meaning. */
export const Http2Error = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
} as const;

/** The code of a stream that the peer reset. */
export function codeOfReset(code: number): Code {
  switch (code) {
    case Http2Error.REFUSED_STREAM:
      return Code.UNAVAILABLE;
    case Http2Error.CANCEL:
      return Code.CANCELLED;
    case Http2Error.ENHANCE_YOUR_CALM:
      return Code.RESOURCE_EXHAUSTED;
    case Http2Error.INADEQUATE_SECURITY:
      return Code.PERMISSION_DENIED;
    default:
      return Code.INTERNAL;
  }
}
