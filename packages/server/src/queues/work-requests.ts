// What a worker sends, read from its bytes. Flow, Start and Ack come for every job and are read in place; the rest as usual.
//
// WR1. The answer to a lease carries the very bytes in which the worker named it.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AckSchema, type Lease, type Nack, StartSchema, type WorkRequest, WorkRequestSchema } from "@sluice/api";
import { InvalidRequest, LimitExceeded } from "../errors.ts";
import { WireReader } from "../stream/wire.ts";
import type { JobLease } from "./contract.ts";
import type { FlowWindow } from "./credit.ts";

/** Leases that a request names. `starts` and `ends` are those of each Lease in `bytes`. */
export interface LeaseList {
  /** The worker's number of the request, in two halves. */
  readonly requestLow: number;
  readonly requestHigh: number;
  readonly bytes: Uint8Array;
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly leases: readonly JobLease[];
}

/** A request of a worker. */
export type WorkerRequest =
  | { readonly kind: "flow"; readonly flow: FlowWindow }
  | { readonly kind: "start" | "ack"; readonly list: LeaseList }
  | { readonly kind: "other"; readonly request: WorkRequest };

/** Finds the job behind an id that its producer chose; 0: there is none. */
export type FindJob = (jobId: string) => number;

const RequestTag = { FLOW: 0x12, START: 0x1a, ACK: 0x22 } as const;
const FlowTag = { SEEN: 0x08, WINDOW: 0x10, WINDOW_BYTES: 0x18 } as const;
const ListTag = { REQUEST: 0x08, LEASES: 0x12 } as const;
const LeaseTag = { JOB_ID: 0x0a, ATTEMPT: 0x10 } as const;

/** Longer ids of digits are none of ours. */
const DIGITS_MAX = 15;
const NO_JOB = 0;
/** Of an attempt that cannot have been issued. */
const NO_ATTEMPT = -1;

const wire = new WireReader();

/** @throws InvalidRequest; LimitExceeded when it names more leases than `leasesMax` */
export function readWorkRequest(
  bytes: Uint8Array,
  { findJob, leasesMax }: { readonly findJob: FindJob; readonly leasesMax: number },
): WorkerRequest {
  const first = bytes[0];
  if (first === RequestTag.FLOW || first === RequestTag.START || first === RequestTag.ACK) {
    wire.open(bytes, 1, bytes.length);
    const end = wire.span();
    // A request in several fields is rare enough to be left to others.
    if (!wire.hasFailed && end === bytes.length) {
      if (first === RequestTag.FLOW) return { kind: "flow", flow: readFlow(bytes, wire.pos, end) };
      const list = readLeaseList(bytes, wire.pos, { findJob, leasesMax });
      return { kind: first === RequestTag.START ? "start" : "ack", list };
    }
  }
  const request = decode(bytes);
  const { kind } = request;
  const options = { findJob, leasesMax };
  if (kind.case === "start")
    return { kind: "start", list: readLeaseList(toBinary(StartSchema, kind.value), 0, options) };
  if (kind.case === "ack") return { kind: "ack", list: readLeaseList(toBinary(AckSchema, kind.value), 0, options) };
  if (kind.case === "flow") {
    const { seen, window, windowBytes } = kind.value;
    return { kind: "flow", flow: { seen: Number(seen), window, windowBytes: Number(windowBytes) } };
  }
  return { kind: "other", request };
}

function decode(bytes: Uint8Array): WorkRequest {
  try {
    return fromBinary(WorkRequestSchema, bytes);
  } catch {
    throw malformed();
  }
}

/** A Nack names one lease: as a list of one. */
export function leaseListOf(nack: Nack, findJob: FindJob): LeaseList {
  const leases = nack.lease === undefined ? [] : [nack.lease];
  const bytes = toBinary(AckSchema, create(AckSchema, { request: nack.request, leases }));
  return readLeaseList(bytes, 0, { findJob, leasesMax: 1 });
}

