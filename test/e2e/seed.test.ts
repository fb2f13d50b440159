// The three promises that the log service began with: against a real server, over a real socket, through the
// unversioned service and its first five request fields.
import { expect, test } from "vitest";
import { collect, takeEntries } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";

const logs = useLogServer("seed");

const MINUTE_NS = 60_000_000_000n;
const NOON_NS = 1_700_000_000_000_000_000n;

test("Historical logs", async () => {
  await logs.client.write(
    { application: "history", level: "INFO", timestamp: NOON_NS - MINUTE_NS, message: "too early" },
    { application: "history", level: "INFO", timestamp: NOON_NS, message: "first", fields: { user: "ada" } },
    { application: "other", level: "INFO", timestamp: NOON_NS, message: "somebody else's" },
    {
      application: "history",
      level: "WARN",
      timestamp: NOON_NS + MINUTE_NS,
      message: "second",
      sourceFile: "a.ts",
      lineNumber: 7,
    },
  );
  const entries = await collect(logs.client.seed.streamLogs({ application: "history", startTimestamp: NOON_NS }));
  expect(entries).toMatchObject([
    { timestamp: NOON_NS, level: "INFO", application: "history", message: "first", fields: { user: "ada" } },
    { timestamp: NOON_NS + MINUTE_NS, level: "WARN", message: "second", sourceFile: "a.ts", lineNumber: 7 },
  ]);
  await expect(collect(logs.client.seed.streamLogs({ application: "never wrote" }))).resolves.toEqual([]);
});

test("Follow mode", async () => {
  await logs.client.write({ application: "live", message: "before" });
  const stream = logs.client.seed.streamLogs({ application: "live", follow: true });
  const [before] = await takeEntries(stream, 1);
  expect(before?.message).toBe("before");

  for (const message of ["one", "two", "three"]) {
    const next = takeEntries(stream, 1);
    await logs.client.write({ application: "quiet", message: "not followed" }, { application: "live", message });
    expect((await next).map((each) => each.message)).toEqual([message]);
  }
  await stream.return?.();
});

test("Filter by level", async () => {
  const levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
  await logs.client.write(...levels.map((level) => ({ application: "levels", level, message: `at ${level}` })));
  for (const [place, level] of levels.entries()) {
    const entries = await collect(
      logs.client.seed.streamLogs({ application: "levels", logLevel: level.toLowerCase() }),
    );
    expect(entries.map((each) => each.level)).toEqual(levels.slice(place));
  }
  const filtered = logs.client.seed.streamLogs({ application: "levels", logLevel: "WARNING", filters: ["-FATAL"] });
  expect((await collect(filtered)).map((each) => each.level)).toEqual(["WARN", "ERROR"]);
});
