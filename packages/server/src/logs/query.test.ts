import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { LogStreamRequestSchema, Order, SlowReader } from "@sluice/api";
import { describe, expect, test } from "vitest";
import { InvalidRequest } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { parseLogName } from "./log-name.ts";
import { type LogQuery, parseLogQuery } from "./query.ts";

type Init = MessageInitShape<typeof LogStreamRequestSchema>;

function parse(init: Init, hasControls = true, hasBatches = false): LogQuery {
  const defaults = { hasControls, heartbeatMs: 30_000, hasBatches };
  return parseLogQuery(create(LogStreamRequestSchema, init), DEFAULT_LIMITS, defaults);
}

function problemsOf(init: Init, hasBatches = false): InvalidRequest["facts"] {
  try {
    parse(init, true, hasBatches);
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
      slowReader: undefined,
      isNewestFirst: false,
      untilCursor: "",
      batch: undefined,
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

  test.each<[string, Init]>([
    ["slow_reader", { slowReader: SlowReader.DROP_OLDEST }],
    ["slow_reader", { slowReader: 9 as SlowReader, follow: true }],
    ["sample_per_second", { slowReader: SlowReader.SAMPLE, follow: true }],
    ["sample_per_second", { slowReader: SlowReader.SAMPLE, follow: true, samplePerSecond: 1_000_001 }],
    ["sample_per_second", { slowReader: SlowReader.DISCONNECT, follow: true, samplePerSecond: 5 }],
    ["lag_max_entries", { lagMaxEntries: 5n, follow: true }],
    ["lag_max_entries", { slowReader: SlowReader.DROP_OLDEST, lagMaxEntries: 0n, follow: true }],
    ["order", { order: Order.NEWEST_FIRST, follow: true }],
    ["order", { order: Order.NEWEST_FIRST, tailLines: 5n }],
    ["order", { order: Order.NEWEST_FIRST, untilCursor: "x" }],
    ["order", { order: 7 as Order }],
    ["batch_max_entries", { batchMaxEntries: 1 }],
    ["batch_max_delay_ms", { batchMaxDelayMs: 1 }],
  ])("is refused when its fields do not fit together: %s", (field, init) => {
    expect(problemsOf(init)).toMatchObject({ reason: "BAD_FIELD", violations: [{ field }] });
  });

  test.each<[string, Init]>([
    ["batch_max_entries", { batchMaxEntries: -1 }],
    ["batch_max_entries", { batchMaxEntries: 65_537 }],
    ["batch_max_delay_ms", { batchMaxDelayMs: -1 }],
    ["batch_max_delay_ms", { batchMaxDelayMs: 60_001 }],
  ])("is refused for batches out of bounds: %s", (field, init) => {
    expect(problemsOf(init, true)).toMatchObject({ reason: "BAD_FIELD", violations: [{ field }] });
  });
});

test("what a slow reader wants has defaults", () => {
  const { slowReader } = parse({ slowReader: SlowReader.DROP_OLDEST, follow: true });
  expect(slowReader).toEqual({ kind: "drop-oldest", lagMaxEntries: 10_000 });
  const sample = parse({ slowReader: SlowReader.SAMPLE, samplePerSecond: 7, lagMaxEntries: 3n, follow: true });
  expect(sample.slowReader).toEqual({ kind: "sample", lagMaxEntries: 3, perSecond: 7 });
  const disconnect = parse({ slowReader: SlowReader.DISCONNECT, lagMaxEntries: 3n, follow: true });
  expect(disconnect.slowReader).toEqual({ kind: "disconnect", lagMaxEntries: 3 });
  expect(parse({ slowReader: SlowReader.CATCH_UP }).slowReader).toBeUndefined();
});

test("batches have a default size, and are for StreamLogBatches", () => {
  expect(parse({}, true, true).batch).toEqual({ entriesMax: 1000, delayMs: 0 });
  expect(parse({ batchMaxEntries: 5, batchMaxDelayMs: 9 }, true, true).batch).toEqual({ entriesMax: 5, delayMs: 9 });
  expect(parse({}).batch).toBeUndefined();
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
