// Encodes records for the journal. The kinds that come by the hundred thousand are written by hand, byte for byte as
// protobuf-es writes them (encode.test.ts): sizes first, then the fields in the order of their numbers, nothing allocated.
//
// E1. Fields at their default are left out; repeated numbers are packed; a map's entries have both key and value.
import { type MessageInitShape, create, toBinary } from "@bufbuild/protobuf";
import {
  DedupKeptSchema,
  JobFailedSchema,
  type JobAddedSchema,
  type JobSchema,
  JobSnapshotSchema,
  JobsRedrivenSchema,
  type JobsEndedSchema,
  type JobsStartedSchema,
  QueueStateSchema,
} from "@sluice/api";
import { varintSize, writeVarint } from "../../stream/wire.ts";
import {
  listFieldSize,
  narrowFieldSize,
  packedSize,
  textFieldSize,
  textSize,
  wideFieldSize,
  writeNarrow,
  writePacked,
  writeText,
  writeTextField,
  writeWide,
} from "../../stream/wire-fields.ts";
import type { RecordEncoder } from "../../journal/contract.ts";
import type { NewRecord } from "../contract.ts";
import { RecordTag } from "./layout.ts";

type NewJob = MessageInitShape<typeof JobSchema>;
type NewAdded = MessageInitShape<typeof JobAddedSchema>;
type NewStarted = MessageInitShape<typeof JobsStartedSchema>;
type NewEnded = MessageInitShape<typeof JobsEndedSchema>;

const NOTHING = new Uint8Array(0);
/** Measures a record, then writes it where there is room. Used again for each. */
export class KindEncoder implements RecordEncoder<NewRecord> {
  #record: NewRecord = {};
  #tag = 0;
  /** Of the kind's message. */
  #size = 0;
  /** The kind's message, when protobuf-es encoded it. */
  #encoded: Uint8Array = NOTHING;
  /** Of a job: its stored bytes as they are, its size, its snapshot. */
  #jobBytes: Uint8Array | undefined;
  #jobSize = 0;
  #state: Uint8Array = NOTHING;
  /** Of lists of numbers. */
  #numbersSize = 0;
  #attemptsSize = 0;

  /**
   * Bytes of the record's kind: tag, length and message. `jobBytes`: of a JobAdded, the job as it is stored, in place of
   * `job`. @throws TypeError for a record without a kind
   */
  measure(record: NewRecord, jobBytes?: Uint8Array): number {
    this.#record = record;
    this.#jobBytes = jobBytes;
    this.#encoded = NOTHING;
    this.#size = this.#measureKind();
    return 1 + varintSize(this.#size) + this.#size;
  }

  /** Writes what was measured last; answers where it ends. */
  write(bytes: Buffer, at: number): number {
    const { kind } = this.#record;
    bytes[at++] = this.#tag;
    at = writeVarint(bytes, at, this.#size);
    switch (kind?.case) {
      case "added":
        return this.#writeAdded(bytes, at, kind.value);
      case "started":
        return this.#writeStarted(bytes, at, kind.value);
      case "ended":
        return this.#writeEnded(bytes, at, kind.value);
      case "returned":
        return writeWide(bytes, at, 8, kind.value.number);
      default:
        bytes.set(this.#encoded, at);
        return at + this.#encoded.length;
    }
  }

  #measureKind(): number {
    const { kind } = this.#record;
    switch (kind?.case) {
      case "added":
        this.#tag = RecordTag.ADDED;
        return this.#measureAdded(kind.value);
      case "started":
        this.#tag = RecordTag.STARTED;
        return this.#measureStarted(kind.value);
      case "ended":
        this.#tag = RecordTag.ENDED;
        return this.#measureEnded(kind.value);
      case "returned":
        this.#tag = RecordTag.RETURNED;
        return wideFieldSize(kind.value.number);
      case "failed":
        return this.#measureEncoded(RecordTag.FAILED, toBinary(JobFailedSchema, create(JobFailedSchema, kind.value)));
      case "redriven":
        return this.#measureEncoded(
          RecordTag.REDRIVEN,
          toBinary(JobsRedrivenSchema, create(JobsRedrivenSchema, kind.value)),
        );
      case "queue":
        return this.#measureEncoded(RecordTag.QUEUE, toBinary(QueueStateSchema, create(QueueStateSchema, kind.value)));
      case "dedup":
        return this.#measureEncoded(RecordTag.DEDUP, toBinary(DedupKeptSchema, create(DedupKeptSchema, kind.value)));
      default:
        throw new TypeError("Cannot append a record to a journal: it is of no kind");
    }
  }

  #measureEncoded(tag: number, encoded: Uint8Array): number {
    this.#tag = tag;
    this.#encoded = encoded;
    return encoded.length;
  }

