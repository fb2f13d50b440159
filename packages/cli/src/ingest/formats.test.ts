// Lines as real programs wrote them, or as the document that defines their format has them; each test says which.
import { expect, test } from "vitest";
import { unwrapContainerLine } from "./container-line.ts";
import type { Piece } from "./line-splitter.ts";
import { type LineFormat, readLine } from "./read-line.ts";

const nowMs = Date.parse("2026-11-21T12:00:00Z");
const ns = (iso: string): bigint => BigInt(Date.parse(iso)) * 1_000_000n;

function read(line: string, format: LineFormat = "auto") {
  const bytes = Buffer.from(line);
  const piece: Piece = { bytes, start: 0, end: bytes.length, part: 0, isLast: true };
  return readLine(piece, { application: "file", isFixed: false, nowMs, format });
}

test.each([
  [
    "go-kit (Prometheus 2.45)",
    'ts=2023-06-23T08:43:01.123Z caller=main.go:512 level=info msg="No time or size retention was set so using the default time retention" duration=15d',
    {
      message: "No time or size retention was set so using the default time retention",
      level: "info",
      severityNumber: 9,
      timestamp: ns("2023-06-23T08:43:01.123Z"),
      sourceFile: "main.go",
      lineNumber: 512,
      fields: { duration: "15d" },
    },
  ],
  [
    "Go's slog.TextHandler",
    String.raw`time=2026-11-21T08:43:01.000+01:00 level=WARN msg="he said \"no\"\n" err="x=y" empty="" n=1`,
    {
      message: 'he said "no"\n',
      level: "WARN",
      timestamp: ns("2026-11-21T07:43:01Z"),
      fields: { err: "x=y", empty: "", n: "1" },
    },
  ],
])("logfmt of %s", (_name, line, expected) => {
  expect(read(line)).toMatchObject({ format: "logfmt", entry: expected });
});

test.each([
  ["one pair", "msg=hello"],
  ["a word that is no pair", "msg=hello world level=info"],
  ["a quote that does not end", 'level=info msg="cut'],
  ["text behind a value in quotes", 'level=info msg="a"b'],
  ["a name that comes twice", "level=info a=1 a=2"],
  ["names that say nothing", "a=1 b=2"],
  ["a line of a shell", "PATH=/bin make all"],
])("no logfmt: %s; it is kept as text", (_name, line) => {
  expect(read(line)).toMatchObject({ format: "text" });
  expect(read(line)?.entry.message).toBe(line);
});

test("logfmt that somebody calls so may have words alone, and names that say nothing", () => {
  expect(read("a=1 done", "logfmt")).toMatchObject({ format: "logfmt", entry: { fields: { a: "1", done: "true" } } });
  expect(read("__proto__=1 msg=m", "logfmt")?.entry.fields).toEqual(JSON.parse('{"__proto__":"1"}'));
});

test.each([
  [
    "common (Apache's documentation)",
    '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326',
    {
      message: "GET /apache_pb.gif HTTP/1.0",
      timestamp: ns("2000-10-10T20:55:36Z"),
      fields: {
        client: "127.0.0.1",
        user: "frank",
        method: "GET",
        path: "/apache_pb.gif",
        protocol: "HTTP/1.0",
        status: "200",
        bytes: "2326",
      },
    },
  ],
  [
    "combined (Apache's documentation)",
    '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"',
    { fields: { referer: "http://www.example.com/start.html", user_agent: "Mozilla/4.08 [en] (Win98; I ;Nav)" } },
  ],
  [
    "vhost_combined (Debian's other_vhosts_access.log)",
    'example.org:80 ::1 - - [21/Nov/2026:08:43:01 +0000] "OPTIONS * HTTP/1.0" 200 126 "-" "Apache/2.4.57 (Debian) (internal dummy connection)"',
    { message: "OPTIONS * HTTP/1.0", fields: { vhost: "example.org:80", client: "::1", path: "*" } },
  ],
  [
    "a request that is none (nginx escapes what is no text)",
    String.raw`192.0.2.7 - - [21/Nov/2026:08:43:01 +0000] "\x16\x03\x01\"" 400 157 "-" "-"`,
    { message: String.raw`\x16\x03\x01\"`, fields: { client: "192.0.2.7", status: "400", bytes: "157" } },
  ],
  [
    "more than combined (nginx with $request_time)",
    '192.0.2.7 - a b [21/Nov/2026:08:43:01 +0000] "GET / HTTP/2.0" 304 0 "-" "curl/8.5" 0.002 "x"',
    { fields: { user: "a b", user_agent: "curl/8.5", rest: '0.002 "x"' } },
  ],
])("access line, %s", (_name, line, expected) => {
  const found = read(line);
  expect(found).toMatchObject({ format: "access", entry: expected });
  expect(Object.values(found?.entry.fields ?? {})).not.toContain("-");
});

test.each([
  '127.0.0.1 - - [99/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 1',
  '127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 2000 1',
  "127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] GET / 200 1",
])("no access line: %s", (line) => {
  expect(read(line)).toMatchObject({ format: "text", entry: { message: line } });
});

