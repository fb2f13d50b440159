import { expect, test } from "vitest";
import type { LogEvent } from "../store/events.ts";
import { createLogReporter } from "./log-reporter.ts";
import { createLogger, type LogRecord } from "./logger.ts";
import { StillClock } from "./testing/still-clock.ts";

function setUp() {
  const clock = new StillClock();
  const records: LogRecord[] = [];
  const write = (line: string) => records.push(JSON.parse(line) as LogRecord);
  const logger = createLogger({ format: "json", level: "trace", clock, write });
  return { clock, records, reporter: createLogReporter(logger, { log: "default", clock }) };
}

test.each<[LogEvent, string]>([
  [{ kind: "segment-sealed", first: 1, last: 9, bytes: 100 }, "debug"],
  [{ kind: "segment-removed", first: 1, last: 9, bytes: 100, reason: "age" }, "info"],
  [{ kind: "index-rebuilt", first: 1 }, "warn"],
  [{ kind: "fault", text: "sealing failed" }, "warn"],
  [{ kind: "damage-found", first: 3, last: 4 }, "error"],
  [{ kind: "read-only", cause: "a sync failed" }, "error"],
])("%o is told at level %s, with its facts", (event, level) => {
  const { records, reporter } = setUp();
  reporter.onEvent(event);
  const { kind, ...facts } = event;
  expect(records).toMatchObject([{ level, event: kind, log: "default", ...facts }]);
});

test("a full disk is told once a minute, however often it is met", () => {
  const { clock, records, reporter } = setUp();
  for (let i = 0; i < 100; i += 1) {
    reporter.onEvent({ kind: "disk-full" });
    clock.ms += 1000;
  }
  expect(records.map((each) => each.event)).toEqual(["disk-full", "disk-full"]);
});
