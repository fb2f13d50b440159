import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import {
  type AnyValue,
  AnyValueSchema,
  ArrayValueSchema,
  ExportLogsServiceRequestSchema,
  type LogEntry,
  LogEntrySchema,
  LogRecordSchema,
  type Resource,
  ResourceSchema,
} from "@sluice/api";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DiskFull, InvalidRequest, LimitExceeded } from "../errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import { findRecords } from "./otlp-request.ts";
import { severityName } from "./severity.ts";
import { MemoryTarget } from "./testing/export-to-memory.ts";
import { SDK_EXPORT } from "./testing/sdk-export.ts";

type RecordInit = MessageInitShape<typeof LogRecordSchema>;
type Held = AnyValue["value"];

const value = (held: Held): AnyValue => create(AnyValueSchema, { value: held });
const text = (words: string): AnyValue => value({ case: "stringValue", value: words });

function arrayOf(...values: AnyValue[]): AnyValue {
  return value({ case: "arrayValue", value: create(ArrayValueSchema, { values }) });
}

function requestOf(...records: readonly RecordInit[]): Uint8Array {
  const resource = { attributes: [{ key: "service.name", value: text("shop") }] };
  return encode({
    resourceLogs: [{ resource, scopeLogs: [{ logRecords: records.map((record) => create(LogRecordSchema, record)) }] }],
  });
}

function encode(init: MessageInitShape<typeof ExportLogsServiceRequestSchema>): Uint8Array {
  return toBinary(ExportLogsServiceRequestSchema, create(ExportLogsServiceRequestSchema, init));
}

async function send(
  request: Uint8Array,
  limits: Limits = DEFAULT_LIMITS,
): Promise<{ entries: LogEntry[]; response: Awaited<ReturnType<MemoryTarget["export"]>> }> {
  const target = new MemoryTarget(limits);
  const response = await target.export(request);
  const entries = Array.from({ length: target.log.head.sequence }, (_, i) =>
    fromBinary(LogEntrySchema, target.message(i + 1)),
  );
  return { entries, response };
}

/** How many records are in a request, before anything is made of them. */
function countRecords(request: Uint8Array): number {
  return findRecords(request, DEFAULT_LIMITS).starts.length;
}

async function entryOf(record: RecordInit): Promise<LogEntry> {
  const { entries, response } = await send(requestOf(record));
  expect(response).toEqual({});
  return entries[0]!;
}

const RECEIVED = 1_700_000_000_000_000_000n;

describe("an export", () => {
  test("of OpenTelemetry's own SDK becomes entries", async () => {
    const { entries, response } = await send(SDK_EXPORT);
    expect(response).toEqual({});
    expect(entries).toHaveLength(3);
    expect(entries[0]).toMatchObject({
      timestamp: 1_760_000_000_123_456_789n,
      observedTimestamp: 1_760_000_001_000_000_005n,
      level: "ERROR",
      severityNumber: 17,
      application: "checkout",
      message: "payment failed: Straße 😀",
      fields: {
        "http.status": "502",
        ok: "false",
        ratio: "0.25",
        big: "9007199254740991",
        negative: "-3",
        list: '["a",1,true]',
        nested: '{"a":{"b":[null,"x"]}}',
        bytes: "AQL/",
        text: "plain",
        nothing: "",
      },
      traceId: Uint8Array.from(Buffer.from("0af7651916cd43dd8448eb211c80319c", "hex")),
      spanId: Uint8Array.from(Buffer.from("b7ad6b7169203331", "hex")),
    });
    expect((entries[0]?.traceFlags ?? 0) & 0xff).toBe(1);
    expect(entries[1]).toMatchObject({
      level: "INFO2",
      severityNumber: 10,
      message: '{"event":"cart.opened","items":3}',
      eventName: "cart.opened",
    });
    expect(entries[2]).toMatchObject({
      message: "42",
      level: "",
      severityNumber: 0,
      fields: {},
      application: "checkout",
    });
  });

  test("without anything in it is fine", async () => {
    expect(await send(new Uint8Array(0))).toEqual({ entries: [], response: {} });
    expect(await send(encode({ resourceLogs: [{}, { scopeLogs: [{}] }] }))).toEqual({ entries: [], response: {} });
  });

  test("of several resources and scopes keeps each record with its service, in order", async () => {
    const resource = (name: string): Resource =>
      create(ResourceSchema, { attributes: [{ key: "x" }, { key: "service.name", value: text(name) }] });
    const { entries } = await send(
      encode({
        resourceLogs: [
          {
            resource: resource("a"),
            scopeLogs: [{ logRecords: [{ body: text("1") }] }, { logRecords: [{ body: text("2") }] }],
          },
          { scopeLogs: [{ logRecords: [{ body: text("3") }] }] },
          { resource: resource("b"), scopeLogs: [{ logRecords: [{ body: text("4") }, { body: text("5") }] }] },
          { resource: resource(""), scopeLogs: [{ logRecords: [{ body: text("6") }] }] },
        ],
      }),
    );
    expect(entries.map(({ application, message }) => `${application} ${message}`)).toEqual([
      "a 1",
      "a 2",
      "unknown_service 3",
      "b 4",
      "b 5",
      "unknown_service 6",
    ]);
  });

  test("finds the resource also behind its records", async () => {
    const logs = new BinaryWriter()
      .tag(2, 2)
      .fork()
      .tag(2, 2)
      .fork()
      .tag(5, 2)
      .fork()
      .tag(1, 2)
      .string("m")
      .join()
      .join()
      .join();
    const resource = logs.tag(1, 2).fork().tag(1, 2).fork().tag(1, 2).string("service.name");
    const request = resource.tag(2, 2).fork().tag(3, 0).int64(7).join().join().join().finish();
    const { entries } = await send(new BinaryWriter().tag(1, 2).bytes(request).finish());
    expect(entries).toMatchObject([{ application: "7", message: "m" }]);
  });

  test("larger than one slice comes whole and in order", async () => {
    const records = Array.from({ length: 5000 }, (_, i) => ({ body: text(String(i)) }));
    const { entries } = await send(requestOf(...records));
    expect(entries.map((entry) => entry.message)).toEqual(records.map((_, i) => String(i)));
  });
});

