// Whatever OpenTelemetry's programs may send.
import { create } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import {
  type AnyValue,
  AnyValueSchema,
  type ExportLogsServiceRequest,
  ExportLogsServiceRequestSchema,
  type KeyValue,
  KeyValueSchema,
  LogRecordSchema,
} from "@sluice/api";
import fc from "fast-check";

const text = fc.string({ unit: "binary", maxLength: 12 });
const bytes = fc.uint8Array({ maxLength: 12 });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const uint32 = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const time = fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }));

type Held = AnyValue["value"];

/** Also the value that is not there. */
export const { value: anyValue, pair: attribute } = fc.letrec<{ value: AnyValue; pair: KeyValue }>((tie) => ({
  value: fc
    .oneof(
      { depthSize: "small", withCrossShrink: true },
      text.map((value): Held => ({ case: "stringValue", value })),
      fc.constant<Held>({ case: undefined }),
      fc.boolean().map((value): Held => ({ case: "boolValue", value })),
      int64.map((value): Held => ({ case: "intValue", value })),
      fc.double().map((value): Held => ({ case: "doubleValue", value })),
      bytes.map((value): Held => ({ case: "bytesValue", value })),
      fc
        .array(tie("value"), { maxLength: 4 })
        .map((values): Held => ({ case: "arrayValue", value: { $typeName: ARRAY, values } })),
      fc
        .array(tie("pair"), { maxLength: 4 })
        .map((values): Held => ({ case: "kvlistValue", value: { $typeName: LIST, values } })),
    )
    .map((value) => create(AnyValueSchema, { value })),
  pair: pairOf(tie("value")),
}));
const ARRAY = "opentelemetry.proto.common.v1.ArrayValue";
const LIST = "opentelemetry.proto.common.v1.KeyValueList";

function pairOf(value: fc.Arbitrary<AnyValue>): fc.Arbitrary<KeyValue> {
  return fc
    .record({ key: text, value: fc.option(value, { nil: undefined }) })
    .map((pair) =>
      create(KeyValueSchema, { key: pair.key, ...(pair.value === undefined ? {} : { value: pair.value }) }),
    );
}

/** Keys may come twice: the specification forbids it, producers do it all the same. */
const attributes = fc.array(pairOf(anyValue), { maxLength: 5 });

/** Fields of a newer OTLP: numbers that no message has yet. */
const unknown = fc.array(
  fc
    .record({ no: fc.integer({ min: 40, max: 900 }), wireType: fc.constant(2), content: bytes })
    .map(({ no, wireType, content }) => ({
      no,
      wireType,
      data: new BinaryWriter().bytes(content).finish(),
    })),
  { maxLength: 2 },
);

const id = (size: number) =>
  fc.oneof(fc.constant(new Uint8Array(0)), fc.uint8Array({ minLength: size, maxLength: size }), bytes);

const record = fc
  .record({
    timeUnixNano: time,
    observedTimeUnixNano: time,
    severityNumber: fc.oneof(fc.integer({ min: 0, max: 24 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
    severityText: fc.oneof(text, fc.constantFrom("", "WARN", "error", "Info3")),
    body: fc.option(anyValue, { nil: undefined }),
    attributes,
    droppedAttributesCount: uint32,
    flags: uint32,
    traceId: id(16),
    spanId: id(8),
    eventName: text,
    $unknown: unknown,
  })
  .map(({ body, ...rest }) => {
    const made = create(LogRecordSchema, { ...rest, severityNumber: rest.severityNumber as 0 });
    made.$unknown = rest.$unknown;
    if (body !== undefined) made.body = body;
    return made;
  });

const scopeLogs = fc.record({
  scope: fc.option(fc.record({ name: text, version: text, attributes, droppedAttributesCount: uint32 }), {
    nil: undefined,
  }),
  logRecords: fc.array(record, { maxLength: 4 }),
  schemaUrl: text,
});

const entityRef = fc.record({
  schemaUrl: text,
  type: text,
  idKeys: fc.array(text, { maxLength: 2 }),
  descriptionKeys: fc.array(text, { maxLength: 2 }),
});

/** Not as long as an application's name may not be. */
const serviceName = fc
  .oneof(
    text.map((value): Held => ({ case: "stringValue", value })),
    int64.map((value): Held => ({ case: "intValue", value })),
  )
  .map((value) => create(AnyValueSchema, { value }));

const resource = fc.record({
  attributes: fc
    .tuple(attributes, fc.option(serviceName, { nil: undefined }))
    .map(([all, name]) =>
      name === undefined ? all : [...all, create(KeyValueSchema, { key: "service.name", value: name })],
    ),
  droppedAttributesCount: uint32,
  entityRefs: fc.array(entityRef, { maxLength: 2 }),
});

const resourceLogs = fc.record({
  resource: fc.option(resource, { nil: undefined }),
  scopeLogs: fc.array(scopeLogs, { maxLength: 3 }),
  schemaUrl: text,
});

/** A request; resources, scopes and all are made anew for each, so that some are equal and most are not. */
export const otlpRequest: fc.Arbitrary<ExportLogsServiceRequest> = fc.array(resourceLogs, { maxLength: 3 }).map((all) =>
  create(ExportLogsServiceRequestSchema, {
    resourceLogs: all.map(({ resource: held, scopeLogs: scopes, schemaUrl }) => ({
      schemaUrl,
      ...(held === undefined ? {} : { resource: held }),
      scopeLogs: scopes.map(({ scope, ...rest }) => ({ ...rest, ...(scope === undefined ? {} : { scope }) })),
    })),
  }),
);
