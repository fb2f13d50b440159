// Reads stored records. The kinds that come by the hundred thousand are read by hand, into what protobuf-es would give
// (decode.test.ts), but for the body and the headers of a job: a queue is opened without them.
import { fromBinary } from "@bufbuild/protobuf";
import {
  type EndKind,
  type Job,
  type JobAdded,
  type JobSnapshot,
  JobSnapshotSchema,
  type JobsEnded,
  type JobsStarted,
  type JournalRecord,
  JournalRecordSchema,
} from "@sluice/api";
import { WireReader } from "../../stream/wire.ts";
import type { RecordReader } from "../../journal/contract.ts";
import { FRAME_HEADER_BYTES } from "../../journal/layout.ts";
import { RecordTag } from "./layout.ts";

const NO_BODY = new Uint8Array(0);

/** Texts that come again and again (workers, keys) are made once. */
const TEXTS_MAX = 1024;
const TEXT_BYTES_MAX = 64;

/** Reads one record after the other. */
export class QueueRecordReader implements RecordReader<JournalRecord> {
  readonly #wire = new WireReader();
  /** The bytes that are being read, as a Buffer: made once for all records of a run. */
  #buffer: Buffer = Buffer.alloc(0);
  readonly #texts = new Map<number, { readonly bytes: Buffer; readonly text: string }>();
  /** Where the stored job of the JobAdded that was read last lies; 0, 0: it has none. */
  bodyStart = 0;
  bodyEnd = 0;

  /** The record of a message that proved itself. @throws when its content is none */
  read(bytes: Uint8Array, start: number, end: number): JournalRecord {
    this.#hold(bytes);
    const wire = this.#wire;
    wire.open(bytes, start, end);
    this.bodyStart = 0;
    this.bodyEnd = 0;
    const kind = this.#readKind(wire.tag());
    if (kind === undefined) return fromBinary(JournalRecordSchema, this.#buffer.subarray(start, end));
    wire.tag();
    const sequence = wire.uint64();
    wire.tag();
    const epoch = wire.varint();
    wire.tag();
    const checksum = wire.fixed32();
    if (wire.hasFailed) throw new RangeError("Cannot read a record: its message is not whole");
    return { $typeName: "sluice.queues.v1.JournalRecord", kind, sequence, epoch, checksum };
  }

  #readKind(tag: number): JournalRecord["kind"] | undefined {
    const wire = this.#wire;
    if (tag > RecordTag.RETURNED) return undefined;
    const outerEnd = wire.enter();
    const kind = this.#readContent(tag);
    wire.leave(outerEnd);
    return kind;
  }

