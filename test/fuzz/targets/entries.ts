// Bytes of log entries: as producers send them, as they are stored, as the SDK reads them; and OpenTelemetry's records.
//
// N1. The SDK's decoder answers as protobuf-es does: the same entry, or an error from both.
// N2. An entry that the server's scan lets pass is one that protobuf-es reads, without any field of the server's own.
// N3. A request is refused by a typed error or understood; as protobuf-es writes it, it has the entries that it reads from
//     it. (What is sent it may read more generously: it takes wrong wire types, groups, and fields that are longer than
//     the message they are in.)
// N4. What becomes of an OpenTelemetry record is an entry that the scan can judge; what passes gives a record again, and as
//     protobuf-es wrote it, the same one.
import { isDeepStrictEqual } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import {
  ExportLogsServiceRequestSchema,
  type LogEntry,
  LogEntrySchema,
  type LogRecord,
  LogRecordSchema,
  SeverityNumber,
  WriteLogsRequestSchema,
} from "@sluice/api";
import { frameOf } from "@sluice/rpc";
import { EntryDecoder } from "../../../packages/client/src/decode-entry.ts";
import { SluiceError } from "../../../packages/server/src/errors.ts";
import { DEFAULT_LIMITS } from "../../../packages/server/src/limits.ts";
import { ByteSink } from "../../../packages/server/src/stream/byte-sink.ts";
import { EntryScanner, Tag } from "../../../packages/server/src/logs/entry-scan.ts";
import { entryFrameCodec } from "../../../packages/server/src/logs/frame-codec.ts";
import { RecordWriter } from "../../../packages/server/src/logs/otlp-record-writer.ts";
import { RecordTranscoder } from "../../../packages/server/src/logs/otlp-records.ts";
import { findRecords } from "../../../packages/server/src/logs/otlp-request.ts";
import { bigintOf } from "../../../packages/server/src/stream/wire.ts";
import { parseWriteRequest } from "../../../packages/server/src/logs/write-request.ts";
import { changeBytes, type Grammar, protobufFields } from "../grammar.ts";
import type { Input, Target } from "../target.ts";

const limits = { ...DEFAULT_LIMITS, entryFieldsMax: 8, batchEntriesMax: 40 };
const KNOWN = { writeUnknownFields: false };
const scanner = new EntryScanner(limits);
const decoder = new EntryDecoder();

/** Undefined: it threw an error of this class. Other errors go on. */
function attempt<T>(work: () => T, refusal: new (...args: never[]) => Error): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof refusal) return undefined;
    throw error;
  }
}

function runEntry({ bytes }: Input): void {
  const expected = attempt(() => fromBinary(LogEntrySchema, bytes), Error);
  const actual = attempt(() => decoder.decode(bytes), Error);
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`N1: decoded ${JSON.stringify(actual, asText)}, not ${JSON.stringify(expected, asText)}`);
  }
  if (scanner.scan(bytes, 0, bytes.length)) {
    if (expected === undefined) throw new Error("N2: an entry passed that is no message");
    if (hasServerFields(expected)) throw new Error("N2: an entry passed with a field of the server's own");
  } else if (scanner.rejection === undefined) throw new Error("an entry was refused without a reason");
  entryFrameCodec.describe(frameOf(bytes), 0, bytes.length + 5);
  entryFrameCodec.describe(bytes, 0, bytes.length);
}

function asText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}

function hasServerFields({ sequence, cursor, observedTimestamp, producer, checksum, control }: LogEntry): boolean {
  const isPlain = sequence === 0n && cursor === "" && observedTimestamp === 0n && producer === "" && checksum === 0;
  return !isPlain || control !== undefined;
}

function runRequest({ bytes }: Input): void {
  scanEntries(bytes);
  const decoded = attempt(() => fromBinary(WriteLogsRequestSchema, bytes), Error);
  if (decoded === undefined || decoded.entries.length > limits.batchEntriesMax) return;
  const count = scanEntries(toBinary(WriteLogsRequestSchema, decoded, KNOWN));
  // Numbers and names have limits that protobuf-es does not know.
  if (count !== undefined && count !== decoded.entries.length) throw new Error(`N3: ${count} entries`);
}

/** How many entries a request has; undefined: it is refused. */
function scanEntries(bytes: Uint8Array): number | undefined {
  const request = attempt(() => parseWriteRequest(bytes, limits), SluiceError);
  if (request === undefined) return undefined;
  const { starts, ends } = request.entries;
  for (const [at, start] of starts.entries()) scanner.scan(bytes, start, ends[at]!);
  return starts.length;
}

function runOtlp({ bytes }: Input): void {
  transcode(bytes);
  const decoded = attempt(() => fromBinary(ExportLogsServiceRequestSchema, bytes), Error);
  if (decoded === undefined) return;
  const sent = decoded.resourceLogs.flatMap(({ scopeLogs }) => scopeLogs).flatMap(({ logRecords }) => logRecords);
  const count = transcode(toBinary(ExportLogsServiceRequestSchema, decoded, KNOWN), sent);
  const isRight = count === sent.length || (count === undefined && sent.length > limits.batchEntriesMax);
  if (!isRight) throw new Error(`N3: ${count} records, not ${sent.length}`);
}

/**
 * How many records a request has; undefined: it is refused.
 * @param sent what they are, when protobuf-es wrote them
 */