describe("a record's", () => {
  test.each<[string, RecordInit, Partial<LogEntry>]>([
    ["event time", { timeUnixNano: 5n, observedTimeUnixNano: 7n }, { timestamp: 5n, observedTimestamp: 7n }],
    ["observed time, for an event time", { observedTimeUnixNano: 7n }, { timestamp: 7n, observedTimestamp: 7n }],
    ["time of receipt, for want of any", {}, { timestamp: RECEIVED, observedTimestamp: RECEIVED }],
    ["largest time", { timeUnixNano: 2n ** 63n - 1n }, { timestamp: 2n ** 63n - 1n }],
    ["severity without a name", { severityNumber: 14 }, { severityNumber: 14, level: "WARN2" }],
    ["name without a severity", { severityText: "Warning" }, { severityNumber: 13, level: "Warning" }],
    [
      "severity and name of its own",
      { severityNumber: 21, severityText: "panic" },
      { severityNumber: 21, level: "panic" },
    ],
    ["severity beyond the 24", { severityNumber: 25 as 24 }, { severityNumber: 0, level: "" }],
    [
      "trace id of a wrong length",
      { traceId: new Uint8Array(15), spanId: new Uint8Array(9) },
      { traceId: new Uint8Array(0) },
    ],
    [
      "flags and dropped attributes",
      { flags: 0xffffff01, droppedAttributesCount: 3 },
      { traceFlags: 0xffffff01, droppedAttributes: 3 },
    ],
    [
      "double that JSON has no word for",
      { body: value({ case: "doubleValue", value: Number.NaN }) },
      { message: "NaN" },
    ],
    ["large integer", { body: value({ case: "intValue", value: -(2n ** 63n) }) }, { message: "-9223372036854775808" }],
    ["bytes", { body: value({ case: "bytesValue", value: Uint8Array.of(0, 255) }) }, { message: "AP8=" }],
    ["empty body", { body: {} }, { message: "" }],
  ])("%s", async (_, record, expected) => {
    expect(await entryOf(record)).toMatchObject(expected);
  });

  test("nested value is JSON", async () => {
    const values = [
      text('quote " here'),
      value({ case: "doubleValue", value: 1e300 }),
      value({ case: "doubleValue", value: Number.POSITIVE_INFINITY }),
      value({ case: "intValue", value: 2n ** 60n }),
      value({ case: "bytesValue", value: Uint8Array.of(1) }),
      value({ case: "boolValue", value: true }),
      create(AnyValueSchema),
    ];
    const entry = await entryOf({ body: arrayOf(...values) });
    expect(entry.message).toBe('["quote \\" here",1e+300,"Infinity",1152921504606846976,"AQ==",true,null]');
  });

  test("attribute that comes twice counts as it comes last", async () => {
    const attributes = [
      { key: "k", value: text("1") },
      { key: "k", value: text("2") },
    ];
    expect((await entryOf({ attributes })).fields).toEqual({ k: "2" });
  });

  test("form may be any, the entry says the same", async () => {
    const short = fc.string({ unit: "grapheme", maxLength: 8 });
    const held = fc.oneof(
      short.map((each): [Held, string] => [{ case: "stringValue", value: each }, each]),
      fc
        .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
        .map((each): [Held, string] => [{ case: "intValue", value: each }, String(each)]),
      fc.boolean().map((each): [Held, string] => [{ case: "boolValue", value: each }, String(each)]),
      fc.double().map((each): [Held, string] => [{ case: "doubleValue", value: each }, String(each)]),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(short, held), { maxLength: 5 }),
        held,
        fc.integer({ min: 0, max: 24 }),
        short,
        fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }),
        async (attributes, body, severity, severityText, time) => {
          const entry = await entryOf({
            attributes: attributes.map(([key, [kind]]) => ({ key, value: value(kind) })),
            body: value(body[0]),
            severityNumber: severity as 0,
            severityText,
            timeUnixNano: time,
          });
          expect(entry.message).toBe(body[1]);
          expect(entry.fields).toEqual(Object.fromEntries(attributes.map(([key, [, shown]]) => [key, shown])));
          expect(entry.level).toBe(severityText || severityName(severity));
          expect(entry.timestamp).toBe(time);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("what cannot be taken", () => {
  const badText = new BinaryWriter().tag(5, 2).fork().tag(1, 2).bytes(Uint8Array.of(0xff)).join().finish();
  const broken = Uint8Array.of(0x2a, 0x09);

  function rawRequest(...records: readonly Uint8Array[]): Uint8Array {
    const writer = new BinaryWriter().tag(1, 2).fork().tag(2, 2).fork();
    for (const record of records) writer.tag(2, 2).bytes(record);
    return writer.join().join().finish();
  }

  test("is counted and explained, and the rest is kept", async () => {
    const good = new BinaryWriter().tag(5, 2).fork().tag(1, 2).string("good").join().finish();
    const tooLate = new BinaryWriter()
      .tag(1, 1)
      .fixed64(2n ** 63n)
      .finish();
    const { entries, response } = await send(rawRequest(badText, good, broken, tooLate));
    expect(entries.map((entry) => entry.message)).toEqual(["good"]);
    expect(response.partialSuccess?.rejectedLogRecords).toBe(3n);
    expect(response.partialSuccess?.errorMessage).toMatch(/^3 of 4 log records were rejected; .*MALFORMED/);
  });

  test("says why: a text that is no text, an entry that is too large", async () => {
    expect((await send(rawRequest(badText))).response.partialSuccess?.errorMessage).toContain("INVALID_UTF8");
    const large = await send(requestOf({ body: text("x".repeat(300)) }), { ...DEFAULT_LIMITS, entryBytesMax: 256 });
    expect(large.response.partialSuccess?.errorMessage).toContain("ENTRY_TOO_LARGE");
  });

  test("nested deeper than a decoder goes is one bad record, not a crash", async () => {
    let deep = value({ case: "boolValue", value: true });
    for (let i = 0; i < 200; i++) deep = arrayOf(deep);
    const { response, entries } = await send(requestOf({ body: deep }, { body: text("fine") }));
    expect([response.partialSuccess?.rejectedLogRecords, entries.length]).toEqual([1n, 1]);
  });

  test("is refused whole when the request itself is broken, or too large", async () => {
    await expect(send(Uint8Array.of(0x0a, 0x05, 0x12))).rejects.toBeInstanceOf(InvalidRequest);
    await expect(send(requestOf({}, {}, {}), { ...DEFAULT_LIMITS, batchEntriesMax: 2 })).rejects.toBeInstanceOf(
      LimitExceeded,
    );
  });

  test("for now is an error that says when to try again", async () => {
    const target = new MemoryTarget();
    const { log } = target;
    log.isAutomatic = false;
    const exporting = target.export(requestOf({}));
    const refused = expect(exporting).rejects.toMatchObject({ kind: "unavailable", facts: { retryAfterMs: 5000 } });
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    log.failPending(new DiskFull("default"));
    await refused;
  });

  test("of any bytes never throws but in words", async () => {
    const request = requestOf({ body: text("m"), attributes: [{ key: "k", value: text("v") }] });
    await fc.assert(
      fc.asyncProperty(fc.nat(request.length - 1), fc.nat(255), async (at, byte) => {
        const changed = request.slice();
        changed[at] = byte;
        try {
          const { entries, response } = await send(changed);
          // One byte may make two records of one, or none. None of them is lost untold.
          const refused = response.partialSuccess?.rejectedLogRecords ?? 0n;
          expect(BigInt(entries.length) + refused).toBe(BigInt(countRecords(changed)));
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidRequest);
        }
      }),
      { numRuns: 500 },
    );
  });
});
