// A client and a server joined to each other, however the bytes between them are cut; and a server fed with rubbish.
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import { PREFACE } from "./frame.ts";
import { dataFrame, frame, headersFrame, REQUEST, RESPONSE, resetFrame, settingsFrame } from "./testing/frames.ts";
import { drivenServer, freshServer, isServing, JoinedPair, type RecordedStream } from "./testing/machines.ts";

const text = fc.stringMatching(/^[ -~]{0,40}$/).map((value) => value.trim());
const fieldName = fc.stringMatching(/^x-[a-z0-9-]{1,20}$/);
const fields = fc.array(fc.tuple(fieldName, text), { maxLength: 6 }).map((list) => list.flat());
const call = fc.record({
  metadata: fields,
  request: fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 4 }),
  response: fc.array(fc.integer({ min: 1, max: 80_000 }), { maxLength: 4 }),
  trailers: fields,
});

/** Answers each request, once it has ended, with what the call says. */
function answer(recorded: RecordedStream, sizes: readonly number[], trailers: readonly string[]): void {
  recorded.stream!.sendHeaders(new HeaderBlock(RESPONSE), { endStream: false });
  for (const size of sizes) recorded.stream!.write(Buffer.alloc(size, size));
  recorded.stream!.end(new HeaderBlock(["grpc-status", "0", ...trailers]));
}

test("calls arrive as they were made, in both directions, in whatever pieces the bytes travel", () => {
  fc.assert(
    fc.property(
      fc.array(call, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 50_000 }),
      (calls, pieceBytes) => {
        const pair = new JoinedPair();
        pair.cut = (bytes) =>
          Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, at) =>
            bytes.subarray(at * pieceBytes, (at + 1) * pieceBytes),
          );
        const opened = calls.map(({ metadata, request }) => {
          const recorded = pair.open([...REQUEST, ...metadata]);
          for (const size of request) recorded.stream!.write(Buffer.alloc(size, size));
          recorded.stream!.end();
          return recorded;
        });
        pair.run();
        for (const [at, { response, trailers }] of calls.entries())
          answer(pair.server.streams[at]!, response, trailers);
        pair.run();
        const sumOf = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + size, 0);
        expect(pair.server.streams.map((each) => [each.headers[0]!.fields, each.body.length])).toEqual(
          calls.map(({ metadata, request }) => [[...REQUEST, ...metadata], sumOf(request)]),
        );
        expect(opened.map((each) => [each.body.length, each.headers[1]!.fields, each.end!.by])).toEqual(
          calls.map(({ response, trailers }) => [sumOf(response), ["grpc-status", "0", ...trailers], "both-sides"]),
        );
        expect([pair.clientConnection.openStreams, pair.serverConnection.openStreams]).toEqual([0, 0]);
      },
    ),
    { numRuns: Math.ceil(40 * inject("propertyScale")) },
  );
});

test("a call works byte by byte", () => {
  const pair = new JoinedPair();
  pair.cut = (bytes) => [...bytes].map((byte) => Buffer.of(byte));
  const recorded = pair.open(REQUEST);
  recorded.stream!.write(Buffer.from("question"));
  recorded.stream!.end();
  pair.run();
  answer(pair.server.streams[0]!, [3], []);
  pair.run();
  expect(pair.server.streams[0]!.body.toString()).toBe("question");
  expect(recorded.body).toEqual(Buffer.alloc(3, 3));
  expect(recorded.end!.by).toBe("both-sides");
});

test("a server that drains ends the connection in good order on both sides", () => {
  const pair = new JoinedPair();
  const first = pair.open(REQUEST, { endStream: true });
  pair.run();
  pair.serverConnection.drain();
  pair.run();
  expect(pair.client.events).toContain("draining");
  expect(first.end).toBeUndefined();
  answer(pair.server.streams[0]!, [10], []);
  pair.run();
  expect(first.end!.by).toBe("both-sides");
  expect(pair.clientConnection.state).toBe("closed");
  expect(pair.server.closes).toBe(1);
});

test("neither side ever breaks on what it receives: it goes on, or ends the connection", () => {
  const part = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc
      .record({ type: fc.nat(12), flags: fc.nat(255), id: fc.nat(9), payload: fc.uint8Array({ maxLength: 40 }) })
      .map(({ type, flags, id, payload }) => frame(type, flags, id, payload)),
    fc.nat(20).map((id) => headersFrame(id, REQUEST)),
    fc.nat(20).map((id) => headersFrame(id, ["a", "b"], { endStream: true })),
    fc.nat(20).map((id) => dataFrame(id, "content")),
    fc.nat(20).map((id) => resetFrame(id, 8)),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 30 }), fc.boolean(), (parts, isAnswering) => {
      const driven = freshServer();
      driven.server.onNewStream = (recorded) => isAnswering && answer(recorded, [100], []);
      driven.receive(PREFACE, settingsFrame());
      for (const each of parts) driven.receive(each);
      driven.connection.flush();
      expect(driven.carrier.isClosed).toBe(driven.connection.isClosed);
      expect(driven.connection.openStreams).toBe(driven.server.streams.filter((each) => each.end === undefined).length);
      driven.connection.disconnected("the test is over");
      // T1: every stream was closed once, last.
      for (const { events } of driven.server.streams) {
        expect(events.filter((event) => event.startsWith("close"))).toEqual([events.at(-1)]);
      }
    }),
    { numRuns: Math.ceil(500 * inject("propertyScale")) },
  );
});

test("frames of unknown types are ignored, on any stream", () => {
  const driven = drivenServer();
  driven.receive(frame(0x0a, 0xff, 0, Buffer.from("x")), frame(0xfe, 0, 1), frame(0x10, 0, 2, Buffer.alloc(16_384)));
  expect(driven.sent()).toEqual([]);
  expect(isServing(driven, 1)).toBe(true);
});

test("pings are answered, and answers heard", () => {
  const pair = new JoinedPair();
  const heard: string[] = [];
  pair.clientConnection.ping(() => heard.push("server"));
  pair.serverConnection.ping(() => heard.push("client"));
  expect(heard).toEqual([]);
  pair.run();
  expect(heard.toSorted()).toEqual(["client", "server"]);
});
