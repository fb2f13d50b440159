// Finds the log records of an ExportLogsServiceRequest, and what they share: where it came from.
import { InvalidRequest, LimitExceeded } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { ByteSink } from "../stream/byte-sink.ts";
import { Tag as EntryTag } from "./entry-scan.ts";
import { isPart, RESOURCE_HEAD, SCOPE_HEAD } from "./otlp-shape.ts";
import { KeyValue } from "./otlp-value.ts";
import { WireReader } from "../stream/wire.ts";

const UNKNOWN_SERVICE = "unknown_service";

export const RequestTag = { RESOURCE_LOGS: (1 << 3) | 2 } as const;
export const ResourceLogsTag = {
  RESOURCE: (1 << 3) | 2,
  SCOPE_LOGS: (2 << 3) | 2,
  /** Of OTLP's first versions: records in a form that is gone. */
  OLD_SCOPE_LOGS: (1000 << 3) | 2,
} as const;
export const ResourceTag = { ATTRIBUTES: (1 << 3) | 2 } as const;
export const ScopeLogsTag = { LOG_RECORDS: (2 << 3) | 2 } as const;

/** What the records of one ScopeLogs share. */
export interface RecordSource {
  /** The field `application` of LogEntry, encoded. */
  readonly application: Uint8Array;
  /** The ResourceLogs without its ScopeLogs, and the ScopeLogs without its records, as they came. */
  readonly resource: Uint8Array;
  readonly scope: Uint8Array;
  /** Whether both can be read by every decoder. */
  readonly isValid: boolean;
}

/** Where the records of a request lie, and whose each is. */
export interface RecordSpans {
  readonly bytes: Uint8Array;
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  /** Of each record; records of one ScopeLogs have the same object. */
  readonly sources: readonly RecordSource[];
}

/** Finds the records of an ExportLogsServiceRequest. @throws InvalidRequest; LimitExceeded for too many records */
export function findRecords(bytes: Uint8Array, limits: Limits): RecordSpans {
  const wire = new WireReader();
  const starts: number[] = [];
  const ends: number[] = [];
  const sources: RecordSource[] = [];
  wire.open(bytes, 0, bytes.length);
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag !== RequestTag.RESOURCE_LOGS) {
      wire.skip(tag);
      continue;
    }
    const outerEnd = wire.enter();
    const application = findApplication(wire);
    const resource = headOf(wire, ResourceLogsTag.SCOPE_LOGS);
    const isValid = isPart(resource, 0, resource.length, RESOURCE_HEAD);
    while (wire.pos < wire.end) {
      const inner = wire.tag();
      if (inner !== ResourceLogsTag.SCOPE_LOGS) {
        wire.skip(inner);
        continue;
      }
      const resourceEnd = wire.enter();
      const scope = headOf(wire, ScopeLogsTag.LOG_RECORDS);
      const isWhole = isValid && isPart(scope, 0, scope.length, SCOPE_HEAD);
      collectRecords(wire, starts, ends);
      const source = { application, resource, scope, isValid: isWhole };
      while (sources.length < starts.length) sources.push(source);
      wire.leave(resourceEnd);
    }
    wire.leave(outerEnd);
  }
  if (wire.hasFailed) {
    const description = `the request's ${bytes.length} bytes are no ExportLogsServiceRequest`;
    throw new InvalidRequest("MALFORMED", [{ field: "resource_logs", description }]);
  }
  if (starts.length > limits.batchEntriesMax) {
    const text = `Cannot take ${starts.length} log records at once: the limit is ${limits.batchEntriesMax}`;
    throw new LimitExceeded(text, "log records of a request");
  }
  return { bytes, starts, ends, sources };
}

/** The fields of the message in which `at` is, without those of one tag; `at` does not move. */
function headOf(at: WireReader, without: number): Uint8Array {
  const wire = new WireReader();
  const pieces: Uint8Array[] = [];
  wire.open(at.bytes, at.pos, at.end);
  while (wire.pos < wire.end) {
    const start = wire.pos;
    const tag = wire.tag();
    wire.skip(tag);
    if (wire.hasFailed || tag === without || tag === ResourceLogsTag.OLD_SCOPE_LOGS) continue;
    pieces.push(wire.bytes.subarray(start, wire.pos));
  }
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}

/** Collects the records of the ScopeLogs in which `wire` is. */
function collectRecords(wire: WireReader, starts: number[], ends: number[]): void {
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag !== ScopeLogsTag.LOG_RECORDS) {
      wire.skip(tag);
      continue;
    }
    const end = wire.span();
    starts.push(wire.pos);
    ends.push(end);
    wire.pos = end;
  }
}

/** The encoded field `application` for the ResourceLogs in which `at` is; `at` does not move. */
function findApplication(at: WireReader): Uint8Array {
  const wire = new WireReader();
  const pair = new KeyValue();
  const sink = new ByteSink(64);
  wire.open(at.bytes, at.pos, at.end);
  let hasName = false;
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag !== ResourceLogsTag.RESOURCE) {
      wire.skip(tag);
      continue;
    }
    const outerEnd = wire.enter();
    while (wire.pos < wire.end) {
      const inner = wire.tag();
      if (inner !== ResourceTag.ATTRIBUTES) {
        wire.skip(inner);
        continue;
      }
      pair.read(wire);
      if (!pair.isKey(wire.bytes, SERVICE_NAME)) continue;
      sink.used = 0;
      pair.writeValue(sink, EntryTag.APPLICATION, wire.bytes);
      hasName = pair.hasText;
    }
    wire.leave(outerEnd);
  }
  if (!hasName) {
    sink.used = 0;
    sink.textField(EntryTag.APPLICATION, UNKNOWN_SERVICE);
  }
  return sink.bytes.subarray(0, sink.used);
}

export const SERVICE_NAME = Buffer.from("service.name");
