// Domain errors: what can go wrong, in words of the product. No gRPC here; `status.ts` maps them in one place.

/** One field of a request and what is wrong with it. */
export interface FieldViolation {
  /** Path in the request: "filters[2]", "entries[17].message". */
  readonly field: string;
  readonly description: string;
}

/** The situations that callers must be able to tell apart. */
export type ErrorKind =
  | "invalid-argument"
  | "not-found"
  | "permission-denied"
  | "out-of-range"
  | "aborted"
  | "already-exists"
  | "data-loss"
  | "limit-exceeded"
  | "unavailable"
  | "failed-precondition";

/** What a domain error may add for programs; `status.ts` makes typed details of it. */
export interface ErrorFacts {
  /** Stable, UPPER_SNAKE_CASE: becomes ErrorInfo.reason. */
  readonly reason: string;
  /** Becomes BadRequest. */
  readonly violations?: readonly FieldViolation[];
  /** Becomes RetryInfo: after how long the same call may succeed. */
  readonly retryAfterMs?: number;
  /** Becomes ResourceInfo. */
  readonly resource?: { readonly type: string; readonly name: string };
  /** Becomes QuotaFailure: what the limit is on, and the limit. */
  readonly quota?: { readonly subject: string; readonly description: string };
  /** Becomes ErrorInfo.metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** An error with a sentence that names the action, the value and the limit. */
export class SluiceError extends Error {
  override readonly name: string = "SluiceError";
  readonly kind: ErrorKind;
  readonly facts: ErrorFacts;

