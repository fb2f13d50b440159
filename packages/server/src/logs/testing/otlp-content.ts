// What OTLP says, whichever way it is grouped: for each resource and scope, its records in their order, as bytes of
// protobuf-es, which are equal for equal messages and different for -0 and 0, for null and nothing.
import { toBinary } from "@bufbuild/protobuf";
import { InstrumentationScopeSchema, LogRecordSchema, type ResourceLogs, ResourceSchema } from "@sluice/api";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** A resource that is not there and an empty one stay different; groups without records say nothing. */
export function otlpContent(all: readonly ResourceLogs[]): Record<string, string[]> {
  const groups: Record<string, string[]> = {};
  for (const { resource, schemaUrl, scopeLogs } of all) {
    for (const { scope, schemaUrl: scopeUrl, logRecords } of scopeLogs) {
      if (logRecords.length === 0) continue;
      const key = JSON.stringify([
        resource === undefined ? null : hex(toBinary(ResourceSchema, resource)),
        schemaUrl,
        scope === undefined ? null : hex(toBinary(InstrumentationScopeSchema, scope)),
        scopeUrl,
      ]);
      groups[key] = [...(groups[key] ?? []), ...logRecords.map((record) => hex(toBinary(LogRecordSchema, record)))];
    }
  }
  return groups;
}