  #measureAdded({ number, job, state }: NewAdded): number {
    this.#jobSize = this.#jobBytes?.length ?? (job === undefined ? 0 : measureJob(job));
    this.#state = state === undefined ? NOTHING : toBinary(JobSnapshotSchema, create(JobSnapshotSchema, state));
    let size = wideFieldSize(number);
    if (job !== undefined || this.#jobBytes !== undefined) size += 1 + varintSize(this.#jobSize) + this.#jobSize;
    if (state !== undefined) size += 1 + varintSize(this.#state.length) + this.#state.length;
    return size;
  }

  #writeAdded(bytes: Buffer, start: number, { number, job, state }: NewAdded): number {
    let at = writeWide(bytes, start, 8, number);
    if (this.#jobBytes !== undefined) {
      bytes[at++] = 18;
      at = writeVarint(bytes, at, this.#jobSize);
      bytes.set(this.#jobBytes, at);
      at += this.#jobSize;
    } else if (job !== undefined) {
      bytes[at++] = 18;
      at = writeVarint(bytes, at, this.#jobSize);
      at = writeJob(bytes, at, job);
    }
    if (state === undefined) return at;
    bytes[at++] = 26;
    at = writeVarint(bytes, at, this.#state.length);
    bytes.set(this.#state, at);
    return at + this.#state.length;
  }

  #measureStarted({ numbers, attempts, workerId, at, leaseMs }: NewStarted): number {
    this.#numbersSize = packedSize(numbers);
    this.#attemptsSize = packedSize(attempts);
    const lists = listFieldSize(this.#numbersSize) + listFieldSize(this.#attemptsSize);
    return lists + textFieldSize(workerId) + wideFieldSize(at) + narrowFieldSize(leaseMs);
  }

  #writeStarted(bytes: Buffer, start: number, { numbers, attempts, workerId, at, leaseMs }: NewStarted): number {
    let end = writePacked(bytes, start, 10, numbers, this.#numbersSize);
    end = writePacked(bytes, end, 18, attempts, this.#attemptsSize);
    end = writeTextField(bytes, end, 26, workerId);
    end = writeWide(bytes, end, 32, at);
    return writeNarrow(bytes, end, 40, leaseMs);
  }

  #measureEnded({ numbers, kind }: NewEnded): number {
    this.#numbersSize = packedSize(numbers);
    return listFieldSize(this.#numbersSize) + narrowFieldSize(kind);
  }

  #writeEnded(bytes: Buffer, start: number, { numbers, kind }: NewEnded): number {
    return writeNarrow(bytes, writePacked(bytes, start, 10, numbers, this.#numbersSize), 16, kind);
  }
}

/** Bytes of a stored job. */
function measureJob(job: NewJob): number {
  let size = textFieldSize(job.jobId) + narrowFieldSize(job.priority) + textFieldSize(job.fairnessKey);
  size += textFieldSize(job.orderingKey) + wideFieldSize(job.enqueuedAt) + wideFieldSize(job.notBefore);
  size += wideFieldSize(job.expiresAt) + textFieldSize(job.dedupId);
  const { headers, body } = job;
  if (headers !== undefined) {
    for (const key in headers) {
      const entry = headerSize(key, headers[key]!);
      size += 1 + varintSize(entry) + entry;
    }
  }
  return body === undefined ? size : size + listFieldSize(body.length);
}

function writeJob(bytes: Buffer, start: number, job: NewJob): number {
  let at = writeTextField(bytes, start, 10, job.jobId);
  at = writeNarrow(bytes, at, 16, job.priority);
  at = writeTextField(bytes, at, 26, job.fairnessKey);
  at = writeTextField(bytes, at, 34, job.orderingKey);
  at = writeWide(bytes, at, 40, job.enqueuedAt);
  at = writeWide(bytes, at, 48, job.notBefore);
  at = writeWide(bytes, at, 56, job.expiresAt);
  at = writeTextField(bytes, at, 66, job.dedupId);
  const { headers, body } = job;
  if (headers !== undefined) {
    for (const key in headers) at = writeHeader(bytes, at, key, headers[key]!);
  }
  if (body === undefined || body.length === 0) return at;
  bytes[at++] = 82;
  at = writeVarint(bytes, at, body.length);
  bytes.set(body, at);
  return at + body.length;
}

function headerSize(key: string, value: string): number {
  const keySize = textSize(key);
  const valueSize = textSize(value);
  return 2 + varintSize(keySize) + keySize + varintSize(valueSize) + valueSize;
}

function writeHeader(bytes: Buffer, start: number, key: string, value: string): number {
  bytes[start] = 74;
  let at = writeVarint(bytes, start + 1, headerSize(key, value));
  bytes[at++] = 10;
  at = writeText(bytes, at, key);
  bytes[at++] = 18;
  return writeText(bytes, at, value);
}