/** A lease as a request names it. */
export function jobLeaseOf({ jobId, attempt }: Pick<Lease, "jobId" | "attempt">, findJob: FindJob): JobLease {
  const known = attempt <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(attempt) : NO_ATTEMPT;
  return { number: jobNumberOf(jobId, findJob), attempt: known };
}

function readFlow(bytes: Uint8Array, start: number, end: number): FlowWindow {
  wire.open(bytes, start, end);
  let seen = 0;
  let window = 0;
  let windowBytes = 0;
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag === FlowTag.SEEN) seen = readNumber();
    else if (tag === FlowTag.WINDOW) window = wire.varint() >>> 0;
    else if (tag === FlowTag.WINDOW_BYTES) windowBytes = readNumber();
    else wire.skip(tag);
  }
  if (wire.hasFailed) throw malformed();
  return { seen, window, windowBytes };
}

function readNumber(): number {
  wire.varint();
  return numberOfUnsigned(wire.low, wire.high);
}

function numberOfUnsigned(low: number, high: number): number {
  return (high >>> 0) * 0x1_0000_0000 + (low >>> 0);
}

/** Reads a Start or an Ack. */
function readLeaseList(
  bytes: Uint8Array,
  start: number,
  { findJob, leasesMax }: { readonly findJob: FindJob; readonly leasesMax: number },
): LeaseList {
  const starts: number[] = [];
  const ends: number[] = [];
  const leases: JobLease[] = [];
  let requestLow = 0;
  let requestHigh = 0;
  wire.open(bytes, start, bytes.length);
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag === ListTag.REQUEST) {
      requestLow = wire.varint();
      requestHigh = wire.high;
    } else if (tag === ListTag.LEASES) {
      const outerEnd = wire.enter();
      starts.push(wire.pos);
      ends.push(wire.end);
      leases.push(readLease(bytes, findJob));
      wire.leave(outerEnd);
    } else wire.skip(tag);
  }
  if (wire.hasFailed) throw malformed();
  if (leases.length > leasesMax) {
    const text = `Cannot take a request with ${leases.length} leases: the limit is ${leasesMax}`;
    throw new LimitExceeded(text, "leases of a request");
  }
  return { requestLow, requestHigh, bytes, starts, ends, leases };
}

function readLease(bytes: Uint8Array, findJob: FindJob): JobLease {
  let number = NO_JOB;
  let attempt = 0;
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag === LeaseTag.JOB_ID) {
      const end = wire.span();
      number = jobNumberIn(bytes, wire.pos, end, findJob);
      wire.pos = end;
    } else if (tag === LeaseTag.ATTEMPT) {
      attempt = readNumber();
      if (attempt > Number.MAX_SAFE_INTEGER) attempt = NO_ATTEMPT;
    } else wire.skip(tag);
  }
  return { number, attempt };
}

/** An id of digits alone is the job's number; others are their producers'. */
function jobNumberIn(bytes: Uint8Array, start: number, end: number, findJob: FindJob): number {
  const length = end - start;
  if (length > 0 && length <= DIGITS_MAX && bytes[start] !== 0x30) {
    let number = 0;
    let at = start;
    for (; at < end; at++) {
      const digit = bytes[at]! - 0x30;
      if (digit < 0 || digit > 9) break;
      number = number * 10 + digit;
    }
    if (at === end) return number;
  }
  return findJob(Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString("utf8"));
}

/** The number of the job of this id; 0: no job can have it, or none has. */
function jobNumberOf(jobId: string, findJob: FindJob): number {
  if (/^[1-9][0-9]{0,14}$/.test(jobId)) return Number(jobId);
  return findJob(jobId);
}

function malformed(): InvalidRequest {
  return new InvalidRequest("MALFORMED_MESSAGE", [{ field: "", description: "is no WorkRequest" }]);
}
