// What goes wrong with tus, as HTTP says it: a status, and a sentence that says what to do.
import type { HttpResponse } from "@sluice/rpc";
import { type ErrorKind, SluiceError } from "../errors.ts";

/** What only HTTP knows of. */
export class HttpRefusal extends Error {
  override readonly name = "HttpRefusal";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

const STATUSES: Readonly<Record<ErrorKind, number>> = {
  "invalid-argument": 400,
  "permission-denied": 403,
  "not-found": 404,
  "out-of-range": 409,
  aborted: 409,
  "already-exists": 409,
  "failed-precondition": 409,
  "limit-exceeded": 429,
  "data-loss": 500,
  unavailable: 503,
};

/** Where tus or HTTP has a status of its own: 460 is of tus, for checksums. */
const STATUSES_BY_REASON: Readonly<Record<string, number>> = {
  ETAG_MISMATCH: 412,
  FILE_EXISTS: 412,
  UPLOAD_TOO_LONG: 413,
  UPLOAD_TOO_LARGE: 413,
  UPLOAD_IN_USE: 423,
  CHECKSUM_MISMATCH: 460,
};

/** undefined: nobody foresaw it. */
export function refusalOf(error: unknown): HttpResponse | undefined {
  if (error instanceof HttpRefusal) return textOf(error.status, error.message, error.headers);
  if (!(error instanceof SluiceError)) return undefined;
  const { kind, message, facts } = error;
  // What a disk lost is a mismatch of checksums, too, and nobody's fault but ours.
  const status = (kind === "data-loss" ? undefined : STATUSES_BY_REASON[facts.reason]) ?? STATUSES[kind];
  const { retryAfterMs } = facts;
  return textOf(
    status,
    message,
    retryAfterMs === undefined ? {} : { "retry-after": String(Math.ceil(retryAfterMs / 1000)) },
  );
}

function textOf(status: number, message: string, headers: Readonly<Record<string, string>>): HttpResponse {
  return { status, headers: { "content-type": "text/plain; charset=utf-8", ...headers }, body: `${message}\n` };
}
