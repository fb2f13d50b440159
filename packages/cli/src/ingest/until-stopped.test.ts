import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { untilStopped } from "./until-stopped.ts";

const never = new Promise<void>(() => {});

test("it resolves with its promise, or when it is stopped, and leaves nothing at the signal", async () => {
  const stop = new AbortController();
  await untilStopped(Promise.resolve(), stop.signal);
  expect(getEventListeners(stop.signal, "abort")).toEqual([]);
  const stopped = untilStopped(never, stop.signal);
  stop.abort();
  await stopped;
  expect(getEventListeners(stop.signal, "abort")).toEqual([]);
  await untilStopped(never, stop.signal);
});

test("what the promise rejects with is heard of, unless it comes too late", async () => {
  const stop = new AbortController();
  await expect(untilStopped(Promise.reject(new Error("early")), stop.signal)).rejects.toThrow("early");
  const late = Promise.withResolvers<void>();
  const stopped = untilStopped(late.promise, stop.signal);
  stop.abort();
  await stopped;
  late.reject(new Error("late"));
});
