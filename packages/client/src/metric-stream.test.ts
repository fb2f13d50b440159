import { create } from "@bufbuild/protobuf";
import { type MetricPoint, MetricPointSchema } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { type MetricEvent, streamMetrics } from "./metric-stream.ts";
import { STREAM_RETRY } from "./retry.ts";
import { systemRandom } from "./time.ts";

const point = (value: number): MetricPoint => create(MetricPointSchema, { name: "a", value });

/** A stream whose attempts the test writes: each is what comes, and then it fails, or is silent. */
function open(attempts: (readonly MetricPoint[])[], clock = new ManualClock()) {
  const asked: unknown[] = [];
  const signals: AbortSignal[] = [];
  const events = streamMetrics(
    {
      async *call(request, { signal }) {
        asked.push(request);
        signals.push(signal);
        const points = attempts.shift();
        if (points === undefined) throw new RpcError(Code.INVALID_ARGUMENT, "no more");
        yield* points;
        if (attempts.length > 0) throw new RpcError(Code.UNAVAILABLE, "gone");
        await new Promise((_, reject) => {
          if (signal.aborted) reject(signal.reason as Error);
          signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
        });
      },
      clock,
      random: systemRandom,
      retry: STREAM_RETRY,
      closed: new AbortController().signal,
    },
    {
      names: ["a*"],
      labels: { x: "1" },
      matchers: [{ label: "y", operator: "!~", value: "z" }],
      intervalMs: 250,
      counters: "rate",
    },
    {},
  );
  return { events, asked, signals, clock };
}

async function take(events: AsyncIterator<MetricEvent>, count: number): Promise<string[]> {
  const kinds: string[] = [];
  while (kinds.length < count) {
    const { value } = (await events.next()) as { value: MetricEvent };
    kinds.push(value.kind === "point" ? `point ${value.point.value}` : value.kind);
  }
  return kinds;
}

test("points and controls become events, and a lost connection is followed by the next one", async () => {
  const sync = create(MetricPointSchema, { control: { kind: { case: "sync", value: {} } } });
  const beat = create(MetricPointSchema, { control: { kind: { case: "heartbeat", value: {} } } });
  const notice = create(MetricPointSchema, { control: { kind: { case: "notice", value: { code: "C", text: "t" } } } });
  const { events, asked, clock } = open([[point(1), sync, beat, notice], [point(2)]]);
  expect(await take(events, 4)).toEqual(["point 1", "sync", "notice", "disconnected"]);
  const rest = take(events, 2);
  await clock.advanceInTurns(60_000);
  expect(await rest).toEqual(["resumed", "point 2"]);
  expect(asked).toHaveLength(2);
  expect(asked[0]).toMatchObject({
    metricNames: ["a*"],
    labels: { x: "1" },
    matchers: [{ name: "y", kind: 4, value: "z" }],
    intervalMs: 250,
    counterMode: 3,
  });
  await events.return?.();
});

test("a reader that leaves while nothing comes ends the call in that turn", async () => {
  const { events, signals } = open([[point(1)]]);
  await take(events, 1);
  const waiting = events.next();
  const left = events.return?.();
  expect(signals[0]?.aborted).toBe(true);
  expect(await waiting).toMatchObject({ done: true });
  await left;
});

test("after a lost connection it goes on after the last cursor, wherever that came", async () => {
  const control = (kind: "sync" | "heartbeat", cursor: string): MetricPoint =>
    kind === "sync"
      ? create(MetricPointSchema, { control: { kind: { case: "sync", value: { cursor } } } })
      : create(MetricPointSchema, { control: { kind: { case: "heartbeat", value: { headCursor: cursor } } } });
  const withCursor = create(MetricPointSchema, { name: "a", value: 2, cursor: "c2" });
  const { events, asked, clock } = open([
    [point(1), control("sync", "c1")],
    [withCursor, point(3)],
    [control("heartbeat", "c4"), point(4)],
    [point(5)],
  ]);
  const seen = take(events, 12);
  await clock.advanceInTurns(300_000);
  await clock.advanceInTurns(300_000);
  await clock.advanceInTurns(300_000);
  expect((await seen).filter((kind) => kind.startsWith("point"))).toEqual([
    "point 1",
    "point 2",
    "point 3",
    "point 4",
    "point 5",
  ]);
  const places = asked.map((request) => (request as { resumeAfter?: string }).resumeAfter);
  expect(places).toEqual([undefined, "c1", "c2", "c4"]);
  await events.return?.();
});

test("a server that does not know the place is asked for how everything is", async () => {
  const asked: (string | undefined)[] = [];
  const clock = new ManualClock();
  const events = streamMetrics(
    {
      async *call({ resumeAfter }) {
        asked.push(resumeAfter);
        if (resumeAfter !== undefined) throw new RpcError(Code.OUT_OF_RANGE, "ahead");
        yield create(MetricPointSchema, { name: "a", value: asked.length, cursor: "c1" });
        throw new RpcError(asked.length > 1 ? Code.INVALID_ARGUMENT : Code.UNAVAILABLE, "gone");
      },
      clock,
      random: systemRandom,
      retry: STREAM_RETRY,
      closed: new AbortController().signal,
    },
    {},
    {},
  );
  const seen = take(events, 4);
  await clock.advanceInTurns(60_000);
  expect(await seen).toEqual(["point 1", "disconnected", "resumed", "point 3"]);
  expect(asked).toEqual([undefined, "c1", undefined]);
  await expect(events.next()).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
});
