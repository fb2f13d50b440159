import { fromBinary } from "@bufbuild/protobuf";
import { LogEntrySchema, type LogEntry } from "@sluice/api";
import { expect, test } from "vitest";
import { MessageReader } from "./clients/grpc-messages.ts";
import { makeLogLines, selective } from "./log-lines.ts";

test("lines and frames say the same, mostly different things, and one in a hundred is what is selected", () => {
  const { frames, text } = makeLogLines(5000);
  const entries: LogEntry[] = new MessageReader().take(frames).map((message) => fromBinary(LogEntrySchema, message));
  const lines = text.toString().trimEnd().split("\n");
  expect(entries).toHaveLength(5000);
  expect(lines).toHaveLength(5000);
  entries.forEach(({ level, application, message, fields }, i) => {
    expect(lines[i]).toContain(` ${level} ${application} ${message} trace_id=${fields["trace_id"]} `);
  });
  expect(new Set(lines.map((line) => line.slice(line.indexOf("trace_id")))).size).toBe(5000);
  const selected = entries.filter(
    ({ level, application }) => ["WARN", "ERROR"].includes(level) && application === selective.application,
  );
  expect(selected.length).toBeGreaterThan(5000 * selective.share * 0.7);
  expect(selected.length).toBeLessThan(5000 * selective.share * 1.4);
});
