// OTLP's JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding) as an ExportLogsServiceRequest's bytes.
//
// J1. It is protobuf's JSON, but that trace and span ids are hexadecimal; unknown fields are left out, as OTLP wants it.
// J2. 64-bit integers may be numbers: those beyond 2^53 are kept exactly all the same.
// J3. The event loop is held for CHUNK_RECORDS at a time; only the parser of JSON cannot be stopped (40 ms for 4 MiB).
import { type DescMessage, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { LogRecordSchema, ResourceLogsSchema, ScopeLogsSchema } from "@sluice/api";
import { InvalidRequest } from "../errors.ts";
import { nextTurn } from "../stream/turn.ts";
import { RequestTag, ResourceLogsTag, ScopeLogsTag } from "./otlp-request.ts";

const CHUNK_RECORDS = 128;
const LARGE_NUMBER = /[:[,]\s*-?\d{16,}/;

type JsonObject = Readonly<Record<string, JsonValue>>;

/** @throws InvalidRequest */
export async function requestOfJson(text: string): Promise<Uint8Array> {
  const { resourceLogs } = objectAt(parseJson(text), "the request");
  const writer = new BinaryWriter();
  let count = 0;
  for (const each of listAt(resourceLogs, "resourceLogs")) {
    const { scopeLogs, scope_logs: alias, ...head } = objectAt(each, "a row of resourceLogs");
    writer.uint32(RequestTag.RESOURCE_LOGS).fork().raw(encode(ResourceLogsSchema, head));
    for (const inner of listAt(scopeLogs ?? alias, "scopeLogs")) {
      const { logRecords, log_records: innerAlias, ...scope } = objectAt(inner, "a row of scopeLogs");
      writer.uint32(ResourceLogsTag.SCOPE_LOGS).fork().raw(encode(ScopeLogsSchema, scope));
      for (const record of listAt(logRecords ?? innerAlias, "logRecords")) {
        if (++count % CHUNK_RECORDS === 0) await nextTurn();
        const bytes = encode(LogRecordSchema, withBase64Ids(objectAt(record, "a row of logRecords")));
        writer.uint32(ScopeLogsTag.LOG_RECORDS).bytes(bytes);
      }
      writer.join();
    }
    writer.join();
  }
  return writer.finish();
}

function parseJson(text: string): JsonValue {
  try {
    if (!LARGE_NUMBER.test(text)) return JSON.parse(text) as JsonValue;
    // J2: protobuf's JSON takes them as text.
    return JSON.parse(text, (_key, value: JsonValue, context?: { readonly source?: string }) =>
      typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
        ? context!.source!
        : value,
    ) as JsonValue;
  } catch (error) {
    throw malformed(error);
  }
}

function encode(schema: DescMessage, json: JsonObject): Uint8Array {
  try {
    return toBinary(schema, fromJson(schema, json, { ignoreUnknownFields: true }));
  } catch (error) {
    throw malformed(error);
  }
}

function withBase64Ids(record: JsonObject): JsonObject {
  const { traceId, spanId, ...rest } = record;
  return { ...rest, ...base64Of("traceId", traceId), ...base64Of("spanId", spanId) };
}

function base64Of(name: string, value: JsonValue | undefined): JsonObject {
  if (value === undefined || value === null) return {};
  if (typeof value !== "string" || !/^([0-9a-f]{2})*$/i.test(value)) {
    throw refusal(`${name} ${JSON.stringify(value).slice(0, 60)} is not hexadecimal`);
  }
  return { [name]: Buffer.from(value, "hex").toString("base64") };
}

function objectAt(value: JsonValue | undefined, name: string): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw refusal(`${name} is no object`);
}

function listAt(value: JsonValue | undefined, name: string): readonly JsonValue[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw refusal(`${name} is no array`);
}

function malformed(error: unknown): InvalidRequest {
  return refusal(`it is no OTLP JSON: ${error instanceof Error ? error.message : String(error)}`);
}

function refusal(description: string): InvalidRequest {
  return new InvalidRequest("MALFORMED", [{ field: "body", description }]);
}
