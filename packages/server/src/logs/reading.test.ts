// What readers may ask for beyond a plain stream, over a log in files.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  CountGroup,
  CountLogsRequestSchema,
  type CountLogsResponse,
  CountLogsResponseSchema,
  GetLogContextRequestSchema,
  type GetLogContextResponse,
  GetLogContextResponseSchema,
  type LogEntry,
  Order,
} from "@sluice/api";
import type { Frames } from "@sluice/rpc";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidRequest } from "../errors.ts";
import { cursorOf } from "../stream/cursor.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";
import {
  messagesIn,
  type NewEntry,
  openTestService,
  type StreamQuery,
  type TestService,
} from "./testing/test-service.ts";

/** Small segments, so that a few hundred entries fill several. */
const SMALL = { segmentBytes: 16 * 1024, groupBytesMax: 4096, tailBytes: 4096 };
const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

const hundreds = (count: number): NewEntry[] =>
  Array.from({ length: count }, (_, i) => ({
    timestamp: BigInt(1_000_000 + i),
    application: i % 3 === 0 ? "shop" : "cart",
    level: LEVELS[i % 5]!,
    message: `m${i}`,
    fields: { i: String(i) },
  }));

async function openFilled(count: number): Promise<TestService> {
  const opened = await openTestService(SMALL);
  const entries = hundreds(count);
  for (let from = 0; from < count; from += 50) await opened.write(...entries.slice(from, from + 50));
  return opened;
}

const isEntry = ({ control }: LogEntry): boolean => control === undefined;
const sequencesOf = (entries: readonly LogEntry[]): number[] =>
  entries.filter(isEntry).map(({ sequence }) => Number(sequence));

async function count(
  { service }: TestService,
  init: MessageInitShape<typeof CountLogsRequestSchema>,
): Promise<CountLogsResponse> {
  const handler = service.handlers.countLogs;
  if (typeof handler !== "function") throw new Error("no handler");
  const answer = (await handler(create(CountLogsRequestSchema, init), new FakeCall())) as Frames;
  return messagesIn(CountLogsResponseSchema, answer.bytes)[0]!;
}

async function context(
  { service }: TestService,
  init: MessageInitShape<typeof GetLogContextRequestSchema>,
): Promise<GetLogContextResponse> {
  const handler = service.handlers.getLogContext;
  if (typeof handler !== "function") throw new Error("no handler");
  const answer = (await handler(create(GetLogContextRequestSchema, init), new FakeCall())) as Frames;
  return messagesIn(GetLogContextResponseSchema, answer.bytes)[0]!;
}

describe("batches", () => {
  test.each<[string, StreamQuery]>([
    ["all", {}],
    ["of a level and an application", { logLevel: "WARN", application: "shop" }],
    ["of a filter", { filters: ["i>=490"] }],
    ["the end", { tailLines: 7n, filters: ["-m9"] }],
    ["a limit", { limit: 13n }],
    ["the newest first", { order: Order.NEWEST_FIRST, limit: 30n, filters: ["-m9"] }],
  ])("have the entries of the stream, byte by byte: %s", async (_, query) => {
    await using opened = await openFilled(500);
    const entries = await opened.read(query);
    const batches = await opened.readBatches({ ...query, batchMaxEntries: 7 });
    expect(batches.flatMap((batch) => batch.entries)).toEqual(entries.filter(isEntry));
    expect(batches.flatMap((batch) => batch.control ?? [])).toEqual(entries.flatMap((entry) => entry.control ?? []));
    for (const batch of batches) expect(batch.entries.length).toBeLessThanOrEqual(7);
  });
});

