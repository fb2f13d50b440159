import { expect, test } from "vitest";
import { createLogger, formatRecord } from "./logger.ts";
import { StillClock } from "./testing/still-clock.ts";

const clock = new StillClock();

test("as JSON a record is one object a line, with level by name and ISO time", () => {
  const lines: string[] = [];
  const logger = createLogger({ format: "json", level: "info", clock, write: (line) => lines.push(line) });
  logger.info({ event: "listening", address: "127.0.0.1:8080" }, "listening on 127.0.0.1:8080");
  logger.debug("not written");
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    {
      level: "info",
      time: "2023-11-14T22:13:20.123Z",
      event: "listening",
      address: "127.0.0.1:8080",
      message: "listening on 127.0.0.1:8080",
    },
  ]);
  expect(lines[0]).toMatch(/^\{[^\n]*\}\n$/u);
});

test("as text a record is a sentence with its facts; an error shows its stack in the same line", () => {
  const lines: string[] = [];
  const logger = createLogger({ format: "text", level: "trace", clock, write: (line) => lines.push(line) });
  logger.warn({ log: "default", file: "a b", count: 3 }, "cut a torn tail");
  logger.error({ error: new TypeError("x is none") }, "failed");
  expect(lines[0]).toBe('22:13:20.123 WARN  cut a torn tail log=default file="a b" count=3\n');
  expect(lines[1]).toMatch(/^22:13:20\.123 ERROR failed error="TypeError: x is none\\n[^\n]*"\n$/u);
});

test.each([
  ["listening", "listening on x:1"],
  ["listening-health", "listening for health on x:1"],
])("the line that scripts wait for is bare: %s", (event, message) => {
  expect(formatRecord({ level: "info", time: "", event, address: "x:1", message })).toBe(`${message}\n`);
});

test("a copy of each record goes to whoever keeps it, as JSON", () => {
  const copies: string[] = [];
  const logger = createLogger({
    format: "text",
    level: "info",
    clock,
    write: () => {},
    copy: (line) => copies.push(line),
  });
  logger.info({ a: 1 }, "hello");
  expect(copies.map((line) => JSON.parse(line) as unknown)).toMatchObject([{ level: "info", a: 1, message: "hello" }]);
});