  constructor(kind: ErrorKind, message: string, facts: ErrorFacts, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.facts = facts;
  }
}

/** A field of a request is wrong. To recover: mend the request. */
export class InvalidRequest extends SluiceError {
  override readonly name = "InvalidRequest";
  constructor(reason: string, violations: readonly FieldViolation[]) {
    super("invalid-argument", violations.map((each) => `${each.field}: ${each.description}`).join("; "), {
      reason,
      violations,
    });
  }
}

/** A cursor points before what retention kept, or into an era that was cut. To recover: read from the first entry. */
export class CursorExpired extends SluiceError {
  override readonly name = "CursorExpired";
  constructor(message: string, metadata: Readonly<Record<string, string>>) {
    super("out-of-range", message, { reason: "CURSOR_EXPIRED", metadata });
  }
}

/** Somebody else appended in between. To recover: read the end of the log and try again. */
export class Fenced extends SluiceError {
  override readonly name = "Fenced";
  constructor(expected: number, actual: number) {
    super("aborted", `Cannot append at ${expected}: the log's next sequence is ${actual}`, { reason: "FENCED" });
  }
}

/** The log refuses writes after a failed sync until it was reopened and verified, which it tries itself; reads go on. */
export class LogReadOnly extends SluiceError {
  override readonly name = "LogReadOnly";
  /** @param state.isFinal: only a restart helps */
  constructor(log: string, { cause, isFinal }: { readonly cause: string; readonly isFinal: boolean }) {
    const remedy = isFinal ? "restart the server to verify it" : "it opens again when it was verified";
    super("unavailable", `Cannot append to log "${log}": it is read-only since ${cause}; ${remedy}`, {
      reason: "LOG_READ_ONLY",
      retryAfterMs: 30_000,
    });
  }
}

/** No room on the disk. Nothing acknowledged is lost; reads go on. To recover: make room, then try again. */
export class DiskFull extends SluiceError {
  override readonly name = "DiskFull";
  /** @param why in place of "the disk is full" */
  constructor(log: string, why = "the disk is full") {
    super("unavailable", `Cannot append to log "${log}": ${why}; free space or lower the retention`, {
      reason: "DISK_FULL",
      retryAfterMs: 5_000,
    });
  }
}

/** A log has reached its quota. To recover: raise `quotaBytes`, or wait where a retention makes room. */
export class QuotaExceeded extends SluiceError {
  override readonly name = "QuotaExceeded";
  /** @param facts.retryAfterMs only when the log makes room by itself */
  constructor(log: string, facts: { bytes: number; quotaBytes: number; retryAfterMs?: number | undefined }) {
    const { bytes, quotaBytes, retryAfterMs } = facts;
    const message = `Cannot append to log "${log}": it would take ${bytes} bytes on disk, its quota is ${quotaBytes}`;
    super("limit-exceeded", message, {
      reason: "LOG_QUOTA",
      quota: { subject: `log:${log}`, description: message },
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }
}

/** A bound was reached. */
export class LimitExceeded extends SluiceError {
  override readonly name = "LimitExceeded";
  constructor(message: string, subject: string, options?: { retryAfterMs?: number }) {
    super("limit-exceeded", message, {
      reason: "LIMIT_EXCEEDED",
      quota: { subject, description: message },
      ...(options?.retryAfterMs === undefined ? {} : { retryAfterMs: options.retryAfterMs }),
    });
  }
}

/** No right to it, or nothing there: one text for both, so that nobody can probe what exists. */
export class PermissionDenied extends SluiceError {
  override readonly name = "PermissionDenied";
  constructor() {
    super("permission-denied", "Cannot do this: there is no such thing here, or no right to it", {
      reason: "PERMISSION_DENIED",
    });
  }
}

/** Something that a request names is not there. To recover: look at the names that exist. */
export class NotFound extends SluiceError {
  override readonly name = "NotFound";
  constructor(type: string, name: string, hint: string) {
    super("not-found", `Cannot find the ${type} "${name}": ${hint}`, { reason: "NOT_FOUND", resource: { type, name } });
  }
}

/** Something of this name is there already. To recover: use it, or choose another name. */
export class AlreadyExists extends SluiceError {
  override readonly name = "AlreadyExists";
  constructor(type: string, name: string, hint: string) {
    const message = `Cannot make the ${type} "${name}": ${hint}`;
    super("already-exists", message, { reason: "ALREADY_EXISTS", resource: { type, name } });
  }
}

/** The server is about to stop. To recover: try again, elsewhere or later. */
export class Draining extends SluiceError {
  override readonly name = "Draining";
  constructor() {
    super("unavailable", "Cannot take this call: the server is stopping; try again", {
      reason: "DRAINING",
      retryAfterMs: 1_000,
    });
  }
}

/**
 * The server ends a stream that could have gone on: it stops, or the connection is too old. To recover: call again, here
 * or elsewhere, after `cursor`; without one, as before.
 */
export class StreamInterrupted extends SluiceError {
  override readonly name = "StreamInterrupted";
  constructor(options: { readonly cursor: string | undefined; readonly retryAfterMs?: number | undefined }) {
    const { cursor, retryAfterMs = 1_000 } = options;
    const advice = cursor === undefined ? "call again" : `go on after cursor ${cursor}`;
    super("unavailable", `Cannot go on with this stream: the server or its connection is about to close; ${advice}`, {
      reason: "STREAM_INTERRUPTED",
      retryAfterMs,
      ...(cursor === undefined ? {} : { metadata: { cursor } }),
    });
  }
}

/** A follower that had asked for it is cut off because it is too slow. To recover: go on after `cursor`. */
export class ReaderTooSlow extends SluiceError {
  override readonly name = "ReaderTooSlow";
  constructor(options: {
    readonly cursor: string | undefined;
    readonly lagEntries: number;
    readonly lagMaxEntries: number;
  }) {
    const { cursor, lagEntries, lagMaxEntries } = options;
    const what = `the reader is ${lagEntries} entries behind, and asked to be cut off beyond ${lagMaxEntries}`;
    const advice = cursor === undefined ? "call again" : `go on after cursor ${cursor}`;
    super("limit-exceeded", `Cannot go on with this stream: ${what}; ${advice}`, {
      reason: "SLOW_READER",
      quota: { subject: "entries of lag", description: what },
      metadata: { lag_entries: String(lagEntries), ...(cursor === undefined ? {} : { cursor }) },
    });
  }
}

/** Stored bytes do not prove themselves. */
export class DataLoss extends SluiceError {
  override readonly name = "DataLoss";
  constructor(message: string, metadata: Readonly<Record<string, string>>) {
    super("data-loss", message, { reason: "CHECKSUM_MISMATCH", metadata });
  }
}

/** Another process owns the data folder. */
export class FolderInUse extends SluiceError {
  override readonly name = "FolderInUse";
  constructor(folder: string, owner: string) {
    super(
      "failed-precondition",
      `Cannot open the data folder ${folder}: ${owner} uses it; stop it or choose another with --data`,
      {
        reason: "FOLDER_IN_USE",
      },
    );
  }
}
