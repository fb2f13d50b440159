import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import { ReceiveBudget, StreamWindow } from "./flow.ts";
import { ErrorCode, FrameType } from "./frame.ts";
import { Setting } from "./settings.ts";
import {
  dataFrame,
  frame,
  headersFrame,
  REQUEST,
  RESPONSE,
  resetFrame,
  settingsFrame,
  summary,
  windowUpdate,
} from "./testing/frames.ts";
import { type DrivenServer, drivenServer, isServing, JoinedPair, testResources } from "./testing/machines.ts";

const KIB = 1024;
const OPEN = { endStream: false };
const response = new HeaderBlock(RESPONSE);

/** Increments that were told, by stream id. */
function increments(driven: DrivenServer): Map<number, number> {
  const sums = new Map<number, number>();
  for (const { type, streamId, payload } of driven.sent()) {
    if (type === FrameType.WINDOW_UPDATE) sums.set(streamId, (sums.get(streamId) ?? 0) + payload.readUInt32BE(0));
  }
  return sums;
}

describe("what is sent", () => {
  /** Adds up what a peer may see of both windows, and fails on the first byte too many. */
  class PeerModel {
    connection = 65_535;
    initial = 65_535;
    readonly streams = new Map<number, number>();
    readonly received = new Map<number, number>();

    take(driven: DrivenServer): void {
      for (const { type, streamId, payload } of driven.sent()) {
        if (type !== FrameType.DATA) continue;
        this.connection -= payload.length;
        this.streams.set(streamId, this.streams.get(streamId)! - payload.length);
        this.received.set(streamId, (this.received.get(streamId) ?? 0) + payload.length);
        if (payload.length === 0) continue;
        expect(this.connection).toBeGreaterThanOrEqual(0);
        expect(this.streams.get(streamId)).toBeGreaterThanOrEqual(0);
      }
    }

    change(driven: DrivenServer, initial: number): void {
      for (const [id, window] of this.streams) this.streams.set(id, window + initial - this.initial);
      this.initial = initial;
      driven.receive(settingsFrame(Setting.INITIAL_WINDOW_SIZE, initial));
    }

    grant(driven: DrivenServer, streamId: number, increment: number): void {
      if (streamId === 0) this.connection += increment;
      else this.streams.set(streamId, this.streams.get(streamId)! + increment);
      driven.receive(windowUpdate(streamId, increment));
    }
  }

  const step = fc.oneof(
    fc.record({ kind: fc.constant("write" as const), stream: fc.nat(3), bytes: fc.integer({ min: 1, max: 100_000 }) }),
    fc.record({ kind: fc.constant("grant" as const), stream: fc.nat(4), bytes: fc.integer({ min: 1, max: 50_000 }) }),
    fc.record({ kind: fc.constant("change" as const), bytes: fc.nat(200_000) }),
    fc.record({ kind: fc.constant("frames" as const), bytes: fc.integer({ min: 16_384, max: 100_000 }) }),
    fc.record({ kind: fc.constant("full" as const) }),
    fc.record({ kind: fc.constant("resume" as const) }),
  );

  test("never exceeds a window, whatever the peer grants, takes back or holds up, and all of it arrives in the end", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const driven = drivenServer();
        const peer = new PeerModel();
        const written = new Map<number, number>();
        for (const id of [1, 3, 5, 7]) {
          driven.receive(headersFrame(id, REQUEST, { endStream: true }));
          peer.streams.set(id, 65_535);
          driven.server.streams.at(-1)!.stream!.sendHeaders(response, OPEN);
        }
        for (const each of steps) {
          if (each.kind === "write") {
            driven.server.streams[each.stream]!.stream!.write(Buffer.alloc(each.bytes, each.stream));
            written.set(2 * each.stream + 1, (written.get(2 * each.stream + 1) ?? 0) + each.bytes);
          } else if (each.kind === "grant") {
            peer.grant(driven, each.stream === 4 ? 0 : 2 * each.stream + 1, each.bytes);
          } else if (each.kind === "change") {
            peer.change(driven, each.bytes);
          } else if (each.kind === "frames") {
            driven.receive(settingsFrame(Setting.MAX_FRAME_SIZE, each.bytes));
          } else if (each.kind === "full") {
            driven.carrier.outcome = "full";
          } else {
            driven.carrier.outcome = "sent";
            driven.connection.resume();
          }
          peer.take(driven);
        }
        driven.carrier.outcome = "sent";
        driven.connection.resume();
        peer.grant(driven, 0, 10_000_000);
        for (const id of peer.streams.keys()) peer.grant(driven, id, 10_000_000);
        for (let count = 0; count < 10; count += 1) peer.take(driven);
        expect(peer.received).toEqual(written);
      }),
      { numRuns: Math.ceil(300 * inject("propertyScale")) },
    );
  });

  test("stops at a window that SETTINGS made negative, until it is positive again", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST, { endStream: true }));
    const { stream } = driven.server.streams[0]!;
    stream!.sendHeaders(response, OPEN);
    stream!.write(Buffer.alloc(16_000));
    expect(summary(driven.sent())).toEqual(["HEADERS 1", "DATA 1"]);
    driven.receive(settingsFrame(Setting.INITIAL_WINDOW_SIZE, 1000));
    stream!.write(Buffer.alloc(10));
    driven.receive(windowUpdate(1, 15_000));
    expect(summary(driven.sent())).toEqual(["SETTINGS 0 ack"]);
    driven.receive(windowUpdate(1, 3));
    expect(driven.sent().map((each) => each.payload.length)).toEqual([3]);
  });

  test("goes on when SETTINGS open the window", () => {
    const driven = drivenServer({ peerSettings: [Setting.INITIAL_WINDOW_SIZE, 0] });
    driven.receive(headersFrame(1, REQUEST, { endStream: true }));
    const { stream } = driven.server.streams[0]!;
    stream!.sendHeaders(response, OPEN);
    stream!.write(Buffer.alloc(10));
    expect(summary(driven.sent())).toEqual(["HEADERS 1"]);
    driven.receive(settingsFrame(Setting.INITIAL_WINDOW_SIZE, 100));
    expect(summary(driven.sent())).toEqual(["SETTINGS 0 ack", "DATA 1"]);
  });

  test("ends without credit: trailers need none", () => {
    const driven = drivenServer({ peerSettings: [Setting.INITIAL_WINDOW_SIZE, 0] });
    driven.receive(headersFrame(1, REQUEST, { endStream: true }));
    const { stream } = driven.server.streams[0]!;
    stream!.sendHeaders(response, OPEN);
    stream!.end(new HeaderBlock(["grpc-status", "8"]));
    expect(summary(driven.sent())).toEqual(["HEADERS 1", "HEADERS 1 end"]);
  });

  test.each([
    ["an increment of 0 for a stream", [windowUpdate(1, 0)], "RST_STREAM 1 PROTOCOL_ERROR"],
    ["an increment of 0 for the connection", [windowUpdate(0, 0)], "GOAWAY 1 PROTOCOL_ERROR"],
    ["a stream's window over 2^31-1", [windowUpdate(1, 0x7fffffff)], "RST_STREAM 1 FLOW_CONTROL_ERROR"],
    ["the connection's window over 2^31-1", [windowUpdate(0, 0x7fffffff)], "GOAWAY 1 FLOW_CONTROL_ERROR"],
    [
      "a stream's window over 2^31-1 by SETTINGS",
      [windowUpdate(1, 0x7fffffff - 65_535), settingsFrame(Setting.INITIAL_WINDOW_SIZE, 65_536)],
      "GOAWAY 1 FLOW_CONTROL_ERROR",
    ],
  ])("ends on %s", (_what, frames, expected) => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST));
    driven.receive(...frames);
    expect(summary(driven.sent())).toEqual([expected]);
  });

  test("takes windows up to 2^31-1", () => {
    const driven = drivenServer();
    driven.receive(
      headersFrame(1, REQUEST),
      windowUpdate(1, 0x7fffffff - 65_535),
      windowUpdate(0, 0x7fffffff - 65_535),
    );
    expect(driven.sent()).toEqual([]);
    expect(isServing(driven, 3)).toBe(true);
  });
});

