// What a peer makes of OpenTelemetry's records: plain entries, whichever library decoded the request.

/** An ExportLogsServiceRequest, with a library's own form of values and of 64-bit numbers. */
export interface OtlpRequest<Value, Time> {
  readonly resourceLogs: readonly {
    readonly resource?: { readonly attributes: readonly OtlpAttribute<Value>[] } | null | undefined;
    readonly scopeLogs: readonly { readonly logRecords: readonly OtlpRecord<Value, Time>[] }[];
  }[];
}

interface OtlpAttribute<Value> {
  readonly key: string;
  readonly value?: Value | null | undefined;
}

interface OtlpRecord<Value, Time> {
  readonly timeUnixNano: Time;
  readonly severityNumber: number;
  readonly severityText: string;
  readonly body?: Value | null | undefined;
  readonly attributes: readonly OtlpAttribute<Value>[];
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
}

/** A LogEntry to be encoded. */
interface PlainEntry<Time> {
  readonly timestamp: Time;
  readonly level: string;
  readonly application: string;
  readonly message: string;
  readonly fields: Record<string, string>;
  readonly severityNumber: number;
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
}

/** @param stringIn the string that a value is, "" for any other */
export function entriesOf<Value, Time>(
  request: OtlpRequest<Value, Time>,
  stringIn: (value: Value) => string,
): PlainEntry<Time>[] {
  const text = (value: Value | null | undefined): string =>
    value === undefined || value === null ? "" : stringIn(value);
  return request.resourceLogs.flatMap(({ resource, scopeLogs }) => {
    const application = text(resource?.attributes.find(({ key }) => key === "service.name")?.value);
    return scopeLogs
      .flatMap(({ logRecords }) => logRecords)
      .map((record) => ({
        timestamp: record.timeUnixNano,
        level: record.severityText,
        application,
        message: text(record.body),
        fields: Object.fromEntries(record.attributes.map(({ key, value }) => [key, text(value)])),
        severityNumber: record.severityNumber,
        traceId: record.traceId,
        spanId: record.spanId,
      }));
  });
}
