// A decoded header list, with what the message rules of RFC 9113 §8 need to know of it.
import type { HeaderList } from "../transport.ts";
import { FieldKind } from "./header-field.ts";

/** A decoded header block. The same object answers every repetition of the block, so all verdicts are kept in it. */
export class DecodedHeaders implements HeaderList {
  readonly fields: readonly string[];
  memo: unknown = undefined;
  /** Mask of `FieldKind`. */
  readonly kinds: number;
  /** Why no message may have this list; empty when there is no such reason. */
  readonly fault: string;
  /** Beyond the limit; then `fields` is cut short. */
  readonly isTooLarge: boolean;
  /** -1 when there is none. */
  readonly contentLength: number;
  /** `:status`, or 0. */
  readonly status: number;

  constructor(fields: readonly string[], kinds: number, fault: string, isTooLarge: boolean) {
    this.fields = fields;
    this.kinds = kinds;
    this.fault = fault;
    this.isTooLarge = isTooLarge;
    this.contentLength = (kinds & FieldKind.CONTENT_LENGTH) === 0 ? -1 : Number(valueOf(fields, "content-length"));
    this.status = (kinds & FieldKind.STATUS) === 0 ? 0 : Number(valueOf(fields, ":status"));
  }
}

function valueOf(fields: readonly string[], name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] === name) return fields[at + 1];
  }
  return undefined;
}

const { METHOD, SCHEME, PATH, AUTHORITY, STATUS, CONNECT } = FieldKind;

/** Why this list cannot begin a request (RFC 9113 §8.3.1, §8.5); empty when it can. */
export function requestFault(list: DecodedHeaders): string {
  if (list.fault !== "") return list.fault;
  const pseudo = list.kinds & (METHOD | SCHEME | PATH | AUTHORITY | STATUS | CONNECT);
  if ((pseudo & CONNECT) !== 0) {
    return pseudo === (METHOD | CONNECT | AUTHORITY) ? "" : "CONNECT with other pseudo-header fields than :authority";
  }
  return (pseudo | AUTHORITY) === (METHOD | SCHEME | PATH | AUTHORITY)
    ? ""
    : "missing or misplaced pseudo-header fields";
}

/** Why this list cannot begin a response; empty when it can. */
export function responseFault(list: DecodedHeaders): string {
  if (list.fault !== "") return list.fault;
  const pseudo = list.kinds & (METHOD | SCHEME | PATH | AUTHORITY | STATUS);
  // 101 does not exist in HTTP/2 (§8.6).
  return pseudo === STATUS && list.status !== 101 ? "" : "missing or misplaced pseudo-header fields";
}

/** Why this list cannot be trailers (§8.1); empty when it can. */
export function trailersFault(list: DecodedHeaders): string {
  if (list.fault !== "") return list.fault;
  return (list.kinds & (METHOD | SCHEME | PATH | AUTHORITY | STATUS)) === 0 ? "" : "pseudo-header field in trailers";
}