describe("what is received", () => {
  test("beyond a stream's window resets the stream", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST));
    driven.server.streams[0]!.isReading = false;
    for (let count = 0; count < 4; count += 1) driven.receive(dataFrame(1, Buffer.alloc(16_384)));
    expect(driven.sent()).toEqual([]);
    driven.receive(dataFrame(1, "x"));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 1 FLOW_CONTROL_ERROR"]);
    expect(driven.server.streams[0]!.end).toMatchObject({ by: "stream-error", code: ErrorCode.FLOW_CONTROL_ERROR });
    expect(isServing(driven, 3)).toBe(true);
  });

  test("beyond the connection's window ends the connection", () => {
    // Nothing gives credit back while more than 100 KiB are unread.
    const limits = { connectionWindowBytes: 200 * KIB, connectionUnreadBytesMax: 100 * KIB };
    const driven = drivenServer({ limits });
    driven.server.onNewStream = (recorded) => {
      recorded.isReading = false;
    };
    let id = 1;
    for (let bytes = 0; bytes < 350 * KIB && !driven.connection.isClosed; bytes += 16 * KIB, id += 2) {
      driven.receive(headersFrame(id, REQUEST), dataFrame(id, Buffer.alloc(16_384)));
    }
    expect(summary(driven.sent()).at(-1)).toMatch(/^GOAWAY \d+ FLOW_CONTROL_ERROR$/);
  });

  test("is given back to a stream as it is consumed, half a window at a time", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST));
    const [recorded] = driven.server.streams;
    recorded!.isReading = false;
    driven.receive(dataFrame(1, Buffer.alloc(16_384)), dataFrame(1, Buffer.alloc(16_384)));
    expect(driven.sent()).toEqual([]);
    recorded!.stream!.consume(32_767);
    expect(driven.sent()).toEqual([]);
    recorded!.stream!.consume(1);
    expect(summary(driven.sent())).toEqual(["WINDOW_UPDATE 1 32768"]);
    recorded!.stream!.consume(1_000_000);
    expect(driven.sent()).toEqual([]);
  });

  test("is given back to the connection on receipt, also for streams that are gone, were refused or never read", () => {
    const driven = drivenServer({ limits: { connectionWindowBytes: 100_000, concurrentStreamsMax: 1 } });
    driven.receive(headersFrame(1, REQUEST), headersFrame(3, REQUEST));
    driven.server.streams[0]!.isReading = false;
    driven.sent();
    driven.receive(dataFrame(1, Buffer.alloc(16_384)), dataFrame(3, Buffer.alloc(16_384)), resetFrame(1, 8));
    driven.receive(dataFrame(3, Buffer.alloc(16_384)), dataFrame(3, Buffer.alloc(16_384)));
    expect(summary(driven.sent())).toEqual(["WINDOW_UPDATE 0 65536"]);
  });

  test("counts its padding, whose credit nobody has to give back", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST));
    driven.server.streams[0]!.isReading = false;
    const padded = frame(FrameType.DATA, 8, 1, Buffer.concat([Buffer.of(255), Buffer.alloc(1), Buffer.alloc(255)]));
    for (let count = 0; count < 1000; count += 1) driven.receive(padded);
    expect(driven.connection.isClosed).toBe(false);
    expect(driven.server.streams[0]!.body.length).toBe(1000);
    // All padding came back but for less than half a window.
    expect(increments(driven).get(1)).toBeGreaterThan(256 * 1000 - 32 * KIB - 1000);
  });

  test("in a body of one frame makes no stream's update", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST), dataFrame(1, Buffer.alloc(16_384), { endStream: true }));
    expect(driven.sent()).toEqual([]);
  });

  test("widens the window of a stream that is read, within the budget, and gives the budget back at its end", () => {
    const resources = testResources(3 * 1024 * KIB);
    const pair = new JoinedPair({ resources, limits: { streamWindowBytesMax: 1024 * KIB } });
    const uploads = [pair.open(REQUEST), pair.open(REQUEST), pair.open(REQUEST), pair.open(REQUEST)];
    pair.run();
    for (const upload of uploads) upload.stream!.write(Buffer.alloc(8 * 1024 * KIB));
    pair.run();
    expect(pair.server.streams.map((each) => each.body.length)).toEqual(uploads.map(() => 8 * 1024 * KIB));
    expect(resources.receiveBudget.usedBytes).toBeGreaterThan(2 * 1024 * KIB);
    expect(resources.receiveBudget.usedBytes).toBeLessThanOrEqual(3 * 1024 * KIB);
    for (const upload of uploads) upload.stream!.reset(ErrorCode.CANCEL);
    pair.run();
    expect(resources.receiveBudget.usedBytes).toBe(0);
  });

  test("by streams that nobody reads does not hold up calls beside them: 20 uploads of 1 MiB", () => {
    const pair = new JoinedPair();
    pair.server.onNewStream = (recorded) => {
      recorded.isReading = false;
    };
    for (let count = 0; count < 20; count += 1) pair.open(REQUEST).stream!.write(Buffer.alloc(1024 * KIB));
    pair.run();
    pair.server.onNewStream = (recorded) => {
      recorded.onEvent = (event) => {
        if (!event.endsWith("end")) return;
        recorded.stream!.sendHeaders(response, OPEN);
        recorded.stream!.write(recorded.body);
        recorded.stream!.end(new HeaderBlock(["grpc-status", "0"]));
      };
    };
    const body = Buffer.alloc(60_000, 7);
    for (let round = 0; round < 100; round += 1) {
      const call = pair.open(REQUEST);
      call.stream!.write(body);
      call.stream!.end();
      pair.run();
      expect(call.body).toEqual(body);
      expect(call.end!.by).toBe("both-sides");
    }
    const unread = pair.server.streams.slice(0, 20).map((each) => each.body.length);
    expect(unread).toEqual(Array.from({ length: 20 }, () => 64 * KIB));
    for (const stalled of pair.server.streams.slice(0, 20)) {
      stalled.isReading = true;
      stalled.stream!.consume(64 * KIB);
    }
    pair.run();
    expect(pair.server.streams.slice(0, 20).every((each) => each.body.length === 1024 * KIB)).toBe(true);
  });

  test("and not read by anybody holds the connection's credit back, until it is read", () => {
    const driven = drivenServer({ limits: { connectionWindowBytes: 128 * KIB, connectionUnreadBytesMax: 100_000 } });
    for (const id of [1, 3]) {
      driven.receive(headersFrame(id, REQUEST));
      driven.server.streams.at(-1)!.isReading = false;
      for (let count = 0; count < 4; count += 1) driven.receive(dataFrame(id, Buffer.alloc(16_384)));
    }
    expect(increments(driven).get(0)).toBe(64 * KIB);
    driven.server.streams[0]!.stream!.consume(40_000);
    expect(increments(driven).get(0)).toBe(64 * KIB);
  });

  test("and was never read no longer holds the connection's credit back once its stream is gone", () => {
    const driven = drivenServer({ limits: { connectionWindowBytes: 128 * KIB, connectionUnreadBytesMax: 40_000 } });
    driven.receive(headersFrame(1, REQUEST));
    driven.server.streams[0]!.isReading = false;
    for (let count = 0; count < 4; count += 1) driven.receive(dataFrame(1, Buffer.alloc(16_384)));
    expect(increments(driven).get(0)).toBeUndefined();
    driven.receive(resetFrame(1, ErrorCode.CANCEL));
    expect(increments(driven).get(0)).toBe(64 * KIB);
  });
});

