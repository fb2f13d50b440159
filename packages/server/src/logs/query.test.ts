import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { LogStreamRequestSchema, Order, SlowReader } from "@sluice/api";
import { describe, expect, test } from "vitest";
import { FieldNotBuilt, InvalidRequest } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { parseLogName } from "./log-name.ts";
import { type LogQuery, parseLogQuery } from "./query.ts";

function parse(init: MessageInitShape<typeof LogStreamRequestSchema>, hasControls = true): LogQuery {
  return parseLogQuery(create(LogStreamRequestSchema, init), DEFAULT_LIMITS, { hasControls, heartbeatMs: 30_000 });
}

function problemsOf(init: MessageInitShape<typeof LogStreamRequestSchema>): InvalidRequest["facts"] {
  try {
    parse(init);
  } catch (error) {
    if (error instanceof InvalidRequest) return error.facts;
    throw error;
  }
  throw new Error("the request passed");
}

describe("a query", () => {
  test("of an empty request is all of the default log's history", () => {
    expect(parse({})).toEqual({
      log: "default",
      applications: [],
      minSeverity: 0,
      startTimestamp: undefined,
      endTimestamp: undefined,
      terms: [],
      isFollowing: false,
      resumeAfter: "",
      isStrict: false,
      tail: undefined,
      limit: Number.POSITIVE_INFINITY,
      heartbeatMs: 30_000,
      hasControls: true,
    });
  });

  test("takes over what is asked for", () => {
    const init = {
      application: "a",
      applications: ["b", "a"],
      logLevel: "warning",
      startTimestamp: 5n,
      endTimestamp: 5n,
      filters: ["x", "k=v"],
      follow: true,
      log: "audit",
      resumeAfter: "c",
      strictCursor: true,
      tailLines: 0n,
      limit: 0n,
      heartbeatMs: 0,
      controlFrames: false,
      slowReader: SlowReader.CATCH_UP,
      order: Order.OLDEST_FIRST,
    };
    expect(parse(init)).toMatchObject({
      log: "audit",
      minSeverity: 13,
      startTimestamp: 5n,
      endTimestamp: 5n,
      isFollowing: true,
      resumeAfter: "c",
      isStrict: true,
      tail: 0,
      limit: 0,
      heartbeatMs: 0,
      hasControls: false,
    });
    expect([...parse(init).applications].toSorted()).toEqual(["a", "b"]);
    expect(parse(init).terms).toHaveLength(2);
  });

  test("has controls as the service has them, unless it says so itself", () => {
    expect([parse({}, false).hasControls, parse({ controlFrames: true }, false).hasControls]).toEqual([false, true]);
  });
});

describe("a bad query", () => {
  test.each([
    ["log", { log: "No Such" }, "INVALID_LOG_NAME"],
    ["log_level", { logLevel: "LOUD" }, "UNKNOWN_LEVEL"],
    ["filters[1]", { filters: ["x", "k>y"] }, "BAD_FILTER"],
    ["applications", { applications: Array.from({ length: 1025 }, (_, i) => `a${i}`) }, "TOO_MANY_APPLICATIONS"],
    ["tail_lines", { tailLines: -1n }, "BAD_COUNT"],
    ["limit", { limit: -1n }, "BAD_COUNT"],
    ["limit", { limit: 2n ** 53n }, "BAD_COUNT"],
    ["start_timestamp", { startTimestamp: -1n }, "BAD_FIELD"],
    ["end_timestamp", { endTimestamp: -1n }, "BAD_FIELD"],
    ["end_timestamp", { startTimestamp: 6n, endTimestamp: 5n }, "BAD_FIELD"],
    ["heartbeat_ms", { heartbeatMs: -1 }, "BAD_FIELD"],
  ])("is refused for its %s", (field, init, reason) => {
    expect(problemsOf(init)).toMatchObject({ reason, violations: [{ field }] });
  });

  test("is told all that is wrong with it", () => {
    const { violations } = problemsOf({ logLevel: "LOUD", filters: ["k>x", "ok", "k~("], limit: -5n });
    expect(violations?.map((each) => each.field)).toEqual(["log_level", "filters[0]", "filters[2]", "limit"]);
  });

  test.each([
    ["slow_reader", { slowReader: SlowReader.DROP_OLDEST }],
    ["slow_reader", { slowReader: SlowReader.SAMPLE }],
    ["slow_reader", { slowReader: SlowReader.DISCONNECT }],
    ["sample_per_second", { samplePerSecond: 1 }],
    ["order", { order: Order.NEWEST_FIRST }],
    ["batch_max_entries", { batchMaxEntries: 1 }],
    ["batch_max_delay_ms", { batchMaxDelayMs: 1 }],
  ])("that wants what is not built yet is told which field: %s", (field, init) => {
    expect(() => parse(init)).toThrow(FieldNotBuilt);
    expect(() => parse(init)).toThrow(field);
  });
});

test.each([
  ["", true],
  ["default", true],
  ["a", true],
  ["a.b-c_9", true],
  ["x".repeat(63), true],
  ["x".repeat(64), false],
  ["-a", false],
  [".a", false],
  ["A", false],
  ["a/b", false],
  ["../a", false],
  ["ä", false],
  ["a\n", false],
])("the name of a log: %j", (name, isValid) => {
  if (isValid) expect(parseLogName(name)).toBe(name === "" ? "default" : name);
  else expect(() => parseLogName(name)).toThrow(InvalidRequest);
});
