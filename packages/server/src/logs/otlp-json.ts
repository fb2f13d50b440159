// OTLP's JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding) as an ExportLogsServiceRequest's bytes.
//
// The event loop is held for CHUNK_RECORDS at a time; only the parser of JSON cannot be stopped (40 ms for 4 MiB).
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { LogRecordSchema, ResourceLogsSchema, ScopeLogsSchema } from "@sluice/api";
import { base64Of, encodeJson, type JsonObject, listAt, objectAt, parseJson } from "../stream/otlp-json.ts";
import { nextTurn } from "../stream/turn.ts";
import { RequestTag, ResourceLogsTag, ScopeLogsTag } from "./otlp-request.ts";

const CHUNK_RECORDS = 128;

/** @throws InvalidRequest */
export async function requestOfJson(text: string): Promise<Uint8Array> {
  const { resourceLogs } = objectAt(parseJson(text), "the request");
  const writer = new BinaryWriter();
  let count = 0;
  for (const each of listAt(resourceLogs, "resourceLogs")) {
    const { scopeLogs, scope_logs: alias, ...head } = objectAt(each, "a row of resourceLogs");
    writer.uint32(RequestTag.RESOURCE_LOGS).fork().raw(encodeJson(ResourceLogsSchema, head));
    for (const inner of listAt(scopeLogs ?? alias, "scopeLogs")) {
      const { logRecords, log_records: innerAlias, ...scope } = objectAt(inner, "a row of scopeLogs");
      writer.uint32(ResourceLogsTag.SCOPE_LOGS).fork().raw(encodeJson(ScopeLogsSchema, scope));
      for (const record of listAt(logRecords ?? innerAlias, "logRecords")) {
        if (++count % CHUNK_RECORDS === 0) await nextTurn();
        const bytes = encodeJson(LogRecordSchema, withBase64Ids(objectAt(record, "a row of logRecords")));
        writer.uint32(ScopeLogsTag.LOG_RECORDS).bytes(bytes);
      }
      writer.join();
    }
    writer.join();
  }
  return writer.finish();
}

function withBase64Ids(record: JsonObject): JsonObject {
  const { traceId, spanId, ...rest } = record;
  return { ...rest, ...base64Of("traceId", traceId), ...base64Of("spanId", spanId) };
}