test("a stream's window never grows over its limit", () => {
  const budget = new ReceiveBudget(1024 * 1024 * KIB);
  const window = new StreamWindow(64 * KIB, 1000 * KIB, budget);
  for (let count = 0; count < 1000; count += 1) {
    window.receive(32 * KIB);
    window.consume(32 * KIB);
  }
  // 64 KiB doubled as often as it fits.
  expect(budget.usedBytes).toBe(512 * KIB - 64 * KIB);
});

test("a stream's window: what is consumed comes back, and nothing else", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(40_000), { maxLength: 100 }), fc.nat(4_000_000), (reads, budgetBytes) => {
      const budget = new ReceiveBudget(budgetBytes);
      const window = new StreamWindow(65_536, 1024 * KIB, budget);
      let available = 65_536;
      let consumed = 0;
      let returned = 0;
      for (const read of reads) {
        const bytes = Math.min(read, available);
        expect(window.receive(bytes)).toBe(true);
        available -= bytes;
        consumed += bytes;
        const increment = window.consume(bytes);
        available += increment;
        returned += increment;
        // Credit is what was consumed, and what the budget added; less than half a window is owed.
        expect(returned).toBeLessThanOrEqual(consumed + budget.usedBytes);
        expect(available).toBeGreaterThan((65_536 + budget.usedBytes) / 2 - 1);
        expect(budget.usedBytes).toBeLessThanOrEqual(Math.min(budgetBytes, 1024 * KIB - 65_536));
      }
      expect(window.receive(available)).toBe(true);
      expect(window.receive(1)).toBe(false);
      window.release();
      expect(budget.usedBytes).toBe(0);
    }),
  );
});
