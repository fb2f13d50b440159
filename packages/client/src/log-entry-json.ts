// A log entry for programs in other languages.
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { type LogEntry, LogEntrySchema } from "@sluice/api";

/**
 * The entry in protobuf's JSON mapping: names in lowerCamelCase, 64-bit integers as strings, bytes in base64, fields with
 * their default value left out.
 */
export function logEntryToJson(entry: LogEntry): JsonObject {
  // A message that is no well-known type is always an object.
  return toJson(LogEntrySchema, entry) as JsonObject;
}
