import { create } from "@bufbuild/protobuf";
import { LogEntrySchema, SlowReader } from "@sluice/api";
import { Code, ErrorInfoSchema, errorDetail, RpcError } from "@sluice/rpc";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { SlowReaderChoice } from "./log-position.ts";
import { LogGapError } from "./log-stream.ts";
import { settle } from "./testing/chance.ts";
import {
  collect,
  entry,
  gap,
  heartbeat,
  kindsOf,
  messagesOf,
  openStream,
  sync,
  unavailable,
} from "./testing/open-stream.ts";

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

test.each<[SlowReaderChoice, object]>([
  [{ kind: "drop-oldest" }, { slowReader: SlowReader.DROP_OLDEST }],
  [
    { kind: "disconnect", lagMaxEntries: 5 },
    { slowReader: SlowReader.DISCONNECT, lagMaxEntries: 5n },
  ],
  [
    { kind: "sample", perSecond: 7, lagMaxEntries: 9 },
    { slowReader: SlowReader.SAMPLE, samplePerSecond: 7, lagMaxEntries: 9n },
  ],
])("what becomes of a slow reader is asked for: %o", async (slowReader, asked) => {
  const { requests, stream } = openStream({ follow: true, slowReader, untilCursor: "c9" }, { batchDelayMs: 20 });
  collect(stream);
  await settle();
  expect(requests[0]).toMatchObject({ ...asked, untilCursor: "c9", batchMaxDelayMs: 20 });
});

test("a reader that was cut off for its slowness knows where to go on", async () => {
  const { attempt, stream } = openStream({ follow: true, slowReader: { kind: "disconnect" } });
  const { outcome, finished } = collect(stream);
  await settle();
  attempt(1).push(entry(1));
  const details = [
    errorDetail(ErrorInfoSchema, { reason: "SLOW_READER", domain: "sluice", metadata: { cursor: "c5" } }),
  ];
  attempt(1).fail(new RpcError(Code.RESOURCE_EXHAUSTED, "too slow", { details }));
  await finished;
  expect(outcome.error).toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  expect(stream.cursor).toBe("c5");
});

test("batches are what came together, and move the stream's place; what is missing must not go unnoticed", async () => {
  const { attempt, stream } = openStream({ follow: true });
  const { seen, outcome, finished } = collect(stream.batches());
  await settle();
  attempt(1).push(entry(1), sync("c1"), entry(2));
  await settle();
  expect(seen.map(messagesOf)).toEqual([["m1"], ["m2"]]);
  expect(stream.cursor).toBe("c2");
  attempt(1).push(gap("c2", "c4", 2n));
  await finished;
  expect(outcome.error).toBeInstanceOf(LogGapError);
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