function transcode(bytes: Uint8Array, sent?: readonly LogRecord[]): number | undefined {
  const records = attempt(() => findRecords(bytes, limits), SluiceError);
  if (records === undefined) return undefined;
  const count = records.starts.length;
  const made = new RecordTranscoder(records).transcode(0, count);
  const { starts, ends, bytes: entryBytes } = made.entries;
  if (starts.length + made.malformed !== count) throw new Error("N4: a record was lost");
  for (const [at, start] of starts.entries()) {
    if (!scanner.scan(entryBytes, start, ends[at]!)) continue;
    const entry = entryBytes.subarray(start, ends[at]);
    fromBinary(LogEntrySchema, entry);
    const { observed = [] } = made.entries;
    const record = readBack(entry, bigintOf(observed[2 * at]!, observed[2 * at + 1]!));
    const expected = made.malformed === 0 ? sent?.[at] : undefined;
    if (expected === undefined) continue;
    const [is, was] = [record, expected].map((each) => Buffer.from(toBinary(LogRecordSchema, each, KNOWN)));
    if (!was!.equals(is!)) throw new Error(`N4: record ${at} came back as ${is!.toString("hex")}`);
  }
  return count;
}

/** The record of an entry, as the server stores it and gives it back. */
function readBack(entry: Uint8Array, observedNs: bigint): LogRecord {
  const stored = new BinaryWriter().raw(entry).uint32(Tag.SEQUENCE).uint32(1);
  if (observedNs !== 0n) stored.uint32(Tag.OBSERVED_TIMESTAMP).int64(observedNs);
  const bytes = stored.uint32(Tag.RESOURCE_ID).uint32(1).finish();
  const sink = new ByteSink(64);
  new RecordWriter(sink).write(bytes, 0, bytes.length);
  return fromBinary(LogRecordSchema, sink.bytes.subarray(0, sink.used));
}

const ENTRY = create(LogEntrySchema, {
  timestamp: 1_760_000_000_000_000_001n,
  level: "Warning",
  severityNumber: 13,
  application: "shop",
  message: "GET /cart took 35 ms — ok",
  sourceFile: "src/cart.ts",
  lineNumber: 42,
  fields: { user: "u-1", took: "35", empty: "", "a b": "ü" },
  traceId: Uint8Array.from({ length: 16 }, (_, at) => at),
  spanId: new Uint8Array(8).fill(0xab),
  traceFlags: 4294967295,
  eventName: "cart.opened",
});
const STORED: Partial<LogEntry> = {
  sequence: 7n,
  cursor: "AAAAAAAAAAAAAA",
  observedTimestamp: 5n,
  producer: "p1",
  producerSequence: 9n,
  checksum: 1,
};

function bytesOf(entry: LogEntry): Buffer {
  return Buffer.from(toBinary(LogEntrySchema, entry));
}

function otlpRequest(): Buffer {
  const attributes = [
    { key: "text", value: { value: { case: "stringValue" as const, value: "v" } } },
    { key: "number", value: { value: { case: "doubleValue" as const, value: 1.5 } } },
    { key: "list", value: { value: { case: "arrayValue" as const, value: { values: [{}, {}] } } } },
  ];
  const record = {
    timeUnixNano: 1n,
    observedTimeUnixNano: 2n,
    severityNumber: SeverityNumber.INFO,
    severityText: "info",
    body: { value: { case: "stringValue" as const, value: "a body" } },
    attributes,
    traceId: new Uint8Array(16),
    spanId: new Uint8Array(8),
    flags: 1,
    eventName: "event",
  };
  const name = { key: "service.name", value: { value: { case: "stringValue" as const, value: "shop" } } };
  const request = create(ExportLogsServiceRequestSchema, {
    resourceLogs: [
      { resource: { attributes: [name] }, scopeLogs: [{ scope: { name: "s" }, logRecords: [record, record, {}] }] },
      { scopeLogs: [{ logRecords: [record] }] },
    ],
  });
  return Buffer.from(toBinary(ExportLogsServiceRequestSchema, request));
}

/** Protobuf of messages in messages: changed at their top, or in a field, whose length then fits again. */
const nested: Grammar = {
  cut: (bytes) => protobufFields.cut(bytes),
  change(unit, random) {
    const isMessage = unit.length > 2 && (unit[0]! & 7) === 2 && unit.length - 2 === unit[1];
    if (!isMessage || random.oneIn(3)) return protobufFields.change(unit, random);
    const fields = protobufFields.cut(unit.subarray(2));
    const at = random.below(fields.length);
    const field = fields[at];
    if (field === undefined) return changeBytes(unit, random);
    fields[at] = nested.change(field, random);
    const inner = Buffer.concat(fields).subarray(0, 127);
    return Buffer.concat([unit.subarray(0, 1), Buffer.of(inner.length), inner]);
  },
};

const entryCorpus = [
  bytesOf(ENTRY),
  bytesOf(create(LogEntrySchema, { ...ENTRY, ...STORED })),
  Buffer.from("\x1a\x01a\x22\x01b"),
];
const requestCorpus = [
  Buffer.from(
    toBinary(
      WriteLogsRequestSchema,
      create(WriteLogsRequestSchema, {
        log: "default",
        producer: "p",
        firstProducerSequence: 4n,
        entries: [ENTRY, create(LogEntrySchema, { message: "b" }), create(LogEntrySchema)],
      }),
    ),
  ),
];

export const entries: Target = {
  name: "entries",
  about: "bytes of log entries: the SDK's decoder and the server's scan against protobuf-es",
  weight: 10,
  open: async () => ({ grammar: nested, corpus: entryCorpus, run: runEntry }),
};

export const writeRequests: Target = {
  name: "write-requests",
  about: "requests that write entries, undecoded",
  weight: 4,
  open: async () => ({ grammar: nested, corpus: requestCorpus, run: runRequest }),
};

export const otlp: Target = {
  name: "otlp",
  about: "OpenTelemetry's requests, from bytes to bytes",
  weight: 4,
  open: async () => ({ grammar: nested, corpus: [otlpRequest()], run: runOtlp }),
};