describe("the newest first", () => {
  test("comes in pages, each cursor the token of the next, until nothing older is there", async () => {
    await using opened = await openFilled(330);
    const found: number[] = [];
    let resumeAfter = "";
    for (let page = 0; page < 10; page++) {
      const entries = await opened.read({ order: Order.NEWEST_FIRST, limit: 100n, resumeAfter, controlFrames: false });
      if (entries.length === 0) break;
      found.push(...sequencesOf(entries));
      resumeAfter = entries.at(-1)!.cursor;
    }
    expect(found).toEqual(Array.from({ length: 330 }, (_, i) => 330 - i));
  });

  test("ends with the token of the next page, and an empty one at the beginning of the log", async () => {
    await using opened = await openFilled(120);
    const page = await opened.read({ order: Order.NEWEST_FIRST, limit: 100n });
    expect(page.at(-1)?.control?.kind).toMatchObject({ case: "sync", value: { cursor: page.at(-2)!.cursor } });
    const rest = await opened.read({ order: Order.NEWEST_FIRST, limit: 100n, resumeAfter: page.at(-2)!.cursor });
    expect(rest).toHaveLength(21);
    expect(rest.at(-1)?.control?.kind).toMatchObject({ case: "sync", value: { cursor: "" } });
    const empty = await opened.read({ order: Order.NEWEST_FIRST, resumeAfter: rest.at(-2)!.cursor });
    expect(empty).toMatchObject([{ control: { kind: { case: "sync", value: { cursor: "" } } } }]);
  });

  test("is what the oldest first is, turned round, for any query", async () => {
    await using opened = await openFilled(400);
    const query = fc.record({
      logLevel: fc.constantFrom("", "INFO", "ERROR"),
      application: fc.constantFrom("", "shop"),
      filters: fc.constantFrom<string[][]>([], ["m1"], ["i>350"], ["m9", "-m99"], ["no such"]),
      startTimestamp: fc.constantFrom(0n, 1_000_100n),
      endTimestamp: fc.constantFrom(0n, 1_000_300n),
    });
    await fc.assert(
      fc.asyncProperty(query, fc.integer({ min: 1, max: 150 }), async (asked, size) => {
        const forwards = sequencesOf(await opened.read(asked));
        const backwards: number[] = [];
        for (let resumeAfter = "", isMore = true; isMore;) {
          const page = await opened.read({ ...asked, order: Order.NEWEST_FIRST, limit: BigInt(size), resumeAfter });
          backwards.push(...sequencesOf(page));
          const last = page.at(-1)!.control!.kind;
          resumeAfter = last.case === "sync" ? last.value.cursor : "";
          isMore = resumeAfter !== "";
        }
        expect(backwards).toEqual(forwards.toReversed());
      }),
      { numRuns: 40 },
    );
  });

  test("holds little of entries that are large", async () => {
    await using opened = await openTestService();
    for (let i = 0; i < 20; i++) await opened.write({ message: `${i} ${"x".repeat(300_000)}` });
    const page = await opened.read({ order: Order.NEWEST_FIRST, filters: ["x"] });
    expect(sequencesOf(page)).toEqual(Array.from({ length: 20 }, (_, i) => 20 - i));
  });
});

describe("notices", () => {
  test.each<[string, StreamQuery, string[]]>([
    ["an application that never wrote", { applications: ["shop", "nobody"] }, ["UNKNOWN_APPLICATION"]],
    ["terms that contradict each other", { filters: ["i=1", "i=2"] }, ["CANNOT_MATCH"]],
    [
      "both",
      { application: "nobody", filters: ["level>=error", "level<error"] },
      ["CANNOT_MATCH", "UNKNOWN_APPLICATION"],
    ],
    ["nothing", { application: "shop", filters: ["i=1"] }, []],
  ])("tell of %s, first of all", async (_, query, codes) => {
    await using opened = await openFilled(10);
    for (const order of [Order.OLDEST_FIRST, Order.NEWEST_FIRST]) {
      const kinds = (await opened.read({ ...query, order })).slice(0, 2).map((entry) => entry.control?.kind);
      expect(kinds.flatMap((kind) => (kind?.case === "notice" ? kind.value.code : []))).toEqual(codes);
    }
    expect((await opened.read({ ...query, controlFrames: false })).every(isEntry)).toBe(true);
  });

  test("are short, whatever is asked for", async () => {
    await using opened = await openFilled(10);
    const [notice] = await opened.read({ application: "n".repeat(100_000) });
    const kind = notice?.control?.kind;
    expect(kind?.case === "notice" && kind.value.text.length).toBeLessThan(1200);
  });
});

