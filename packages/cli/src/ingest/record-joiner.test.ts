import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JoinRule } from "./join-rule.ts";
import { LINE_BYTES_MAX, LineSplitter, type Piece } from "./line-splitter.ts";
import type { LineFormat } from "./read-line.ts";
import { RecordJoiner } from "./record-joiner.ts";

const traces: JoinRule = { kind: "traces" };

function openJoiner(rule: JoinRule = traces, format: LineFormat = "auto") {
  const counts = { lines: 0, blank: 0, pieces: 0, replaced: 0 };
  const source = { application: "a", isFixed: true, nowMs: Date.parse("2026-11-21T12:00:00Z"), format };
  return { counts, joiner: new RecordJoiner(rule, source, counts) };
}

function piecesOf(text: string, offset = 0): Piece[] {
  const splitter = new LineSplitter(offset);
  const pieces = [...splitter.push(Buffer.from(text))];
  const rest = splitter.end();
  return rest === undefined ? pieces : [...pieces, rest];
}

/** The records of a text that ends. */
function join(text: string, rule: JoinRule = traces, format: LineFormat = "auto") {
  const { joiner, counts } = openJoiner(rule, format);
  const records = piecesOf(text).flatMap((piece) => joiner.push(piece));
  records.push(...joiner.cut());
  return { counts, entries: records.map(({ entry }) => entry), messages: records.map(({ entry }) => entry.message) };
}

describe("stack traces belong to the line before them", () => {
  // In the forms that these runtimes print.
  test.each([
    [
      "Node 26",
      [
        "[2026-11-21 08:43:01] ERROR: no teapot",
        "TypeError: Cannot read properties of undefined (reading 'lid')",
        "    at brew (file:///srv/shop.js:3:15)",
        "    at async main (file:///srv/shop.js:9:3) {",
        "  [cause]: Error: cold",
        "      at boil (file:///srv/shop.js:1:7)",
        "}",
      ],
    ],
    [
      "Python 3.13, chained, behind logging.exception",
      [
        "2026-11-21 08:43:01,123 ERROR shop no teapot",
        "Traceback (most recent call last):",
        '  File "/srv/shop.py", line 3, in brew',
        "    return pots[0]",
        "           ~~~~^^^",
        "IndexError: list index out of range",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        '  File "/srv/shop.py", line 9, in main',
        "    brew()",
        "shop.NoTeapot: sold out",
      ],
    ],
    [
      "Java 21",
      [
        "2026-11-21 08:43:01,123 [main] ERROR c.s.Shop - no teapot",
        "java.lang.IllegalStateException: sold out",
        "\tat com.shop.Shop.brew(Shop.java:12)",
        "\tat com.shop.Shop.main(Shop.java:5)",
        "\tSuppressed: java.io.IOException: close",
        "\t\tat com.shop.Pot.close(Pot.java:3)",
        "Caused by: java.lang.NullPointerException",
        "\t... 2 more",
      ],
    ],
    [
      "Go 1.26",
      [
        "panic: runtime error: index out of range [3] with length 3",
        "",
        "goroutine 1 [running]:",
        "main.brew(...)",
        "\t/srv/shop.go:7",
        "main.main()",
        "\t/srv/shop.go:12 +0x1d",
        "",
        "goroutine 18 [chan receive]:",
        "main.wait(0xc000012345)",
        "\t/srv/shop.go:20 +0x2a",
        "created by main.main in goroutine 1",
        "\t/srv/shop.go:11 +0x50",
        "exit status 2",
      ],
    ],
    [
      "Rust 1.84",
      [
        "thread 'main' panicked at src/main.rs:4:9:",
        "no teapot",
        "stack backtrace:",
        "   0: rust_begin_unwind",
        "note: run with `RUST_BACKTRACE=full` for a verbose backtrace",
      ],
    ],
    ["what was printed over several lines", ["config: {", '  "listen": "127.0.0.1:8080",', "}"]],
  ])("%s", (_name, lines) => {
    const { messages, counts } = join(`before\n${lines.join("\n")}\n2026-11-21T08:43:02Z INFO after\n`);
    expect(messages).toHaveLength(3);
    expect(messages[0]).toBe("before");
    expect(messages[1]?.split("\n").slice(1)).toEqual(lines.slice(1));
    expect(messages[2]).toBe("after");
    expect(counts).toMatchObject({ lines: lines.length + 2, blank: 0 });
  });

  test.each([
    ["a trace behind a line that tells of nothing bad", ["INFO served", "Traceback (most recent call last):"]],
    ["an exception behind such a line", ["INFO served", "ValueError: x"]],
    ["a line without indentation", ["ERROR a", "b"]],
    ["an indented line behind a blank one", ["ERROR a", "", "  b"]],
    ["goroutines that nobody panicked for", ["INFO a", "goroutine 1 [running]:"]],
    ["the line behind Python's exception", ["Traceback (most recent call last):", "ValueError: x", "next"]],
    ["a closing bracket behind a single line", ["ERROR a", "}"]],
  ])("%s is a record of its own", (_name, lines) => {
    const { messages, counts } = join(`${lines.join("\n")}\n`);
    const last = lines.at(-1);
    expect(messages.at(-1)?.trim()).toBe(last?.trim());
    expect(messages.join("\n").split("\n").length + counts.blank).toBe(lines.length);
  });

  test("lines of JSON, of logfmt and of syslog are records whatever comes behind them", () => {
    const { messages } = join('{"msg":"a"}\n  b\nlevel=info msg=c\n  d\n<34>Oct 11 22:14:15 h su: e\n  f\n');
    expect(messages).toEqual(["a", "  b", "c", "  d", "e", "  f"]);
  });
});

