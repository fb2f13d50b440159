import { expect, test } from "vitest";
import type { Piece } from "./line-splitter.ts";
import { readLine } from "./read-line.ts";

const nowMs = Date.parse("2026-11-21T12:00:00Z");
const ns = (iso: string): bigint => BigInt(Date.parse(iso)) * 1_000_000n;
const local = (iso: string): bigint => BigInt(new Date(iso).getTime()) * 1_000_000n;

function piece(bytes: string | Uint8Array, place: { part?: number; isLast?: boolean } = {}): Piece {
  const buffer = Buffer.from(bytes);
  return { bytes: buffer, start: 0, end: buffer.length, part: place.part ?? 0, isLast: place.isLast ?? true };
}
const source = { application: "file", isFixed: false, nowMs };
const read = (line: string) => readLine(piece(line), source)?.entry;

test.each([
  [
    "pino",
    '{"level":30,"time":1700000000123,"pid":7,"hostname":"h","name":"shop","msg":"paid","order":{"id":12345678901234567890,"items":[1,2]}}',
    {
      application: "shop",
      message: "paid",
      level: "info",
      severityNumber: 9,
      timestamp: 1_700_000_000_123_000_000n,
      fields: { pid: "7", hostname: "h", "order.id": "12345678901234567890", "order.items": "[1,2]" },
    },
  ],
  [
    "zap",
    '{"level":"dpanic","ts":1700000000.5,"logger":"api","caller":"http/server.go:42","msg":"slow","took":0.25,"ok":false}',
    {
      application: "file",
      message: "slow",
      level: "dpanic",
      severityNumber: 18,
      timestamp: 1_700_000_000_500_000_000n,
      sourceFile: "http/server.go",
      lineNumber: 42,
      fields: { logger: "api", took: "0.25", ok: "false" },
    },
  ],
  [
    "bunyan",
    '{"name":"web","hostname":"h","pid":1,"level":50,"msg":"failed","time":"2026-11-21T08:43:01.123Z","src":{"file":"a.js","line":3},"v":0}',
    {
      application: "web",
      message: "failed",
      level: "error",
      severityNumber: 17,
      timestamp: ns("2026-11-21T08:43:01.123Z"),
      sourceFile: "a.js",
      lineNumber: 3,
      fields: { hostname: "h", pid: "1", v: "0" },
    },
  ],
  [
    "winston",
    '{"level":"http","message":"GET /","timestamp":"2026-11-21T08:43:01+01:00","service":"shop","meta":null,"empty":{}}',
    {
      application: "shop",
      message: "GET /",
      level: "http",
      severityNumber: 7,
      timestamp: ns("2026-11-21T07:43:01Z"),
      fields: { meta: "null", empty: "{}" },
    },
  ],
  [
    "trace ids",
    '{"msg":"m","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"short"}',
    {
      application: "file",
      message: "m",
      traceId: Uint8Array.fromHex("0af7651916cd43dd8448eb211c80319c"),
      fields: { span_id: "short" },
    },
  ],
])("%s", (_name, line, expected) => {
  expect(read(line)).toEqual(expected);
});

test("what is not understood stays a field, and no name hides another", () => {
  expect(read('{"a.b":1,"a":{"b":2},"level":{"x":1},"time":"soon","msg":5,"message":"text","n":1e400}')).toEqual({
    application: "file",
    message: "text",
    fields: { "a.b": "1", "a.b_": "2", "level.x": "1", time: "soon", msg: "5", n: "1e400" },
  });
});

test.each([
  ["not JSON", '{"msg": "cut'],
  ["an array", "[1,2]"],
  ["too many fields", JSON.stringify(Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`k${i}`, i])))],
  [
    "a long name, said many times over",
    JSON.stringify({ ["n".repeat(1000)]: Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, i])) }),
  ],
  ["no object", "42"],
])("%s is kept as text", (_name, line) => {
  const found = readLine(piece(line), source);
  expect(found).toEqual({ entry: { application: "file", message: line }, format: "text", replaced: 0 });
});

test("deep nesting ends as JSON", () => {
  const line = `${'{"a":'.repeat(12)}12345678901234567890${"}".repeat(12)}`;
  expect(read(line)?.fields).toEqual({ "a.a.a.a.a.a.a.a": '{"a":{"a":{"a":{"a":12345678901234567890}}}}' });
});

