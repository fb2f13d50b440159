import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema, LogStreamRequestSchema } from "@sluice/api";
import { type FrameSource, frameOf } from "@sluice/rpc";
import { afterEach, describe, expect, test, vi } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { allowAll, SERVER_SUBJECT } from "../security/authorize.ts";
import { systemClock } from "../store/clock.ts";
import type { EntryRun } from "../store/contract.ts";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { openLog } from "../store/log.ts";
import { selectFrames } from "../stream/frame-filter.ts";
import { entriesOf, PulledStream } from "../stream/testing/pulled-stream.ts";
import { parseFilters } from "./filter.ts";
import { entryFrameCodec } from "./frame-codec.ts";
import { EntryMatcher } from "./matcher.ts";
import { createLogService, serveLog } from "./service.ts";
import { SharedMatchers } from "./shared-matcher.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

const termsOf = (...filters: string[]) => parseFilters(filters, DEFAULT_LIMITS);

test("a thousand followers with ten filters cost ten looks at an entry, and each gets what its filter lets through", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sluice-shared-"));
  const calls: FakeCall[] = [];
  try {
    await using log = await openLog({
      folder: join(folder, "default"),
      name: "default",
      fileSystem: nodeFileSystem,
      clock: systemClock,
      codec: entryFrameCodec,
    });
    const service = createLogService({ logs: [serveLog("default", log)], authorize: allowAll, clock: systemClock });
    const { streamLogs } = service.handlers;
    if (typeof streamLogs !== "function") throw new Error("streamLogs takes messages");
    const streams = Array.from({ length: 1000 }, (_, i) => {
      const call = new FakeCall();
      calls.push(call);
      // Spelled in two ways; each second one asks the index for something as well.
      const filters = i % 20 < 10 ? [`n>=${i % 10}`, "entry"] : ['"entry"', `n>=${i % 10}`];
      const query = { follow: true, tailLines: 0n, filters, logLevel: i % 2 === 0 ? "" : "INFO" };
      return new PulledStream(streamLogs(create(LogStreamRequestSchema, query), call) as FrameSource);
    });
    await expect.poll(() => streams.every(({ events }) => events.includes("sync"))).toBe(true);

    const matches = vi.spyOn(EntryMatcher.prototype, "matches");
    const candidates = vi.spyOn(EntryMatcher.prototype, "candidate");
    const entries = Array.from({ length: 5 }, (_, n) => ({
      message: `entry ${n}`,
      level: n === 3 ? "DEBUG" : "ERROR",
      fields: { n: String(n) },
    }));
    await service.ingest(SERVER_SUBJECT, { entries });
    const expected = (i: number) => [0, 1, 2, 3, 4].filter((n) => n >= i % 10 && (i % 2 === 0 || n !== 3));
    await expect
      .poll(() => streams.every((each, i) => each.entries.length === expected(i).length), { timeout: 20_000 })
      .toBe(true);
    streams.forEach((each, i) => {
      expect(each.entries.map(({ fields }) => Number(fields["n"]))).toEqual(expected(i));
    });
    // Five entries, or the four of them that the index lets through, for ten filters.
    expect(matches.mock.calls.length).toBe(5 * 5 + 5 * 4);
    expect(candidates.mock.calls.length).toBeLessThanOrEqual(matches.mock.calls.length + 10);
  } finally {
    for (const call of calls) call.end();
    await rm(folder, { recursive: true });
  }
});

function runOf(messages: readonly string[], isShared: boolean): EntryRun {
  const frames = messages.map((message, i) =>
    frameOf(toBinary(LogEntrySchema, create(LogEntrySchema, { message, sequence: BigInt(i + 1) }))),
  );
  const starts = new Uint32Array(frames.length + 1);
  frames.forEach((frame, i) => {
    starts[i + 1] = starts[i]! + frame.length;
  });
  return {
    kind: "entries",
    first: 1,
    last: frames.length,
    count: frames.length,
    bytes: Buffer.concat(frames),
    starts,
    isShared,
  };
}

const all = { from: 0, countMax: Number.POSITIVE_INFINITY, isLate: () => false };
const sequences = (bytes: Uint8Array) => entriesOf(bytes).map(({ sequence }) => Number(sequence));

describe("a filter that several readers have", () => {
  test("is one for those who say the same, and is forgotten when the last of them has gone", () => {
    const matchers = new SharedMatchers();
    const one = matchers.join(termsOf("a~x|y", "b>1", "level>=warn"));
    const same = matchers.join(termsOf("level>=WARNING", '"b">1', "a~x|y", "a~x|y"));
    const other = matchers.join(termsOf("a~x|z", "b>1", "level>=warn"));
    expect(same.matcher).toBe(one.matcher);
    expect(other.matcher).not.toBe(one.matcher);
    expect(matchers.count).toBe(2);
    for (const filter of [one, other]) matchers.leave(filter);
    expect(matchers.count).toBe(1);
    matchers.leave(same);
    expect(matchers.count).toBe(0);
  });

  test("goes on with a long run where another reader left it, in the middle of an entry too", () => {
    const long = "ab".repeat(40_000);
    const run = runOf(["c", `${long}c`, "x", `${long}c`, long], true);
    const filters = ["message!~d", "message!~e", "message!~f", "-xx", "c"];
    const matchers = new SharedMatchers();
    const readers = Array.from({ length: 3 }, () => matchers.join(termsOf(...filters)));
    let turns = 0;
    for (;;) {
      const selection = selectFrames(run, readers[turns % 3]!, { ...all, isLate: () => true });
      turns++;
      if (selection.next === 0) continue;
      expect(selection).toMatchObject({ next: 5, count: 3 });
      expect(sequences(selection.bytes)).toEqual([1, 2, 4]);
      break;
    }
    expect(turns).toBeGreaterThan(2);
    const looks = vi.spyOn(EntryMatcher.prototype, "matches");
    for (const reader of readers) expect(sequences(selectFrames(run, reader, all).bytes)).toEqual([1, 2, 4]);
    expect(looks).not.toHaveBeenCalled();
  });

  test("gives who has a limit no more, and who is at another place what is there", () => {
    const run = runOf(["c1", "c2", "x", "c3"], true);
    const filter = new SharedMatchers().join(termsOf("c"));
    expect(sequences(selectFrames(run, filter, { ...all, countMax: 2 }).bytes)).toEqual([1, 2]);
    expect(sequences(selectFrames(run, filter, { ...all, from: 1 }).bytes)).toEqual([2, 4]);
    expect(sequences(selectFrames(run, filter, all).bytes)).toEqual([1, 2, 4]);
  });

  test("shares nothing of what is each reader's own", () => {
    const run = runOf(["c1", "x"], false);
    const matchers = new SharedMatchers();
    const looks = vi.spyOn(EntryMatcher.prototype, "matches");
    for (let i = 0; i < 3; i++) selectFrames(run, matchers.join(termsOf("c")), all);
    expect(looks).toHaveBeenCalledTimes(3);
  });
});