describe("times", () => {
  const of = (timestamp: bigint, message: string): NewEntry => ({ timestamp, message });

  test("order nothing: entries come as they were received, and are chosen by event time", async () => {
    await using opened = await openTestService();
    const future = BigInt(Date.now() + 86_400_000) * 1_000_000n;
    await opened.write(of(500n, "a"), of(300n, "late"), of(500n, "same"), of(future, "future"), of(-5n, "before 1970"));
    const messages = async (query: StreamQuery): Promise<string[]> =>
      (await opened.read(query)).filter(isEntry).map(({ message }) => message);
    expect(await messages({})).toEqual(["a", "late", "same", "future", "before 1970"]);
    expect(await messages({ startTimestamp: 500n, endTimestamp: 501n })).toEqual(["a", "same"]);
    expect(await messages({ endTimestamp: 500n })).toEqual(["late", "before 1970"]);
    expect(await messages({ startTimestamp: 501n })).toEqual(["future"]);
  });

  test("of entries without one are those of their receipt", async () => {
    await using opened = await openTestService();
    const before = BigInt(Date.now()) * 1_000_000n;
    await opened.write({ message: "none" });
    const [entry] = await opened.read({ startTimestamp: before - 1n });
    expect(entry!.timestamp).toBe(entry!.observedTimestamp);
    expect(entry!.timestamp).toBeGreaterThanOrEqual(before - 1_000_000n);
  });

  test("entries that share one are all given, however the pages fall", async () => {
    await using opened = await openTestService();
    await opened.write(...Array.from({ length: 25 }, (_, i) => of(7n, `m${i}`)));
    const found: string[] = [];
    for (let resumeAfter = ""; found.length < 25;) {
      const page = await opened.read({ startTimestamp: 7n, endTimestamp: 8n, limit: 4n, resumeAfter });
      found.push(...page.map(({ message }) => message));
      resumeAfter = page.at(-1)!.cursor;
    }
    expect(found).toEqual(Array.from({ length: 25 }, (_, i) => `m${i}`));
  });
});

describe("counts", () => {
  test("are by time, level and application, and add up to what a stream gives", async () => {
    await using opened = await openFilled(300);
    const { counts, bucketNs, total } = await count(opened, { bucketNs: 100n });
    const plain = new Map<string, bigint>();
    for (const { timestamp, severityNumber, application } of (await opened.read({})).filter(isEntry)) {
      const key = `${timestamp - (timestamp % 100n)} ${severityNumber} ${application}`;
      plain.set(key, (plain.get(key) ?? 0n) + 1n);
    }
    expect(
      new Map(counts.map((row) => [`${row.startTimestamp} ${row.severityNumber} ${row.application}`, row.count])),
    ).toEqual(plain);
    expect([bucketNs, total]).toEqual([100n, 300n]);
  });

  test("are grouped and narrowed as is asked for", async () => {
    await using opened = await openFilled(300);
    const wide = { bucketNs: 10_000_000n };
    const rows = async (init: MessageInitShape<typeof CountLogsRequestSchema>) =>
      (await count(opened, { ...wide, ...init })).counts.map((row) => [
        row.application,
        row.severityNumber,
        Number(row.count),
      ]);
    expect(await rows({ groupBy: [CountGroup.UNSPECIFIED] })).toEqual([["", 0, 300]]);
    const byApplication = await rows({ groupBy: [CountGroup.APPLICATION] });
    expect(new Map(byApplication.map(([name, , total]) => [name, total]))).toEqual(
      new Map([
        ["cart", 200],
        ["shop", 100],
      ]),
    );
    expect(await rows({ groupBy: [CountGroup.LEVEL], logLevel: "WARN" })).toEqual([
      ["", 13, 60],
      ["", 17, 60],
    ]);
    expect(await rows({ applications: ["shop", "none"], groupBy: [CountGroup.UNSPECIFIED] })).toEqual([["", 0, 100]]);
    expect(await rows({ applications: ["none"] })).toEqual([]);
    const time = { startTimestamp: 1_000_010n, endTimestamp: 1_000_020n, groupBy: [CountGroup.UNSPECIFIED] };
    expect(await rows(time)).toEqual([["", 0, 10]]);
  });

  test("choose a width that gives at most a hundred buckets", async () => {
    await using opened = await openTestService();
    await opened.write({ timestamp: 1_000_000_000n }, { timestamp: 3_600_000_000_000n }, { timestamp: 500_000_000n });
    expect(await count(opened, {})).toMatchObject({ bucketNs: 60_000_000_000n, total: 3n });
    expect(await count(opened, { endTimestamp: 1_000_000_001n })).toMatchObject({ bucketNs: 10_000_000n, total: 2n });
    await opened.write({ timestamp: -(2n ** 63n) }, { timestamp: 2n ** 63n - 1n });
    const { counts, total } = await count(opened, {});
    expect(total).toBe(5n);
    expect(new Set(counts.map((row) => row.startTimestamp)).size).toBe(3);
  });

  test.each<[string, MessageInitShape<typeof CountLogsRequestSchema>]>([
    ["start_timestamp", { startTimestamp: -1n }],
    ["end_timestamp", { startTimestamp: 5n, endTimestamp: 4n }],
    ["bucket_ns", { bucketNs: -1n }],
    ["applications", { applications: Array.from({ length: 1025 }, (_, i) => `a${i}`) }],
  ])("are refused for a bad %s", async (field, init) => {
    await using opened = await openTestService();
    await expect(count(opened, init)).rejects.toMatchObject({ facts: { violations: [{ field }] } });
  });
});

