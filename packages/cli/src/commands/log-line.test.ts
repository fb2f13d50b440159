import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/client";
import { expect, test } from "vitest";
import { formatLogLine, formatTime } from "./log-line.ts";

const line = (entry: MessageInitShape<typeof LogEntrySchema>): string =>
  formatLogLine(create(LogEntrySchema, { timestamp: 1_700_000_000_123_456_789n, application: "a", ...entry }), {
    paint: (style, text) =>
      typeof style === "string" && ["red", "green"].includes(style) ? `<${style}>${text}</>` : text,
    isUtc: true,
  });

test("time, severity, application, message, fields, source", () => {
  const entry = {
    level: "info",
    severityNumber: 9,
    message: "hi",
    fields: { k: "v" },
    sourceFile: "a.ts",
    lineNumber: 7,
  };
  expect(line(entry)).toBe("2023-11-14 22:13:20.123Z <green>INFO </> a: hi k=v (a.ts:7)");
});

test.each([
  [{ severityNumber: 17 }, "<red>ERROR</>"],
  [{ severityNumber: 20, level: "panic" }, "<red>PANIC</>"],
  [{ level: "odd" }, "ODD  "],
  [{}, "-    "],
])("severity of %j", (entry, expected) => {
  expect(line(entry)).toBe(`2023-11-14 22:13:20.123Z ${expected} a: `);
});

test.each([
  [{ a: "" }, 'a=""'],
  [{ a: "x y" }, 'a="x y"'],
  [{ a: "k=v" }, 'a="k=v"'],
  [{ a: 'say "hi"' }, 'a="say \\"hi\\""'],
  [{ a: "two\nlines" }, 'a="two\\nlines"'],
])("field %j", (fields, expected) => {
  expect(line({ fields })).toContain(` ${expected}`);
});

test("nothing in an entry steers the terminal or looks like a line of its own", () => {
  const evil = "\u001b]0;title\u0007\r\u009b2J\u007f";
  const printed = line({ message: `${evil}\nsecond`, application: evil, level: evil, fields: { [evil]: evil } });
  // What is left of control characters is the newline of the message, and the next line is indented.
  expect(printed.replaceAll("\n    ", "")).not.toMatch(/\p{Cc}/u);
  expect(printed).toContain("\\x1b]0;title\\x07\\x0d\\x9b2J\\x7f\n    second");
});

test("the last and the earliest time that an entry can have", () => {
  expect(formatTime(9_223_372_036_854_775_807n, true)).toBe("2262-04-11 23:47:16.854Z");
  expect(formatTime(-9_223_372_036_854_775_808n, true)).toBe("1677-09-21 00:12:43.146Z");
});
