import { describe, expect, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import { ErrorCode, FrameType } from "./frame.ts";
import { Setting } from "./settings.ts";
import {
  frame,
  headersFrame,
  parseFrames,
  REQUEST,
  resetFrame,
  RESPONSE,
  settingsFrame,
  summary,
  windowUpdate,
} from "./testing/frames.ts";
import { drivenServer, serving, testResources } from "./testing/machines.ts";

const KIB = 1024;
const OPEN = { endStream: false };
const END = { endStream: true };
const response = new HeaderBlock(RESPONSE);
const trailers = new HeaderBlock(["grpc-status", "0"]);

describe("fairness", () => {
  test("streams in bulk take turns by bytes, however they cut what they write", () => {
    const driven = serving(3);
    driven.streams[0]!.write(Buffer.alloc(1024 * KIB));
    for (let count = 0; count < 1024; count += 1) driven.streams[1]!.write(Buffer.alloc(KIB));
    for (let count = 0; count < 64; count += 1) driven.streams[2]!.write(Buffer.alloc(16 * KIB + 1));
    const sums = [0, 0, 0];
    for (const { streamId, payload } of driven.allSent()) {
      sums[(streamId - 1) / 2]! += payload.length;
      // A turn, and a frame that was cut at its end.
      if (sums.every((sum) => sum < 1000 * KIB)) expect(Math.max(...sums) - Math.min(...sums)).toBeLessThan(33 * KIB);
    }
    expect(sums).toEqual([1024 * KIB, 1024 * KIB, 1024 * KIB + 64]);
  });

  test("a small answer is delayed by one slice of each bulk stream at most", () => {
    const driven = serving(3);
    driven.streams[0]!.setSource({ pull: (maxBytes) => Buffer.alloc(maxBytes) });
    driven.streams[1]!.write(Buffer.alloc(4096 * KIB));
    driven.carrier.outcome = "full";
    driven.connection.flush();
    driven.carrier.take();
    driven.streams[2]!.write(Buffer.from("small"));
    driven.streams[2]!.end(trailers);
    driven.carrier.outcome = "sent";
    driven.connection.resume();
    const frames = driven.sent();
    const at = frames.findIndex((each) => each.streamId === 5);
    const before = frames.slice(0, at).reduce((sum, each) => sum + each.payload.length, 0);
    expect(before).toBeLessThanOrEqual(2 * 16 * KIB);
    expect(summary(frames.slice(at, at + 2))).toEqual(["DATA 5", "HEADERS 5 end"]);
  });

  test("a small answer overtakes bulk that waits for the next flush", () => {
    const driven = serving(2);
    driven.streams[0]!.write(Buffer.alloc(1024 * KIB));
    driven.streams[1]!.write(Buffer.from("small"));
    driven.streams[1]!.end(trailers);
    expect(summary(driven.sent()).slice(0, 3)).toEqual(["DATA 3", "HEADERS 3 end", "DATA 1"]);
  });

  test("small writes do not overtake without end", () => {
    const driven = serving(2);
    driven.streams[0]!.write(Buffer.alloc(100 * KIB));
    for (let count = 0; count < 1000; count += 1) driven.streams[1]!.write(Buffer.alloc(200));
    const frames = driven.sent();
    const before = frames.slice(
      0,
      frames.findIndex((each) => each.streamId === 1),
    );
    expect(before.reduce((sum, each) => sum + each.payload.length, 0)).toBeLessThanOrEqual(16 * KIB);
  });

  test("streams that wait for the connection's window take turns when it opens", () => {
    const driven = drivenServer({ peerSettings: [Setting.INITIAL_WINDOW_SIZE, 0x7fffffff] });
    for (const id of [1, 3, 5]) driven.receive(headersFrame(id, REQUEST, END));
    for (const { stream } of driven.server.streams) {
      stream!.sendHeaders(response, OPEN);
      stream!.write(Buffer.alloc(1024 * KIB));
    }
    const sums = new Map([1, 3, 5].map((id) => [id, 0]));
    for (let round = 0; round < 30; round += 1) {
      for (const { streamId, payload } of driven.sent()) sums.set(streamId, sums.get(streamId)! + payload.length);
      driven.receive(windowUpdate(0, 40_000));
    }
    const [least, , most] = [...sums.values()].toSorted((a, b) => a - b);
    expect(most! - least!).toBeLessThan(48 * KIB);
    expect(least).toBeGreaterThan(300 * KIB);
  });

  test("one flush stops after its turn and asks for another, so that what arrived is looked at", () => {
    const driven = serving(1, { limits: { turnBytes: 256 * KIB } });
    driven.streams[0]!.write(Buffer.alloc(4096 * KIB));
    const sent = driven.sent().reduce((sum, each) => sum + each.payload.length, 0);
    expect(sent).toBeGreaterThanOrEqual(256 * KIB);
    expect(sent).toBeLessThan(400 * KIB);
    expect(driven.carrier.isFlushRequested).toBe(true);
  });
});

describe("the socket", () => {
  test("gets everything of a turn at once", () => {
    const driven = serving(100);
    driven.carrier.sends = 0;
    for (const stream of driven.streams) {
      stream.write(Buffer.alloc(105));
      stream.end(trailers);
    }
    expect(driven.sent().length).toBe(200);
    expect(driven.carrier.sends).toBe(1);
  });

  test("is asked for once per flush", () => {
    const driven = serving(2);
    let requests = 0;
    driven.carrier.requestFlush = () => {
      requests += 1;
    };
    for (const stream of driven.streams) stream.write(Buffer.from("x"));
    driven.receive(settingsFrame());
    expect(requests).toBe(1);
    driven.connection.flush();
    driven.streams[0]!.write(Buffer.from("x"));
    expect(requests).toBe(2);
  });

  test("gets nothing more while it is full, and each stream goes on in turn when it no longer is", () => {
    const driven = serving(3, { limits: { flushBytes: 64 * KIB } });
    driven.carrier.outcome = "full";
    for (const stream of driven.streams) stream.write(Buffer.alloc(1024 * KIB));
    const first = driven.sent().reduce((sum, each) => sum + each.payload.length, 0);
    expect(first).toBeLessThan(100 * KIB);
    expect(driven.sent()).toEqual([]);
    const sums = new Map<number, number>();
    for (let round = 0; round < 30; round += 1) {
      driven.connection.resume();
      for (const { streamId, payload } of parseFrames(driven.carrier.take())) {
        sums.set(streamId, (sums.get(streamId) ?? 0) + payload.length);
      }
    }
    expect(sums.size).toBe(3);
    const [least, , most] = [...sums.values()].toSorted((a, b) => a - b);
    expect(most! - least!).toBeLessThanOrEqual(32 * KIB);
  });

  test("gets a lone stream in pieces of a flush, however much its source is asked for", () => {
    const driven = serving(1, { limits: { flushBytes: 32 * KIB } });
    const asked: number[] = [];
    let ready = 1;
    driven.streams[0]!.setSource({
      pull(maxBytes) {
        asked.push(maxBytes);
        return ready-- > 0 ? Buffer.alloc(maxBytes) : undefined;
      },
    });
    driven.carrier.outcome = "full";
    driven.connection.flush();
    expect(asked).toEqual([128 * KIB]);
    expect(driven.carrier.take().length).toBe(32 * KIB + 2 * 9);
    driven.carrier.outcome = "sent";
    driven.carrier.sends = 0;
    driven.connection.resume();
    expect(driven.carrier.take().length).toBe(96 * KIB + 6 * 9);
    expect(driven.carrier.sends).toBe(3);
  });

  test("gets nothing more while it is full, not even when answers to PING have piled up", () => {
    const driven = serving(1, { limits: { flushBytes: KIB } });
    driven.carrier.outcome = "full";
    driven.connection.ping(() => {});
    driven.connection.flush();
    driven.carrier.sends = 0;
    for (let count = 0; count < 1000; count += 1) driven.receive(frame(FrameType.PING, 0, 0, Buffer.alloc(8)));
    driven.streams[0]!.write(Buffer.from("x"));
    driven.streams[0]!.end(trailers);
    driven.connection.flush();
    expect(driven.carrier.sends).toBe(0);
  });

  test("gets nothing of a stream that was closed while it waited", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST, END), headersFrame(3, REQUEST, END));
    driven.carrier.outcome = "full";
    driven.connection.ping(() => {});
    driven.sent();
    for (const { stream } of driven.server.streams) {
      stream!.sendHeaders(response, OPEN);
      stream!.write(Buffer.from("body"));
      stream!.end(trailers);
    }
    driven.receive(resetFrame(1, ErrorCode.CANCEL));
    driven.carrier.outcome = "sent";
    driven.connection.resume();
    expect(summary(driven.sent())).toEqual(["HEADERS 3", "DATA 3", "HEADERS 3 end"]);
  });

  test.each([
    { flushBytes: 8 * KIB, roundsPerFlush: 1 },
    { flushBytes: 1024 * KIB, roundsPerFlush: 50 },
  ])("may keep what it was given: nothing writes there before it was sent, %o", ({ flushBytes, roundsPerFlush }) => {
    const driven = serving(20, { limits: { flushBytes } });
    driven.carrier.outcome = "kept";
    const bodies = driven.streams.map((_, at) => `${at}:`.padEnd(150, String.fromCharCode(97 + at)));
    for (let round = 0; round < 100; round += 1) {
      for (const [at, stream] of driven.streams.entries()) stream.write(Buffer.from(`${round} ${bodies[at]}`));
      if ((round + 1) % roundsPerFlush === 0) driven.connection.flush();
    }
    const content = new Map<number, string>();
    for (const { streamId, payload } of driven.sent()) {
      content.set(streamId, (content.get(streamId) ?? "") + payload.toString());
    }
    const expected = bodies.map((body) => Array.from({ length: 100 }, (_, round) => `${round} ${body}`).join(""));
    expect([...content.values()]).toEqual(expected);
  });

  test("gets large payloads as they are, small ones as copies", () => {
    const driven = serving(1);
    driven.carrier.outcome = "kept";
    const chunks: Uint8Array[] = [];
    driven.carrier.send = (given) => {
      chunks.push(...given);
      return "kept";
    };
    const large = new Uint8Array(12 * KIB);
    const small = new Uint8Array(100);
    driven.streams[0]!.write(large);
    driven.streams[0]!.write(small);
    driven.connection.flush();
    expect(chunks.map((chunk) => chunk.buffer === large.buffer)).toEqual([false, true, false]);
    expect(chunks.some((chunk) => chunk.buffer === small.buffer)).toBe(false);
  });
});

