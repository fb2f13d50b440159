// OTLP's JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding), read in pieces.
//
// J1. It is protobuf's JSON, but that trace and span ids are hexadecimal; unknown fields are left out, as OTLP wants it.
// J2. 64-bit integers may be numbers: those beyond 2^53 are kept exactly all the same.
import { type DescMessage, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { InvalidRequest } from "../errors.ts";

const LARGE_NUMBER = /[:[,]\s*-?\d{16,}/;

export type JsonObject = Readonly<Record<string, JsonValue>>;

/** @throws InvalidRequest */
export function parseJson(text: string): JsonValue {
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

/** @throws InvalidRequest */
export function encodeJson(schema: DescMessage, json: JsonObject): Uint8Array {
  try {
    return toBinary(schema, fromJson(schema, json, { ignoreUnknownFields: true }));
  } catch (error) {
    throw malformed(error);
  }
}

/** An id as protobuf's JSON has it (J1). @throws InvalidRequest */
export function base64Of(name: string, value: JsonValue | undefined): JsonObject {
  if (value === undefined || value === null) return {};
  if (typeof value !== "string" || !/^([0-9a-f]{2})*$/i.test(value)) {
    throw refusal(`${name} ${JSON.stringify(value).slice(0, 60)} is not hexadecimal`);
  }
  return { [name]: Buffer.from(value, "hex").toString("base64") };
}

/** @throws InvalidRequest */
export function objectAt(value: JsonValue | undefined, name: string): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw refusal(`${name} is no object`);
}

export function listAt(value: JsonValue | undefined, name: string): readonly JsonValue[] {
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