test.each<[string, JoinRule, string, string[]]>([
  ["none", { kind: "none" }, "ERROR a\n  b\n", ["a", "  b"]],
  ["time", { kind: "time" }, "2026-11-21 08:43:01 a\nb\n\nc\n2026-11-21 08:43:02 d\n", ["a\nb\n\nc", "d"]],
  ["time: a line of JSON begins a record", { kind: "time" }, '2026-11-21 08:43:01 a\n{"msg":"b"}\n', ["a", "b"]],
  [
    "a pattern",
    { kind: "start", pattern: /^BEGIN/u },
    "x\ny\nBEGIN 1\nb\nBEGIN 2\n",
    ["x\ny", "BEGIN 1\nb", "BEGIN 2"],
  ],
])("the rule %s", (_name, rule, text, expected) => {
  expect(join(text, rule).messages).toEqual(expected);
});

describe("containers", () => {
  const cri = (stream: string, tag: string, text: string): string =>
    `2026-11-21T08:43:01.123456789Z ${stream} ${tag} ${text}\n`;

  test("pieces of a line are put together, each stream by itself, and a trace is joined across the other stream", () => {
    const text =
      cri("stdout", "P", '{"msg":"one') +
      cri("stderr", "F", "ERROR broken") +
      cri("stdout", "F", ' line"}') +
      cri("stderr", "F", "  at b") +
      cri("stdout", "F", "two") +
      cri("stderr", "P", "  at ") +
      cri("stderr", "F", "c");
    const { messages, entries, counts } = join(text);
    expect(messages).toEqual(["one line", "broken\n  at b\n  at c", "two"]);
    expect(entries.map(({ fields }) => fields?.["stream"])).toEqual(["stdout", "stderr", "stdout"]);
    expect(counts.lines).toBe(7);
  });

  test("the runtime's time is the entry's, unless the line has its own", () => {
    const own = '{"time":1700000000000,"msg":"m"}';
    const { entries } = join(cri("stdout", "F", "plain") + cri("stdout", "F", own));
    expect(entries.map(({ timestamp, fields }) => [timestamp, fields?.["container_time"]])).toEqual([
      [1_795_250_581_123_456_789n, undefined],
      [1_700_000_000_000_000_000n, "2026-11-21T08:43:01.123456789Z"],
    ]);
  });

  test("the time of a line in pieces is its first one's", () => {
    const piece = (second: number, tag: string) => `2026-11-21T08:43:0${second}Z stdout ${tag} text\n`;
    const { entries } = join(piece(1, "P") + piece(2, "P") + piece(3, "F"));
    expect(entries).toMatchObject([{ message: "texttexttext", timestamp: 1_795_250_581_000_000_000n }]);
  });

  test("Docker's pieces are put together too", () => {
    const docker = (log: string): string =>
      `${JSON.stringify({ log, stream: "stdout", time: "2026-11-21T08:43:01Z" })}\n`;
    const { messages } = join(docker("a".repeat(16 * 1024)) + docker("b\n") + docker("c\n"));
    expect(messages).toEqual([`${"a".repeat(16 * 1024)}b`, "c"]);
  });

  test("a line that never ends is given out in entries of a bounded size", () => {
    const { messages } = join(cri("stdout", "P", "x".repeat(16_000)).repeat(50));
    expect(messages.join("").length).toBe(50 * 16_000);
    expect(Math.max(...messages.map((message) => message?.length ?? 0))).toBeLessThan(LINE_BYTES_MAX + 16_000);
  });
});

test("a record that is too long goes on in further entries, numbered, with nothing missing", () => {
  const lines = Array.from({ length: 2500 }, (_, i) => `  at ${i}`);
  const { entries, messages } = join(`ERROR a\n${lines.join("\n")}\n`);
  expect(messages.join("\n").split("\n")).toEqual(["a", ...lines]);
  expect(entries.map(({ fields }) => fields?.["part"])).toEqual(["1", "2", "3"]);
});

test("a line that is too long ends what was open before it", () => {
  const long = "x".repeat(LINE_BYTES_MAX + 1);
  const { messages } = join(`ERROR a\n${long}\n  b\n`);
  expect(messages).toEqual(["a", "x".repeat(LINE_BYTES_MAX), "x", "  b"]);
});

