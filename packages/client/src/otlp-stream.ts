// A log in OpenTelemetry's form: batches whose bytes are a request that any collector takes.
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type LogStreamRequestSchema, type StreamControl, StreamControlSchema } from "@sluice/api";

/** Some entries of a log, in OpenTelemetry's form. */
export interface OtlpBatch {
  /** An encoded ExportLogsServiceRequest (the same bytes are LogsData). */
  readonly request: Uint8Array;
  /** How many log records are in it. */
  readonly records: number;
  /** Of its last entry: everything up to there was delivered. */
  readonly cursor: string;
  /** Of a message that is no batch. */
  readonly control?: StreamControl | undefined;
}

/** How large batches are. */
export interface OtlpBatchOptions {
  /** Entries of one, at most. Default: the server's, 1,000. */
  readonly entriesMax?: number;
  /** How long the first entry of a batch may wait for others, ms. Default: not at all. */
  readonly maxDelayMs?: number;
}

type StreamRequest = MessageInitShape<typeof LogStreamRequestSchema>;

/** The request for batches of that size. */
export function withBatches(request: StreamRequest, { entriesMax, maxDelayMs }: OtlpBatchOptions): StreamRequest {
  return {
    ...request,
    ...(entriesMax === undefined ? {} : { batchMaxEntries: entriesMax }),
    ...(maxDelayMs === undefined ? {} : { batchMaxDelayMs: maxDelayMs }),
  };
}

/** Takes messages of StreamOtlpLogs apart, without decoding what is in them. */
export async function* splitBatches(messages: AsyncIterable<Uint8Array>): AsyncGenerator<OtlpBatch> {
  for await (const message of messages) yield splitBatch(message);
}

const RESOURCE_LOGS = 1;
const SCOPE_LOGS = 2;
const LOG_RECORDS = 2;
const CURSOR = 1001;
const CONTROL = 1002;

function splitBatch(bytes: Uint8Array): OtlpBatch {
  const reader = new BinaryReader(bytes);
  const pieces: Uint8Array[] = [];
  let cursor = "";
  let control: StreamControl | undefined;
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [field, wireType] = reader.tag();
    if (field === CURSOR && wireType === WireType.LengthDelimited) {
      cursor = reader.string();
    } else if (field === CONTROL && wireType === WireType.LengthDelimited) {
      control = fromBinary(StreamControlSchema, reader.bytes());
    } else {
      reader.skip(wireType, field);
      pieces.push(bytes.subarray(start, reader.pos));
    }
  }
  const request = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  return { request, records: countRecords(request), cursor, control };
}

function countRecords(request: Uint8Array): number {
  let count = 0;
  for (const resourceLogs of fieldsOf(request, RESOURCE_LOGS)) {
    for (const scopeLogs of fieldsOf(resourceLogs, SCOPE_LOGS)) {
      for (const _ of fieldsOf(scopeLogs, LOG_RECORDS)) count++;
    }
  }
  return count;
}

/** The messages in one field. */
function* fieldsOf(bytes: Uint8Array, number: number): Generator<Uint8Array> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === number && wireType === WireType.LengthDelimited) yield reader.bytes();
    else reader.skip(wireType, field);
  }
}
