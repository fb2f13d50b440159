// When a log stream is opened anew, and when it is given up.
import { Code, retryAfter, RpcError } from "@sluice/rpc";
import { expect, test } from "vitest";
import { settle } from "./testing/chance.ts";
import { collect, entry, heartbeat, openStream, sync, unavailable } from "./testing/open-stream.ts";

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