test("whatever is open ends at a cut, and what follows begins anew", () => {
  const { joiner } = openJoiner();
  const [one, two, three] = piecesOf("ERROR a\n  b\n  c\n");
  if (one === undefined || two === undefined || three === undefined) throw new Error("three lines");
  expect([...joiner.push(one), ...joiner.push(two)]).toEqual([]);
  expect(joiner.openSince).toBe(0);
  expect(joiner.cut().map(({ entry }) => entry.message)).toEqual(["a\n  b"]);
  expect(joiner.openSince).toBeUndefined();
  expect(joiner.push(three)).toEqual([]);
  expect(joiner.cut().map(({ entry }) => entry.message)).toEqual(["  c"]);
});

test("a stream that keeps a record open does not keep reading from beginning anew for ever", () => {
  const { joiner } = openJoiner();
  const line = (stream: string, text: string) => `2026-11-21T08:43:01Z ${stream} F ${text}\n`;
  const text = line("stderr", "ERROR open") + line("stdout", '{"msg":"m"}').repeat(1000);
  let longest = 0;
  let open = 0;
  for (const piece of piecesOf(text)) {
    joiner.push(piece);
    open = joiner.openSince === undefined ? 0 : open + 1;
    longest = Math.max(longest, open);
  }
  expect(longest).toBeLessThanOrEqual(257);
});

/** Lines of all kinds, in any order. */
const anyLine = fc.oneof(
  fc.constantFrom("ERROR a", "b", "  at x", "\tat y", "", "Traceback (most recent call last):", "ValueError: x"),
  fc.constantFrom('{"msg":"json"}', "level=info msg=m", "panic: x", "goroutine 1 [running]:", "main.main()", "}"),
  fc.constantFrom("2026-11-21 08:43:01 INFO t", "<34>Oct 11 22:14:15 h su: s"),
  fc
    .tuple(
      fc.constantFrom("stdout", "stderr"),
      fc.constantFrom("P", "F"),
      fc.constantFrom("ERROR e", "  at z", "w", ""),
    )
    .map(([stream, tag, text]) => `2026-11-21T08:43:01Z ${stream} ${tag} ${text}`),
);
const anyRule = fc.constantFrom<JoinRule>(traces, { kind: "time" }, { kind: "none" }, { kind: "start", pattern: /a/u });

test("from any clean place on, the same records come in the same order, cuts included", () => {
  fc.assert(
    fc.property(fc.array(anyLine, { maxLength: 60 }), anyRule, fc.array(fc.nat(60)), (lines, rule, cutsAfter) => {
      const pieces = piecesOf(lines.map((line) => `${line}\n`).join(""));
      const { joiner } = openJoiner(rule);
      const records: string[] = [];
      /** How many records lie before each clean place: by the number of the first piece behind it. */
      const clean = new Map([[0, 0]]);
      for (const [i, piece] of pieces.entries()) {
        records.push(...joiner.push(piece).map(({ entry }) => JSON.stringify(entry.message)));
        if (joiner.openSince === piece.start) clean.set(i, records.length);
        if (cutsAfter.includes(i)) records.push(...joiner.cut().map(({ entry }) => JSON.stringify(entry.message)));
        if (joiner.openSince === undefined) clean.set(i + 1, records.length);
      }
      records.push(...joiner.cut().map(({ entry }) => JSON.stringify(entry.message)));
      for (const [from, count] of clean) {
        const again = openJoiner(rule).joiner;
        const repeated: string[] = [];
        for (const [i, piece] of pieces.entries()) {
          if (i < from) continue;
          repeated.push(...again.push(piece).map(({ entry }) => JSON.stringify(entry.message)));
          if (cutsAfter.includes(i)) repeated.push(...again.cut().map(({ entry }) => JSON.stringify(entry.message)));
        }
        repeated.push(...again.cut().map(({ entry }) => JSON.stringify(entry.message)));
        expect(repeated).toEqual(records.slice(count));
      }
    }),
    { numRuns: 300 },
  );
});

test("no line is lost, and none comes twice", () => {
  fc.assert(
    fc.property(fc.array(anyLine, { maxLength: 60 }), anyRule, (kinds, rule) => {
      const lines = kinds
        .filter((line) => line !== "" && !line.endsWith("F "))
        .map((line, i) => `${line.replace(/^\{.*/u, "b")} #${i}#`);
      const { messages, counts } = join(lines.map((line) => `${line}\n`).join(""), rule);
      const numbers = messages.flatMap((message) =>
        [...(message ?? "").matchAll(/#(\d+)#/gu)].map(([, n]) => Number(n)),
      );
      expect(numbers.toSorted((a, b) => a - b)).toEqual(lines.map((_, i) => i));
      expect(counts.lines).toBe(lines.length);
    }),
    { numRuns: 300 },
  );
});