test.each([
  [
    "RFC 3164, 5.4 example 1",
    "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
    {
      application: "su",
      message: "'su root' failed for lonvick on /dev/pts/8",
      level: "crit",
      severityNumber: 18,
      fields: { facility: "auth", host: "mymachine" },
    },
  ],
  [
    "RFC 5424, 6.5 example 1, with a byte order mark",
    "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \uFEFF'su root' failed",
    {
      application: "su",
      message: "'su root' failed",
      timestamp: ns("2003-10-11T22:14:15.003Z"),
      fields: { facility: "auth", host: "mymachine.example.com", messageId: "ID47" },
    },
  ],
  [
    "RFC 5424, 6.5 example 4: structured data alone",
    '<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"][examplePriority@32473 class="high"]',
    {
      application: "evntslog",
      message: "",
      level: "notice",
      fields: {
        facility: "local4",
        "exampleSDID@32473.iut": "3",
        "exampleSDID@32473.eventSource": "Application",
        "exampleSDID@32473.eventID": "1011",
        "examplePriority@32473.class": "high",
      },
    },
  ],
  [
    "an element without parameters stays as it is written",
    "<165>1 2003-10-11T22:14:15.003Z - - - - [timeQuality] up",
    { application: "file", message: "up", fields: { facility: "local4", structured: "[timeQuality]" } },
  ],
])("syslog, %s", (_name, line, expected) => {
  expect(read(line)).toMatchObject({ format: "syslog", entry: expected });
});

test("a priority above 191 is none", () => {
  expect(read("<192>1 2003-10-11T22:14:15.003Z h app - - - x")).toMatchObject({ format: "text" });
});

test("a line that only its priority is known of", () => {
  expect(read("<11>disk is full")).toMatchObject({
    format: "syslog",
    entry: { message: "disk is full", level: "err", fields: { facility: "user" } },
  });
});

test("Debian's alternatives.log: the program stands before the time", () => {
  const line = "update-alternatives 2025-06-24 14:36:53: link group pager updated to point to /usr/bin/less";
  expect(read(line)?.entry).toMatchObject({
    application: "update-alternatives",
    message: "link group pager updated to point to /usr/bin/less",
    timestamp: BigInt(new Date("2025-06-24T14:36:53").getTime()) * 1_000_000n,
  });
});

test("systemd's journal as JSON: bytes that are no text, fields that come twice, what was left out", () => {
  const line = JSON.stringify({
    __CURSOR: "s=1;i=2",
    __REALTIME_TIMESTAMP: "1795250581000001",
    _SOURCE_REALTIME_TIMESTAMP: "1795250581000000",
    PRIORITY: "3",
    SYSLOG_IDENTIFIER: "sshd",
    _COMM: "sshd",
    CODE_FILE: "a.c",
    CODE_LINE: "7",
    MESSAGE: [103, 114, 252, 110],
    TAG: ["a", "b"],
    COREDUMP: null,
  });
  expect(read(line)?.entry).toEqual({
    message: "gr\uFFFDn",
    level: "error",
    severityNumber: 17,
    timestamp: 1_795_250_581_000_000_000n,
    application: "sshd",
    sourceFile: "a.c",
    lineNumber: 7,
    fields: {
      __CURSOR: "s=1;i=2",
      __REALTIME_TIMESTAMP: "1795250581000001",
      _COMM: "sshd",
      TAG: "a",
      TAG_: "b",
      COREDUMP: "null",
    },
  });
});

test("a format that was named is the only one: other lines are text", () => {
  const json = '{"level":30,"msg":"m"}';
  expect(read(json, "access")).toMatchObject({ format: "text", entry: { message: json } });
  expect(read("level=info msg=m", "json")).toMatchObject({ format: "text", entry: { message: "level=info msg=m" } });
  expect(read(json, "text")).toMatchObject({ format: "text" });
});

test.each([
  [
    "Docker",
    String.raw`{"log":"{\"msg\":\"hi\"}\n","stream":"stdout","attrs":{"tag":"web"},"time":"2026-11-21T08:43:01.123456789Z"}`,
    { format: "docker", text: '{"msg":"hi"}', isPartial: false, stream: "stdout", attributes: { tag: "web" } },
  ],
  [
    "Docker, a piece of a line",
    '{"log":"begins","stream":"stderr","time":"2026-11-21T08:43:01.1Z"}',
    { text: "begins", isPartial: true, stream: "stderr" },
  ],
  [
    "CRI",
    "2016-10-06T00:17:09.669794202Z stdout F The content of the log entry 1",
    { format: "cri", text: "The content of the log entry 1", isPartial: false, stream: "stdout" },
  ],
  ["CRI, a piece", "2016-10-06T00:17:09.669794202Z stdout P First line", { text: "First line", isPartial: true }],
  ["CRI, with more tags", "2016-10-06T00:17:09.66Z stderr F:x:y text", { text: "text", isPartial: false }],
  ["CRI, an empty line", "2016-10-06T00:17:10.113242941Z stderr F ", { text: "", isPartial: false }],
])("%s's wrapping is taken off", (_name, line, expected) => {
  expect(unwrapContainerLine(line)).toMatchObject(expected);
});

test.each([
  "2016-10-06T00:17:09Z stdout x text",
  "2016-10-06 00:17:09 stdout F text",
  '{"log":"a\\n","stream":"stdout","time":"soon"}',
  '{"log":"a\\n","stream":"stdout","time":"2026-11-21T08:43:01Z","more":1}',
  '{"log":"a\\n","level":"info"}',
])("no wrapping: %s", (line) => {
  expect(unwrapContainerLine(line)).toBeUndefined();
});