test.each([
  [
    "Nov 21 08:43:01 myhost sshd[812]: Accepted publickey for root",
    {
      application: "sshd",
      message: "Accepted publickey for root",
      timestamp: local("2026-11-21T08:43:01"),
      fields: { host: "myhost", pid: "812" },
    },
  ],
  [
    "2026-11-21T08:43:01.5+00:00 myhost CRON[1]: (root) CMD (true)",
    {
      application: "CRON",
      message: "(root) CMD (true)",
      timestamp: ns("2026-11-21T08:43:01.5Z"),
      fields: { host: "myhost", pid: "1" },
    },
  ],
  [
    String.raw`<165>1 2026-11-21T08:43:01Z h app - ID47 [x@1 k="v\]\""] started`,
    {
      application: "app",
      message: "started",
      level: "notice",
      severityNumber: 10,
      timestamp: ns("2026-11-21T08:43:01Z"),
      fields: { host: "h", messageId: "ID47", facility: "local4", "x@1.k": 'v]"' },
    },
  ],
  [
    "<34>Nov 21 08:43:01 h su: failed",
    {
      application: "su",
      level: "crit",
      severityNumber: 18,
      message: "failed",
      fields: { host: "h", facility: "auth" },
    },
  ],
  ["2026-11-21T08:43:01Z ERROR main: broken", { message: "main: broken", level: "ERROR", severityNumber: 17 }],
  [
    "2026/11/21 08:43:01 [error] 7#7: *1 open() failed",
    { message: "7#7: *1 open() failed", level: "error", severityNumber: 17 },
  ],
  [
    "2026-11-21 08:43:01,123 [main] INFO  c.f.Bar - ready",
    { message: "[main] INFO  c.f.Bar - ready", level: "INFO", severityNumber: 9 },
  ],
  [
    "[2026-11-21 08:43:01,123] WARNING: low",
    { message: "low", level: "WARNING", severityNumber: 13, timestamp: local("2026-11-21T08:43:01.123") },
  ],
  [
    "[2026-11-21 08:43:01 NOTICE] x",
    { message: "[2026-11-21 08:43:01 NOTICE] x", level: "NOTICE", timestamp: local("2026-11-21T08:43:01") },
  ],
  ["2026-11-21 08:43:01 error talking to db", { message: "error talking to db", level: "error" }],
  ["error: no such file", { message: "no such file", level: "error", severityNumber: 17 }],
  ["time = x level=warn", { message: "time = x level=warn", level: "warn", severityNumber: 13 }],
  ['1.2.3.4 - - [21/Nov/2026:08:43:01 +0000] "GET /"', { timestamp: ns("2026-11-21T08:43:01Z") }],
])("text: %s", (line, expected) => {
  expect(read(line)).toMatchObject({ application: "file", ...expected });
});

test.each(["Error talking to db", "information is power", "2026 was good", "  indented", "<tag> text", "(note) x"])(
  "%j has neither time nor severity",
  (line) => expect(read(line)).toEqual({ application: "file", message: line }),
);

test("the application that a person names wins, and the line's own becomes a field", () => {
  const found = readLine(piece("Nov 21 08:43:01 h sshd: x"), { application: "mine", isFixed: true, nowMs });
  expect(found?.entry).toMatchObject({ application: "mine", fields: { program: "sshd", host: "h" } });
});

test("invalid UTF-8 is replaced visibly and counted; what was written as U+FFFD is not", () => {
  const bytes = Buffer.concat([Buffer.from("a\uFFFDb"), Buffer.from([0xff, 0xc3]), Buffer.from("c")]);
  expect(readLine(piece(bytes), source)).toMatchObject({ entry: { message: "a\uFFFDb\uFFFD\uFFFDc" }, replaced: 2 });
});

test("a piece of a long line is text with its number", () => {
  expect(readLine(piece('{"msg":"x"}', { part: 1, isLast: false }), source)?.entry).toEqual({
    application: "file",
    message: '{"msg":"x"}',
    fields: { part: "1" },
  });
  expect(readLine(piece("end", { part: 2 }), source)?.entry.fields).toEqual({ part: "2", part_last: "true" });
});

test("a blank line says nothing", () => {
  expect(readLine(piece(""), source)).toBeUndefined();
  expect(readLine(piece(" "), source)?.entry.message).toBe(" ");
});