  #readContent(tag: number): JournalRecord["kind"] {
    switch (tag) {
      case RecordTag.ADDED:
        return { case: "added", value: this.#readAdded() };
      case RecordTag.STARTED:
        return { case: "started", value: this.#readStarted() };
      case RecordTag.ENDED:
        return { case: "ended", value: this.#readEnded() };
      default:
        return { case: "returned", value: this.#readReturned() };
    }
  }

  #readAdded(): JobAdded {
    const wire = this.#wire;
    let number = 0n;
    let job: Job | undefined;
    let state: JobSnapshot | undefined;
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === 8) number = wire.uint64();
      else if (tag === 18) {
        const outerEnd = wire.enter();
        this.bodyStart = wire.pos;
        this.bodyEnd = wire.end;
        job = this.#readJob();
        wire.leave(outerEnd);
      } else if (tag === 26) {
        const end = wire.span();
        state = fromBinary(JobSnapshotSchema, this.#buffer.subarray(wire.pos, end));
        wire.pos = end;
      } else wire.skip(tag);
    }
    return { $typeName: "sluice.queues.v1.JobAdded", number, job, state };
  }

  #readJob(): Job {
    const wire = this.#wire;
    const job: Job = {
      $typeName: "sluice.queues.v1.Job",
      jobId: "",
      priority: 0,
      fairnessKey: "",
      orderingKey: "",
      enqueuedAt: 0n,
      notBefore: 0n,
      expiresAt: 0n,
      dedupId: "",
      headers: {},
      body: NO_BODY,
    };
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      switch (tag) {
        case 10:
          job.jobId = this.#text();
          break;
        case 16:
          job.priority = wire.varint();
          break;
        case 26:
          job.fairnessKey = this.#knownText();
          break;
        case 34:
          job.orderingKey = this.#knownText();
          break;
        case 40:
          job.enqueuedAt = wire.int64();
          break;
        case 48:
          job.notBefore = wire.int64();
          break;
        case 56:
          job.expiresAt = wire.int64();
          break;
        case 66:
          job.dedupId = this.#text();
          break;
        default:
          wire.skip(tag);
      }
    }
    return job;
  }

  #readStarted(): JobsStarted {
    const wire = this.#wire;
    let numbers: bigint[] = [];
    let attempts: bigint[] = [];
    let workerId = "";
    let at = 0n;
    let leaseMs = 0;
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === 10) numbers = wire.uint64s();
      else if (tag === 18) attempts = wire.uint64s();
      else if (tag === 26) workerId = this.#knownText();
      else if (tag === 32) at = wire.int64();
      else if (tag === 40) leaseMs = wire.varint();
      else wire.skip(tag);
    }
    return { $typeName: "sluice.queues.v1.JobsStarted", numbers, attempts, workerId, at, leaseMs };
  }

  #readEnded(): JobsEnded {
    const wire = this.#wire;
    let numbers: bigint[] = [];
    let kind: EndKind = 0;
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === 10) numbers = wire.uint64s();
      else if (tag === 16) kind = wire.varint() as EndKind;
      else wire.skip(tag);
    }
    return { $typeName: "sluice.queues.v1.JobsEnded", numbers, kind };
  }

  #readReturned(): { $typeName: "sluice.queues.v1.JobReturned"; number: bigint } {
    const wire = this.#wire;
    let number = 0n;
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === 8) number = wire.uint64();
      else wire.skip(tag);
    }
    return { $typeName: "sluice.queues.v1.JobReturned", number };
  }

  #text(): string {
    const wire = this.#wire;
    const end = wire.span();
    const text = this.#buffer.toString("utf8", wire.pos, end);
    wire.pos = end;
    return text;
  }

  /** A text that was most probably read before. */
  #knownText(): string {
    const wire = this.#wire;
    const start = wire.pos;
    const end = wire.span();
    const from = wire.pos;
    if (end - from > TEXT_BYTES_MAX) {
      wire.pos = start;
      return this.#text();
    }
    const buffer = this.#buffer;
    let hash = end - from;
    for (let i = from; i < end; i++) hash = Math.imul(hash ^ buffer[i]!, 0x0100_0193);
    wire.pos = end;
    const known = this.#texts.get(hash);
    if (known !== undefined && known.bytes.equals(buffer.subarray(from, end))) return known.text;
    const bytes = Buffer.from(buffer.subarray(from, end));
    const text = bytes.toString("utf8");
    if (this.#texts.size >= TEXTS_MAX) this.#texts.clear();
    this.#texts.set(hash, { bytes, text });
    return text;
  }

  #hold(bytes: Uint8Array): void {
    const buffer = this.#buffer;
    if (buffer.buffer === bytes.buffer && buffer.byteOffset === bytes.byteOffset && buffer.length === bytes.length)
      return;
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }
}

const wire = new WireReader();

/** The stored bytes of the job in a frame of a JobAdded; undefined: it is none. */
export function findJob(frame: Uint8Array): Uint8Array | undefined {
  if (frame.length <= FRAME_HEADER_BYTES) return undefined;
  wire.open(frame, FRAME_HEADER_BYTES, frame.length);
  if (wire.tag() !== RecordTag.ADDED) return undefined;
  wire.enter();
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag === 18) {
      const end = wire.span();
      return wire.hasFailed ? undefined : frame.subarray(wire.pos, end);
    }
    wire.skip(tag);
  }
  return undefined;
}