describe("the context of an entry", () => {
  const cursor = ({ log }: TestService, sequence: number): string => cursorOf(log.reader, sequence);

  test("is what lies before and after it", async () => {
    await using opened = await openFilled(300);
    const found = await context(opened, { cursor: cursor(opened, 150), before: 3, after: 2 });
    expect(sequencesOf(found.entries)).toEqual([147, 148, 149, 150, 151, 152]);
    expect(found).toMatchObject({ index: 3, hasMoreBefore: true, hasMoreAfter: true, gaps: [] });
    expect(found.entries).toEqual((await opened.read({})).slice(146, 152));
  });

  test("of one application leaves out the others", async () => {
    await using opened = await openFilled(300);
    const found = await context(opened, { cursor: cursor(opened, 151), before: 2, after: 2, sameApplication: true });
    expect(sequencesOf(found.entries)).toEqual([145, 148, 151, 154, 157]);
  });

  test("is shorter at both ends, and says so", async () => {
    await using opened = await openFilled(12);
    const first = await context(opened, { cursor: cursor(opened, 1) });
    const last = await context(opened, { cursor: cursor(opened, 12), before: 11 });
    expect([sequencesOf(first.entries).length, first.index, first.hasMoreBefore, first.hasMoreAfter]).toEqual([
      11,
      0,
      false,
      true,
    ]);
    expect([sequencesOf(last.entries).length, last.index, last.hasMoreBefore, last.hasMoreAfter]).toEqual([
      12,
      11,
      false,
      false,
    ]);
  });

  test("fits into a message that clients take", async () => {
    await using opened = await openTestService();
    for (let i = 0; i < 12; i++) await opened.write({ message: "x".repeat(900_000) });
    const found = await context(opened, { cursor: cursor(opened, 6) });
    expect([sequencesOf(found.entries), found.hasMoreBefore, found.hasMoreAfter]).toEqual([[5, 6, 7], true, true]);
  });

  test.each([
    ["before", { before: -1 }],
    ["after", { after: 1001 }],
  ])("is refused for a bad %s", async (field, init) => {
    await using opened = await openFilled(5);
    const asking = context(opened, { cursor: cursor(opened, 2), ...init });
    await expect(asking).rejects.toMatchObject({ facts: { violations: [{ field }] } });
    await expect(asking).rejects.toThrow(InvalidRequest);
  });
});