test("a thousand idle connections hold no buffers: they share those that are in use", () => {
  const resources = testResources();
  const memory = new Set<ArrayBufferLike>();
  for (let count = 0; count < 1000; count += 1) {
    const driven = serving(1, { resources });
    driven.carrier.send = (chunks) => {
      for (const chunk of chunks) memory.add(chunk.buffer);
      return count % 2 === 0 ? "sent" : "kept";
    };
    driven.streams[0]!.write(Buffer.alloc(100));
    driven.connection.flush();
  }
  // 500 of them left 109 bytes with the socket.
  expect(memory.size).toBeLessThanOrEqual(2);
});

describe("write", () => {
  test("says false above the mark, and onWritable follows once, below it", () => {
    const driven = serving(1);
    const [stream] = driven.streams;
    const [recorded] = driven.server.streams;
    expect(stream!.write(Buffer.alloc(64 * KIB))).toBe(true);
    expect(stream!.write(Buffer.alloc(1))).toBe(false);
    expect(stream!.write(Buffer.alloc(1))).toBe(false);
    driven.sent();
    expect(recorded!.events).toEqual(["headers, end", "writable"]);
    driven.sent();
    expect(recorded!.events.length).toBe(2);
  });

  test("may be called from onWritable", () => {
    const driven = serving(1);
    const [recorded] = driven.server.streams;
    let rest = 20;
    recorded!.onEvent = (event) => {
      if (event !== "writable") return;
      while (rest > 0) {
        rest -= 1;
        if (!recorded!.stream!.write(Buffer.alloc(50 * KIB, rest))) return;
      }
      recorded!.stream!.end(trailers);
    };
    recorded!.onEvent("writable");
    const frames = driven.allSent();
    expect(
      Buffer.concat(frames.filter((each) => each.type === FrameType.DATA).map((each) => each.payload)).length,
    ).toBe(20 * 50 * KIB);
    expect(summary(frames).at(-1)).toBe("HEADERS 1 end");
  });

  test("keeps its order with headers and end while the socket is full", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST, END), headersFrame(3, REQUEST, END));
    driven.carrier.outcome = "full";
    driven.connection.ping(() => {});
    driven.sent();
    const [first, second] = driven.server.streams.map((each) => each.stream!);
    first!.sendHeaders(response, OPEN);
    first!.write(Buffer.from("body"));
    first!.end(trailers);
    second!.sendHeaders(response, OPEN);
    second!.end();
    expect(driven.sent()).toEqual([]);
    driven.carrier.outcome = "sent";
    driven.connection.resume();
    expect(summary(driven.sent())).toEqual(["HEADERS 1", "DATA 1", "HEADERS 1 end", "HEADERS 3 end"]);
    expect(driven.connection.openStreams).toBe(0);
  });

  test("cuts into frames of the size that the client takes", () => {
    const driven = serving(1, { limits: { flushBytes: 64 * KIB } });
    driven.streams[0]!.write(Buffer.alloc(40_000));
    expect(driven.sent().map((each) => each.payload.length)).toEqual([16_384, 16_384, 7232]);
    driven.receive(settingsFrame(Setting.MAX_FRAME_SIZE, 100_000));
    driven.sent();
    driven.streams[0]!.write(Buffer.alloc(40_000));
    expect(driven.sent().map((each) => each.payload.length)).toEqual([40_000]);
  });
});
