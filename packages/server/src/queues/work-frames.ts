// Frames of WorkResponse. Deliveries and results are written by hand, the stored bytes of a job copied as they are; the rest
// comes rarely and is encoded as usual. Golden-tested against protobuf-es (work-frames.test.ts).
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type ResultCode, WorkResponseSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES, frameOf } from "@sluice/rpc";
import type { ByteSink } from "../stream/byte-sink.ts";
import { varintSize, writeVarint, writeVarint64 } from "../stream/wire.ts";
import type { LeaseList } from "./work-requests.ts";

/** Fields of WorkResponse, and of what they hold. All numbers are below 16: each tag is one byte. */
const Tag = { DELIVERY: 0x12, RESULTS: 0x1a } as const;
const DeliveryTag = { NUMBER: 0x08, LEASE: 0x12, JOB: 0x1a, FAILURES: 0x20, LEASE_UNTIL: 0x28 } as const;
const LeaseTag = { JOB_ID: 0x0a, ATTEMPT: 0x10 } as const;
const ResultsTag = { REQUEST: 0x08, RESULTS: 0x12 } as const;
const ResultTag = { LEASE: 0x0a, CODE: 0x10, LEASE_UNTIL: 0x18 } as const;

/** Any message of the stream. */
export function workFrame(kind: MessageInitShape<typeof WorkResponseSchema>["kind"] & {}): Uint8Array {
  return frameOf(toBinary(WorkResponseSchema, create(WorkResponseSchema, { kind })));
}

/** What a Delivery says. `leaseUntilMs`: Unix ms, whole; 0: an offer. Job ids are ASCII. */
export interface DeliveryFacts {
  readonly jobId: string;
  readonly attempt: number;
  readonly failures: number;
  readonly leaseUntilMs: number;
}

/** Appends the frame of a delivery of the stored `job`. */
export function writeDelivery(sink: ByteSink, number: number, facts: DeliveryFacts, job: Uint8Array): void {
  const { jobId, attempt, failures, leaseUntilMs } = facts;
  const leaseBytes = 1 + varintSize(jobId.length) + jobId.length + 1 + varintSize(attempt);
  const until = leaseUntilMs === 0 ? NONE : nanoseconds(leaseUntilMs);
  const length =
    1 +
    varintSize(number) +
    lengthDelimited(leaseBytes) +
    lengthDelimited(job.length) +
    fieldSize(failures) +
    until.size;
  sink.reserve(FRAME_HEADER_BYTES + lengthDelimited(length));
  const { bytes } = sink;
  let at = writeHeader(bytes, sink.used, lengthDelimited(length));
  bytes[at++] = Tag.DELIVERY;
  at = writeVarint(bytes, at, length);
  bytes[at++] = DeliveryTag.NUMBER;
  at = writeVarint(bytes, at, number);
  bytes[at++] = DeliveryTag.LEASE;
  at = writeVarint(bytes, at, leaseBytes);
  bytes[at++] = LeaseTag.JOB_ID;
  at = writeVarint(bytes, at, jobId.length);
  at += bytes.write(jobId, at, "latin1");
  bytes[at++] = LeaseTag.ATTEMPT;
  at = writeVarint(bytes, at, attempt);
  bytes[at++] = DeliveryTag.JOB;
  at = writeVarint(bytes, at, job.length);
  bytes.set(job, at);
  at += job.length;
  if (failures > 0) {
    bytes[at++] = DeliveryTag.FAILURES;
    at = writeVarint(bytes, at, failures);
  }
  sink.used = writeUntil(bytes, at, DeliveryTag.LEASE_UNTIL, until);
}

/** What became of one lease. `leaseUntilMs`: Unix ms, whole; 0: nothing to say. */
export interface ResultFacts {
  readonly code: ResultCode;
  readonly leaseUntilMs: number;
}

/** Appends the frame that answers a Start, an Ack or a Nack: each lease as the worker wrote it, with what became of it. */
export function writeResults(sink: ByteSink, asked: LeaseList, results: readonly ResultFacts[]): void {
  const { requestLow, requestHigh, bytes: from, starts, ends } = asked;
  const hasRequest = requestLow !== 0 || requestHigh !== 0;
  let length = hasRequest ? 1 + varint64Size(requestLow, requestHigh) : 0;
  for (const [i, result] of results.entries()) length += lengthDelimited(resultSize(ends[i]! - starts[i]!, result));
  sink.reserve(FRAME_HEADER_BYTES + lengthDelimited(length));
  const { bytes } = sink;
  let at = writeHeader(bytes, sink.used, lengthDelimited(length));
  bytes[at++] = Tag.RESULTS;
  at = writeVarint(bytes, at, length);
  if (hasRequest) {
    bytes[at++] = ResultsTag.REQUEST;
    at = writeVarint64(bytes, at, requestLow, requestHigh);
  }
  for (const [i, result] of results.entries()) {
    const start = starts[i]!;
    const leaseBytes = ends[i]! - start;
    bytes[at++] = ResultsTag.RESULTS;
    at = writeVarint(bytes, at, resultSize(leaseBytes, result));
    bytes[at++] = ResultTag.LEASE;
    at = writeVarint(bytes, at, leaseBytes);
    for (let i = 0; i < leaseBytes; i++) bytes[at++] = from[start + i]!;
    bytes[at++] = ResultTag.CODE;
    at = writeVarint(bytes, at, result.code);
    if (result.leaseUntilMs !== 0) {
      at = writeUntil(bytes, at, ResultTag.LEASE_UNTIL, nanoseconds(result.leaseUntilMs));
    }
  }
  sink.used = at;
}

function resultSize(leaseBytes: number, { code, leaseUntilMs }: ResultFacts): number {
  const until = leaseUntilMs === 0 ? 0 : nanoseconds(leaseUntilMs).size;
  return lengthDelimited(leaseBytes) + 1 + varintSize(code) + until;
}

function writeHeader(bytes: Buffer, at: number, length: number): number {
  bytes[at] = 0;
  return bytes.writeUInt32BE(length, at + 1);
}

function lengthDelimited(length: number): number {
  return 1 + varintSize(length) + length;
}

function fieldSize(value: number): number {
  return value === 0 ? 0 : 1 + varintSize(value);
}

/** A time in ns as a field: its halves, and what it takes with its tag. */
interface Nanoseconds {
  low: number;
  high: number;
  size: number;
}
const NONE: Nanoseconds = { low: 0, high: 0, size: 0 };
/** Used again by each call: most of them want the same few times. */
const last: Nanoseconds & { ms: number } = { ms: 0, low: 0, high: 0, size: 0 };

/** ms × 10⁶ in two halves: more than 53 bits, in two steps that are exact each. */
function nanoseconds(ms: number): Nanoseconds {
  if (last.ms === ms) return last;
  const part = (ms % 65_536) * 1e6;
  const upper = Math.floor(ms / 65_536) * 1e6 + Math.floor(part / 65_536);
  last.ms = ms;
  last.high = Math.floor(upper / 65_536);
  last.low = (upper % 65_536) * 65_536 + (part % 65_536);
  last.size = 1 + varint64Size(last.low, last.high);
  return last;
}

function writeUntil(bytes: Buffer, at: number, tag: number, until: Nanoseconds): number {
  if (until.size === 0) return at;
  bytes[at] = tag;
  return writeVarint64(bytes, at + 1, until.low, until.high);
}

function varint64Size(low: number, high: number): number {
  if (high === 0) return varintSize(low >>> 0);
  const bits = 64 - Math.clz32(high);
  return Math.ceil(bits / 7);
}
