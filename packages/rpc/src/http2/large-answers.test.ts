import { describe, expect, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import { ErrorCode } from "./frame.ts";
import type { HandOver } from "./output.ts";
import { Setting } from "./settings.ts";
import { settingsFrame, summary } from "./testing/frames.ts";
import { serving } from "./testing/machines.ts";

const KIB = 1024;
const trailers = new HeaderBlock(["grpc-status", "0"]);

describe("written bytes", () => {
  /** A large answer, and whether its owner has heard that nobody looks at it. */
  function answering(outcome: HandOver) {
    const driven = serving(1);
    const freed: Uint8Array[] = [];
    const bytes = new Uint8Array(100 * KIB);
    driven.carrier.outcome = outcome;
    driven.streams[0]!.write(bytes, { free: (given) => freed.push(given) });
    return { driven, freed, bytes };
  }

  test("are their owner's again when the socket has taken all of them", () => {
    const { driven, freed, bytes } = answering("sent");
    driven.connection.flush();
    expect(freed).toEqual([bytes]);
    expect(freed[0]).toBe(bytes);
  });

  test("are not while a part waits for a window", () => {
    const { driven, freed } = answering("sent");
    driven.receive(settingsFrame(Setting.INITIAL_WINDOW_SIZE, 100 * KIB - 1));
    driven.connection.flush();
    expect(freed).toEqual([]);
    driven.receive(settingsFrame(Setting.INITIAL_WINDOW_SIZE, 100 * KIB));
    driven.connection.flush();
    expect(freed).toHaveLength(1);
  });

  test.each<[string, (driven: ReturnType<typeof serving>) => void]>([
    ["says so", ({ connection }) => connection.resume()],
    ["has taken what came later", ({ connection }) => connection.flush()],
  ])("are not while the socket keeps them, but when it %s", (_what, tell) => {
    const { driven, freed } = answering("kept");
    driven.connection.flush();
    driven.streams[0]!.write(new Uint8Array(10));
    expect(freed).toEqual([]);
    driven.carrier.outcome = "sent";
    tell(driven);
    expect(freed).toHaveLength(1);
  });

  test("are not when the socket has taken what it kept, but not them", () => {
    const { driven, freed, bytes } = answering("kept");
    driven.connection.flush();
    freed.length = 0;
    driven.streams[0]!.write(bytes, { free: (given) => freed.push(given) });
    driven.connection.resume();
    expect(freed).toHaveLength(1);
    driven.connection.flush();
    expect(freed).toHaveLength(1);
  });

  test("are when a full socket has room again", () => {
    const { driven, freed } = answering("full");
    driven.connection.flush();
    // 32 KiB at a time.
    for (let parts = 1; parts <= 4; parts++) {
      expect(freed).toEqual([]);
      driven.connection.resume();
    }
    expect(freed).toHaveLength(1);
  });

  test("are not when their stream is reset in the middle of them, nor small ones ever", () => {
    const { driven, freed } = answering("full");
    driven.connection.flush();
    driven.streams[0]!.reset(ErrorCode.CANCEL);
    driven.carrier.outcome = "sent";
    driven.connection.resume();
    const small = serving(1);
    small.streams[0]!.write(new Uint8Array(KIB), { free: (given) => freed.push(given) });
    small.connection.flush();
    expect(freed).toEqual([]);
  });
});

describe("over TLS, whose sockets copy what comes in many pieces", () => {
  function encrypted() {
    return serving(1, { isEncrypted: true });
  }

  test("a large payload is copied, whatever lies in the slabs already", () => {
    const driven = encrypted();
    driven.carrier.outcome = "kept";
    const bytes = Buffer.from(new Uint8Array(500 * KIB).map((_, at) => at * 31));
    let body = Buffer.alloc(0);
    for (let sent = 0; sent < bytes.length; sent += 10_001) {
      driven.streams[0]!.write(bytes.subarray(sent, sent + 10_001));
      if (sent % 3 === 0) driven.connection.flush();
      if (sent % 2 === 0) driven.carrier.outcome = "sent";
      driven.connection.resume();
      body = Buffer.concat([body, ...driven.sent().map(({ payload }) => payload)]);
      driven.carrier.outcome = "kept";
    }
    expect(body.equals(bytes)).toBe(true);
  });

  test("its memory serves again once the socket has taken it", () => {
    const driven = encrypted();
    const memory = new Set<ArrayBufferLike>();
    driven.carrier.send = (chunks) => {
      for (const chunk of chunks) memory.add(chunk.buffer);
      return "kept";
    };
    for (let round = 0; round < 50; round++) {
      driven.streams[0]!.write(new Uint8Array(60 * KIB));
      driven.connection.flush();
      driven.connection.resume();
    }
    expect(memory.size).toBeLessThanOrEqual(4);
  });
});

describe("large answers", () => {
  test("leave when what has arrived is handled, but for a rest", () => {
    const driven = serving(1);
    driven.connection.flush();
    driven.carrier.take();
    driven.streams[0]!.write(new Uint8Array(100 * KIB));
    driven.streams[0]!.end(trailers);
    driven.connection.flushBulk();
    expect(driven.carrier.take().length).toBeGreaterThan(90 * KIB);
    expect(driven.carrier.isFlushRequested).toBe(true);
    expect(summary(driven.sent()).at(-1)).toBe("HEADERS 1 end");
  });

  test("small ones wait for all of a turn", () => {
    const driven = serving(3);
    driven.connection.flush();
    driven.carrier.take();
    for (const stream of driven.streams) stream.write(new Uint8Array(10 * KIB));
    driven.connection.flushBulk();
    expect(driven.carrier.take().length).toBe(0);
  });

  test("stay while the socket is full", () => {
    const driven = serving(1);
    driven.carrier.outcome = "full";
    driven.connection.ping(() => {});
    driven.connection.flush();
    driven.carrier.take();
    driven.streams[0]!.write(new Uint8Array(100 * KIB));
    driven.connection.flushBulk();
    expect(driven.carrier.take().length).toBe(0);
  });
});
