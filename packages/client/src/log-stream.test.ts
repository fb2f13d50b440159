import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { GapReason, type LogEntry, LogEntrySchema, type LogStreamRequestSchema } from "@sluice/api";
import { Code, ErrorInfoSchema, errorDetail, retryAfter, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { LogQuery } from "./log-position.ts";
import { type LogEvent, LogGapError, LogStream, type LogStreamOptions } from "./log-stream.ts";
import { STREAM_RETRY } from "./retry.ts";
import { Feed } from "./testing/feed.ts";
import { constantRandom, settle } from "./testing/chance.ts";

type Request = MessageInitShape<typeof LogStreamRequestSchema>;

function entry(sequence: number): LogEntry {
  return create(LogEntrySchema, { message: `m${sequence}`, sequence: BigInt(sequence), cursor: `c${sequence}` });
}
function heartbeat(headCursor: string, lagEntries = 0n): LogEntry {
  return create(LogEntrySchema, { control: { kind: { case: "heartbeat", value: { headCursor, lagEntries } } } });
}
function sync(cursor: string): LogEntry {
  return create(LogEntrySchema, { control: { kind: { case: "sync", value: { cursor } } } });
}
function gap(afterCursor: string, toCursor: string, count: bigint): LogEntry {
  const value = { afterCursor, toCursor, count, reason: GapReason.RETENTION };
  return create(LogEntrySchema, { control: { kind: { case: "gap", value } } });
}
const unavailable = (): RpcError => new RpcError(Code.UNAVAILABLE, "connection lost");

/** A stream whose attempts a test answers by hand. */
function openStream(query: LogQuery, options: LogStreamOptions = {}) {
  const clock = new ManualClock();
  const closed = new AbortController();
  const requests: Request[] = [];
  const attempts: Feed<LogEntry>[] = [];
  const stream = new LogStream(
    {
      call: (request, { signal }) => {
        const feed = new Feed<LogEntry>(signal);
        requests.push(request);
        attempts.push(feed);
        return feed;
      },
      clock,
      random: constantRandom(0),
      retry: STREAM_RETRY,
      closed: closed.signal,
    },
    query,
    options,
  );
  const attempt = (number: number): Feed<LogEntry> => {
    const feed = attempts[number - 1];
    if (feed === undefined) throw new Error(`There was no attempt ${number}, only ${attempts.length}`);
    return feed;
  };
  return { clock, closed, requests, attempts, attempt, stream };
}

/** Reads in the background what a stream delivers. */
function collect<T>(stream: AsyncIterable<T>) {
  const seen: T[] = [];
  const outcome: { error?: unknown; isDone: boolean } = { isDone: false };
  const finished = (async () => {
    try {
      for await (const each of stream) seen.push(each);
    } catch (error) {
      outcome.error = error;
    }
    outcome.isDone = true;
  })();
  return { seen, outcome, finished };
}

const messagesOf = (entries: readonly LogEntry[]): string[] => entries.map((each) => each.message);
const kindsOf = (events: readonly LogEvent[]): string[] => events.map((each) => each.kind);

test("after a lost connection the stream goes on after the last entry", async () => {
  const { clock, requests, attempt, stream } = openStream({ applications: ["a"], startTimestamp: 5n, follow: true });
  const { seen } = collect(stream);
  await settle();
  attempt(1).push(entry(1), entry(2));
  attempt(1).fail(unavailable());
  await clock.advanceInTurns(100);
  attempt(2).push(entry(3));
  await settle();
  expect(messagesOf(seen)).toEqual(["m1", "m2", "m3"]);
  expect(
    requests.map(({ resumeAfter, applications, startTimestamp }) => ({ resumeAfter, applications, startTimestamp })),
  ).toEqual([
    { resumeAfter: "", applications: ["a"], startTimestamp: 5n },
    { resumeAfter: "c2", applications: ["a"], startTimestamp: 5n },
  ]);
});

test("tail_lines is asked for until a place is known, limit for what is left of it", async () => {
  const { clock, requests, attempt, stream } = openStream({ tailLines: 10, limit: 3, follow: true });
  const { seen, finished } = collect(stream);
  await settle();
  attempt(1).fail(unavailable());
  await clock.advanceInTurns(1000);
  attempt(2).push(entry(7));
  attempt(2).fail(unavailable());
  await clock.advanceInTurns(1000);
  attempt(3).push(entry(8), entry(9));
  attempt(3).fail(unavailable());
  await finished;
  expect(messagesOf(seen)).toEqual(["m7", "m8", "m9"]);
  expect(requests.map(({ tailLines, limit, resumeAfter }) => ({ tailLines, limit, resumeAfter }))).toEqual([
    { tailLines: 10n, limit: 3n, resumeAfter: "" },
    { tailLines: 10n, limit: 3n, resumeAfter: "" },
    { tailLines: undefined, limit: 2n, resumeAfter: "c7" },
  ]);
});

test("all of a query is asked for, in every attempt", async () => {
  const { clock, requests, attempt, stream } = openStream(
    {
      log: "audit",
      applications: ["a", "b"],
      logLevel: "WARN",
      filters: ["-x", "k=v"],
      startTimestamp: 5n,
      endTimestamp: 9n,
      follow: true,
      resumeAfter: "c0",
      strictCursor: true,
      tailLines: 7,
      limit: 8,
    },
    { heartbeatMs: 500 },
  );
  collect(stream.events());
  await settle();
  attempt(1).fail(unavailable());
  await clock.advanceInTurns(1000);
  const asked = {
    log: "audit",
    application: undefined,
    applications: ["a", "b"],
    logLevel: "WARN",
    filters: ["-x", "k=v"],
    startTimestamp: 5n,
    endTimestamp: 9n,
    follow: true,
    resumeAfter: "c0",
    strictCursor: true,
    tailLines: 7n,
    limit: 8n,
    heartbeatMs: 500,
    controlFrames: true,
  };
  expect(requests.map((request) => ({ application: undefined, ...request }))).toEqual([asked, asked]);
});

test("nothing is asked for when nothing is wanted", async () => {
  const { attempts, stream } = openStream({ limit: 0 });
  await collect(stream).finished;
  expect(attempts).toHaveLength(0);
});

test.each([
  { name: "sync", message: sync("c41"), resumeAfter: "c41", tailLines: undefined },
  { name: "a heartbeat without lag", message: heartbeat("c42"), resumeAfter: "c42", tailLines: undefined },
  { name: "a heartbeat with lag", message: heartbeat("c43", 2n), resumeAfter: "", tailLines: 0n },
  { name: "a gap", message: gap("c1", "c44", 43n), resumeAfter: "c44", tailLines: undefined },
])("a stream that saw no entry goes on from $name", async ({ message, resumeAfter, tailLines }) => {
  const { clock, requests, attempt, stream } = openStream({ tailLines: 0, follow: true });
  collect(stream.events());
  await settle();
  attempt(1).push(message);
  attempt(1).fail(unavailable());
  await clock.advanceInTurns(1000);
  expect(requests[1]).toMatchObject({ resumeAfter });
  expect(requests[1]?.tailLines).toBe(tailLines);
});

function interrupted(reason: string, metadata: Record<string, string>, domain = "sluice"): RpcError {
  return new RpcError(Code.UNAVAILABLE, "about to close", {
    details: [errorDetail(ErrorInfoSchema, { reason, domain, metadata })],
  });
}

test.each([
  { name: "with a cursor", error: interrupted("STREAM_INTERRUPTED", { cursor: "c9" }), resumeAfter: "c9" },
  { name: "without one", error: interrupted("STREAM_INTERRUPTED", {}), resumeAfter: "c2" },
  { name: "for another reason", error: interrupted("CURSOR_EXPIRED", { cursor: "c9" }), resumeAfter: "c2" },
  { name: "by somebody else", error: interrupted("STREAM_INTERRUPTED", { cursor: "c9" }, "x"), resumeAfter: "c2" },
])("a stream that is interrupted $name goes on after $resumeAfter", async ({ error, resumeAfter }) => {
  const { clock, requests, attempt, stream } = openStream({ tailLines: 5, follow: true });
  const { seen } = collect(stream);
  await settle();
  attempt(1).push(entry(2));
  attempt(1).fail(error);
  await clock.advanceInTurns(1000);
  expect([requests[1]?.resumeAfter, stream.cursor, messagesOf(seen)]).toEqual([resumeAfter, resumeAfter, ["m2"]]);
});

test("events tell of everything in order", async () => {
  const { clock, attempt, stream } = openStream({ follow: true });
  const { seen } = collect(stream.events());
  await settle();
  attempt(1).push(gap("", "c4", 4n), entry(5), sync("c5"), heartbeat("c5"));
  attempt(1).fail(unavailable());
  await clock.advanceInTurns(1000);
  attempt(2).push(create(LogEntrySchema, { control: { kind: { case: "notice", value: { code: "A", text: "b" } } } }));
  attempt(2).push(create(LogEntrySchema, { control: {} }));
  await settle();
  expect(kindsOf(seen)).toEqual(["gap", "entry", "sync", "heartbeat", "disconnected", "resumed", "notice", "notice"]);
  expect(seen[4]).toMatchObject({ retryInMs: 100, failures: 1, error: { code: Code.UNAVAILABLE } });
  expect(seen[5]).toEqual({ kind: "resumed", cursor: "c5" });
  expect(seen[7]).toMatchObject({ notice: { code: "UNKNOWN_CONTROL" } });
  expect(stream.cursor).toBe("c5");
});

test("a gap that nobody hears of ends the iteration of entries; with onGap it goes on", async () => {
  const deaf = openStream({ follow: true });
  const deafReader = collect(deaf.stream);
  await settle();
  deaf.attempt(1).push(entry(1), gap("c1", "c4", 3n), entry(5));
  await deafReader.finished;
  expect(messagesOf(deafReader.seen)).toEqual(["m1"]);
  expect(deafReader.outcome.error).toBeInstanceOf(LogGapError);
  expect(deafReader.outcome.error).toMatchObject({ gap: { count: 3n, toCursor: "c4" } });
  expect(deaf.clock.timers).toBe(0);

  const counts: bigint[] = [];
  const hearing = openStream({ follow: true }, { onGap: ({ count }) => counts.push(count) });
  const hearingReader = collect(hearing.stream);
  await settle();
  hearing.attempt(1).push(entry(1), gap("c1", "c4", 3n), entry(5));
  await settle();
  expect([messagesOf(hearingReader.seen), counts]).toEqual([["m1", "m5"], [3n]]);
});

test("a follow that is silent for two and a half heartbeats is opened anew", async () => {
  const { clock, requests, attempt, stream } = openStream({ follow: true }, { heartbeatMs: 1000 });
  const { seen } = collect(stream.events());
  await settle();
  attempt(1).push(entry(1));
  await clock.advanceInTurns(2000);
  attempt(1).push(heartbeat("c1"));
  await clock.advanceInTurns(2499);
  expect(requests).toHaveLength(1);
  await clock.advanceInTurns(2600);
  expect(requests.map((each) => each.heartbeatMs)).toEqual([1000, 1000]);
  expect(requests[1]?.resumeAfter).toBe("c1");
  expect(seen.find((each) => each.kind === "disconnected")).toMatchObject({
    error: { code: Code.UNAVAILABLE, message: expect.stringContaining("silent for 2500 ms") as string },
  });
});

test("a reader that does not pull hears no silence", async () => {
  const { clock, requests, attempt, stream } = openStream({ follow: true }, { heartbeatMs: 1000 });
  const events = stream.events();
  const first = events.next();
  await settle();
  attempt(1).push(entry(1));
  await first;
  await clock.advanceInTurns(60_000);
  expect(requests).toHaveLength(1);
  const second = events.next();
  attempt(1).push(entry(2));
  expect(await second).toMatchObject({ value: { entry: { message: "m2" } } });
  await events.return?.();
});

test.each([
  { name: "a history", query: {}, options: {} },
  { name: "heartbeatMs 0", query: { follow: true }, options: { heartbeatMs: 0 } },
])("$name has no alarm for silence", async ({ query, options }) => {
  const { clock, requests, stream } = openStream(query, options);
  collect(stream);
  await clock.advanceInTurns(3_600_000);
  expect(requests).toHaveLength(1);
  expect(clock.timers).toBe(0);
});

test("delays grow while nothing succeeds and start again after an entry", async () => {
  const { clock, attempts, attempt, stream } = openStream({ follow: true });
  const { seen } = collect(stream.events());
  await settle();
  const delays = (): unknown[] => seen.flatMap((each) => (each.kind === "disconnected" ? [each.retryInMs] : []));
  for (let i = 1; i <= 3; i++) {
    attempt(i).fail(unavailable());
    await clock.advanceInTurns(10_000);
  }
  attempt(4).push(entry(1));
  attempt(4).fail(unavailable());
  await clock.advanceInTurns(10_000);
  expect(delays()).toEqual([100, 200, 400, 100]);
  expect(attempts).toHaveLength(5);
});

test("controls are no progress; an attempt that lived for long is", async () => {
  const { clock, attempt, stream } = openStream({ follow: true }, { retry: { maxMs: 5000 } });
  const { seen } = collect(stream.events());
  await settle();
  const delays = (): unknown[] => seen.flatMap((each) => (each.kind === "disconnected" ? [each.retryInMs] : []));
  for (let i = 1; i <= 3; i++) {
    attempt(i).push(sync("c1"), heartbeat("c1"));
    attempt(i).fail(unavailable());
    await clock.advanceInTurns(2500);
  }
  expect(delays()).toEqual([100, 200, 400]);
  await clock.advanceInTurns(5001);
  attempt(4).push(heartbeat("c1"));
  attempt(4).fail(unavailable());
  await clock.advanceInTurns(100);
  expect(delays()).toEqual([100, 200, 400, 100]);
});

test("RetryInfo's delay is kept, also with RESOURCE_EXHAUSTED", async () => {
  const { clock, attempts, attempt, stream } = openStream({ follow: true });
  collect(stream);
  await settle();
  attempt(1).fail(new RpcError(Code.RESOURCE_EXHAUSTED, "too many", { details: [retryAfter(7000)] }));
  await clock.advanceInTurns(6999);
  expect(attempts).toHaveLength(1);
  await clock.advanceInTurns(1);
  expect(attempts).toHaveLength(2);
});

test.each([
  { code: Code.RESOURCE_EXHAUSTED, name: "RESOURCE_EXHAUSTED without RetryInfo" },
  { code: Code.INVALID_ARGUMENT, name: "INVALID_ARGUMENT" },
  { code: Code.OUT_OF_RANGE, name: "OUT_OF_RANGE" },
  { code: Code.UNAUTHENTICATED, name: "UNAUTHENTICATED" },
])("$name ends the stream", async ({ code }) => {
  const { clock, attempts, attempt, stream } = openStream({ follow: true });
  const { outcome, finished } = collect(stream);
  await settle();
  attempt(1).push(entry(1));
  attempt(1).fail(new RpcError(code, "no"));
  await finished;
  expect(outcome.error).toMatchObject({ code });
  expect([attempts.length, clock.timers]).toEqual([1, 0]);
});

test("an attempt's deadline is no error of the stream; attemptsMax without progress is", async () => {
  const { clock, requests, attempt, stream } = openStream({}, { attemptTimeoutMs: 50, retry: { attemptsMax: 2 } });
  const { outcome, finished } = collect(stream);
  await settle();
  attempt(1).push(entry(1));
  attempt(1).fail(new RpcError(Code.DEADLINE_EXCEEDED, "late"));
  await clock.advanceInTurns(1000);
  attempt(2).fail(new RpcError(Code.DEADLINE_EXCEEDED, "late"));
  await finished;
  expect(requests).toHaveLength(2);
  expect(outcome.error).toMatchObject({ code: Code.DEADLINE_EXCEEDED });
});

test("the signal ends a stream that waits for the server, with its reason, and leaves nothing", async () => {
  const abort = new AbortController();
  const { clock, attempt, stream } = openStream({ follow: true }, { signal: abort.signal });
  const { seen, outcome, finished } = collect(stream);
  await settle();
  attempt(1).push(entry(1));
  await settle();
  abort.abort(new Error("enough"));
  await finished;
  expect(messagesOf(seen)).toEqual(["m1"]);
  expect(outcome.error).toMatchObject({ message: "enough" });
  expect(clock.timers).toBe(0);
});

test("the signal ends a stream that waits for its next attempt, and one that has not begun", async () => {
  const abort = new AbortController();
  const waiting = openStream({ follow: true }, { signal: abort.signal });
  const { outcome, finished } = collect(waiting.stream);
  await settle();
  waiting.attempt(1).fail(unavailable());
  await settle();
  expect(waiting.clock.timers).toBe(1);
  abort.abort(new Error("enough"));
  await finished;
  expect(outcome.error).toMatchObject({ message: "enough" });
  expect(waiting.clock.timers).toBe(0);

  const late = openStream({ follow: true }, { signal: abort.signal });
  const lateReader = collect(late.stream);
  await lateReader.finished;
  expect(lateReader.outcome.error).toMatchObject({ message: "enough" });
  expect(late.attempts).toHaveLength(0);
});

test("closing the client ends its streams", async () => {
  const { closed, stream } = openStream({ follow: true });
  const { outcome, finished } = collect(stream);
  await settle();
  closed.abort(new Error("client closed"));
  await finished;
  expect(outcome.error).toMatchObject({ message: "client closed" });
});

test("return ends a pending read well, and the call with it", async () => {
  const { clock, attempt, stream } = openStream({ follow: true });
  const entries = stream[Symbol.asyncIterator]();
  const pending = entries.next();
  await settle();
  await entries.return?.();
  expect(await pending).toEqual({ done: true, value: undefined });
  expect(await entries.next()).toEqual({ done: true, value: undefined });
  expect(clock.timers).toBe(0);
  expect(() => stream.events()).toThrow("Cannot iterate a log stream twice");
  attempt(1).push(entry(1)); // nobody is there any more
});

test("leaving the loop in the middle cancels the call", async () => {
  const { attempt, stream, clock } = openStream({ follow: true });
  const reader = (async () => {
    for await (const each of stream) return each.message;
    return undefined;
  })();
  await settle();
  attempt(1).push(entry(1), entry(2));
  expect(await reader).toBe("m1");
  expect(attempt(1).isCancelled).toBe(true);
  expect(clock.timers).toBe(0);
});

test("wherever a stream is cut, every entry comes once and in order", async () => {
  const cut = fc.record({ after: fc.nat({ max: 6 }), extra: fc.constantFrom("none", "sync", "heartbeat") });
  await fc.assert(
    fc.asyncProperty(fc.array(cut, { maxLength: 12 }), fc.option(fc.nat({ max: 25 })), async (cuts, limit) => {
      const total = 20;
      const { clock, requests, attempts, attempt, stream } = openStream(limit === null ? {} : { limit });
      const { seen, finished } = collect(stream);
      await settle();
      for (let i = 0; i < attempts.length; i++) {
        const request = requests[i];
        const from = Number((request?.resumeAfter ?? "").slice(1)) + 1;
        const last = Math.min(total, from - 1 + Number(request?.limit ?? 1000n));
        const where = cuts[i];
        const end = where === undefined ? last : Math.min(last, from - 1 + where.after);
        for (let sequence = from; sequence <= end; sequence++) attempt(i + 1).push(entry(sequence));
        if (where?.extra === "sync") attempt(i + 1).push(sync(`c${end}`));
        if (where?.extra === "heartbeat") attempt(i + 1).push(heartbeat(`c${end}`), heartbeat(`c${total}`, 1n));
        if (where === undefined) attempt(i + 1).end();
        else attempt(i + 1).fail(unavailable());
        await clock.advanceInTurns(60_000);
      }
      await finished;
      const expected = Array.from({ length: Math.min(total, limit ?? total) }, (_, i) => `m${i + 1}`);
      expect(messagesOf(seen)).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});
