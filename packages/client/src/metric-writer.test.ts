import { create, fromBinary } from "@bufbuild/protobuf";
import { type MetricPoint, WriteMetricsRequestSchema, WriteMetricsResponseSchema } from "@sluice/api";
import { Code, FRAME_HEADER_BYTES, type Frames, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { MetricWriter, type MetricWriterOptions, type WriteMetricsCall } from "./metric-writer.ts";
import { STREAM_RETRY } from "./retry.ts";
import { constantRandom, settle } from "./testing/chance.ts";

/** What a server does with the points of one call. */
type Script = (points: AsyncIterable<MetricPoint[]>) => AsyncGenerator<{
  readonly acknowledged?: number;
  readonly rejected?: readonly { index: bigint; reason: string; text: string }[];
  readonly window?: number;
}>;

function open(scripts: readonly Script[], options: MetricWriterOptions = {}) {
  const clock = new ManualClock();
  const received: MetricPoint[][] = [];
  let calls = 0;
  async function* pointsOf(requests: AsyncIterable<Frames>): AsyncGenerator<MetricPoint[]> {
    for await (const { bytes } of requests) {
      const { points } = fromBinary(WriteMetricsRequestSchema, bytes.subarray(FRAME_HEADER_BYTES));
      received.push(points);
      yield points;
    }
  }
  const call: WriteMetricsCall = async function* (requests) {
    const script = scripts[calls++] ?? acknowledgeAll;
    for await (const { acknowledged = 0, rejected = [], window = 65_536 } of script(pointsOf(requests))) {
      const flow = { seen: BigInt(acknowledged), window };
      yield create(WriteMetricsResponseSchema, { acknowledged: BigInt(acknowledged), rejected: [...rejected], flow });
    }
  };
  const closed = new AbortController().signal;
  const writer = new MetricWriter({ call, clock, random: constantRandom(0), retry: STREAM_RETRY, closed }, options);
  return { writer, clock, received, calls: () => calls };
}

const acknowledgeAll: Script = async function* (requests) {
  yield {};
  let acknowledged = 0;
  for await (const points of requests) yield { acknowledged: (acknowledged += points.length) };
};

const names = (batches: readonly MetricPoint[][]) => batches.map((points) => points.map(({ name }) => name).join(" "));

test("what was not acknowledged is sent again, with the times that it had", async () => {
  const lost: number[] = [];
  const { writer, clock, received, calls } = open(
    [
      async function* (requests) {
        yield {};
        for await (const _ of requests) {
          yield { acknowledged: 1 };
          throw new RpcError(Code.UNAVAILABLE, "gone");
        }
      },
    ],
    { onDisconnected: (_, { failures }) => void lost.push(failures) },
  );
  for (const name of ["a", "b", "c"]) await writer.write({ name, value: 1 });
  await expect.poll(() => lost).toEqual([1]);
  await clock.advanceInTurns(60_000);
  await writer.close();
  expect(calls()).toBe(2);
  expect(names(received)).toEqual(["a b c", "b c"]);
  expect(received[1]?.map(({ timestamp }) => timestamp)).toEqual(
    received[0]?.slice(1).map(({ timestamp }) => timestamp),
  );
});

test("no more is under way than the server grants, but for a single batch", async () => {
  const answer = Promise.withResolvers<void>();
  const { writer, received } = open([
    async function* (requests) {
      yield { window: 2 };
      let acknowledged = 0;
      for await (const points of requests) {
        await answer.promise;
        yield { acknowledged: (acknowledged += points.length), window: 2 };
      }
    },
  ]);
  for (const name of ["a", "b", "c"]) await writer.write({ name });
  await settle();
  expect(names(received)).toEqual(["a b c"]);
  for (const name of ["d", "e"]) await writer.write({ name });
  await settle();
  expect(names(received)).toEqual(["a b c"]);
  answer.resolve();
  await writer.close();
  expect(names(received)).toEqual(["a b c", "d e"]);
});

test("rejections are told by their point; without a listener the first one fails the writer for good", async () => {
  const refuse: Script = async function* (requests) {
    yield {};
    for await (const points of requests) {
      const rejected = [{ index: 1n, reason: "NAME", text: "its name is empty" }];
      yield { acknowledged: points.length, rejected };
    }
  };
  const told: unknown[] = [];
  const heard = open([refuse], { onRejected: ({ point, reason }) => void told.push([point.name, reason]) });
  for (const name of ["a", "b"]) await heard.writer.write({ name });
  await heard.writer.close();
  expect(told).toEqual([["b", "NAME"]]);
  const { writer } = open([refuse]);
  for (const name of ["a", "b"]) await writer.write({ name });
  await expect(writer.close()).rejects.toThrow('The server rejected a point of "b" (NAME): its name is empty');
  await expect(writer.write({ name: "c" })).rejects.toThrow("Cannot write on, 2 points are unacknowledged");
});

test("a writer that has too much waits for room, and a final error ends it", async () => {
  const begin = Promise.withResolvers<void>();
  const waiting: Script = async function* (requests) {
    await begin.promise;
    yield* acknowledgeAll(requests);
  };
  const { writer } = open([waiting], { bufferBytesMax: 100 });
  await writer.write({ name: "a".repeat(10) });
  let hasRoom = false;
  const write = writer.write({ name: "b".repeat(100) }).then(() => (hasRoom = true));
  await Promise.resolve();
  expect(hasRoom).toBe(false);
  begin.resolve();
  await write;
  await writer.close();

  const denied = open([
    async function* () {
      yield await Promise.reject(new RpcError(Code.PERMISSION_DENIED, "no"));
    },
  ]);
  await denied.writer.write({ name: "a" });
  await expect(denied.writer.flush()).rejects.toMatchObject({ cause: { code: Code.PERMISSION_DENIED } });
});
