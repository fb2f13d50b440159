// Deadlines: sent, enforced on both sides, in all units.
import { Code, type Call } from "@sluice/rpc";
import { expect, test } from "vitest";
import { Http2Error } from "../../packages/rpc/src/grpc/status.ts";
import { HeaderBlock } from "../../packages/rpc/src/transport.ts";
import { ManualClock } from "@sluice/rpc/testing";
import { callFields, fieldOf, openWire, overBothTransports, startEcho, startPlain } from "./support.ts";

overBothTransports((transport) => {
  test.each([
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["3S", 3000],
    ["1500m", 1500],
    ["99999999u", 99_999.999],
    ["99999999n", 99.999_999],
    // 11,415 years: far beyond what one timer of the event loop can wait.
    ["99999999H", 359_999_996_400_000],
  ])("grpc-timeout %s reaches the handler as %i ms", async (timeout, ms) => {
    const clock = new ManualClock();
    const left: number[] = [];
    await using echo = await startEcho(transport, {
      clock,
      handlers: {
        echo(_request, call) {
          left.push((call.deadlineMs ?? 0) - clock.monotonicMs());
          return {};
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Echo", { "grpc-timeout": timeout }), Buffer.alloc(5));
    expect(fieldOf(answer.trailers, "grpc-status")).toBe("0");
    expect(left[0]).toBeCloseTo(ms, 3);
  });

  test.each(["", "5", "S", "5s", "-1S", "+1S", " 1S", "1.5S", "123456789S", "5SS", "٣S"])(
    "a malformed grpc-timeout (%j) is INTERNAL, as in grpc-go",
    async (timeout) => {
      await using echo = await startEcho(transport);
      await using wire = await openWire(transport, echo.listener.address);
      const value = Buffer.from(timeout, "utf8").toString("latin1").trim();
      const answer = await wire.request(callFields("Echo", { "grpc-timeout": value }), Buffer.alloc(5));
      const isMalformed = !/^\d{1,8}[HMSmun]$/.test(value);
      expect(fieldOf(answer.headers, "grpc-status")).toBe(isMalformed ? String(Code.INTERNAL) : undefined);
    },
  );

  test("the server ends a call whose deadline passes, and its handler hears of it", async () => {
    const clock = new ManualClock();
    const calls: Call[] = [];
    await using echo = await startEcho(transport, {
      clock,
      handlers: {
        async *count(_request, call) {
          calls.push(call);
          yield { index: 1 };
          await new Promise<void>((resolve) => call.onEnd(() => resolve()));
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const answer = wire.request(callFields("Count", { "grpc-timeout": "20S" }), Buffer.alloc(5));
    await expect.poll(() => calls.length).toBe(1);
    clock.advance(19_999);
    expect(calls[0]?.isEnded).toBe(false);
    clock.advance(10);
    expect(calls[0]?.isEnded).toBe(true);
    expect(calls[0]?.signal.reason).toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(fieldOf((await answer).trailers, "grpc-status")).toBe(String(Code.DEADLINE_EXCEEDED));
    expect(clock.timers).toBeLessThanOrEqual(1);
  });

  test("a deadline may lie beyond what one timer of the event loop can wait", async () => {
    const clock = new ManualClock();
    await using echo = await startEcho(transport, {
      clock,
      handlers: { count: () => ({ attach() {}, pull: () => undefined }) },
    });
    await using wire = await openWire(transport, echo.listener.address);
    // 600 hours are more than 2^31 ms.
    const answer = wire.request(callFields("Count", { "grpc-timeout": "600H" }), Buffer.alloc(5));
    await expect.poll(() => echo.server.openCalls).toBe(1);
    clock.advance(600 * 3_600_000 - 1);
    expect(echo.server.armedDeadlines).toBe(1);
    clock.advance(10);
    expect(fieldOf((await answer).trailers, "grpc-status")).toBe(String(Code.DEADLINE_EXCEEDED));
  });

  test("a deadline that has passed before the handler answers is trailers-only", async () => {
    await using echo = await startEcho(transport, {
      handlers: {
        echo: (_request, call) => new Promise((resolve) => call.onEnd(() => resolve({}))),
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Echo", { "grpc-timeout": "0n" }), Buffer.alloc(5));
    expect(answer.isTrailersOnly).toBe(true);
    expect(fieldOf(answer.headers, "grpc-status")).toBe(String(Code.DEADLINE_EXCEEDED));
  });

  test("a peer that never reads cannot keep a call open beyond its deadline", async () => {
    const clock = new ManualClock();
    await using echo = await startEcho(transport, {
      clock,
      limits: { statusLingerMs: 20 },
      handlers: {
        async *count() {
          for (const payload = new Uint8Array(64 * 1024); ;) yield { payload };
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const closed = Promise.withResolvers<number>();
    let received = 0;
    const stream = wire.connection.open(
      new HeaderBlock(callFields("Count", { "grpc-timeout": "30S" })),
      {
        onHeaders() {},
        onData: (_buffer, start, end) => void (received += end - start),
        onTrailers() {},
        onWritable() {},
        onClose: ({ code }) => closed.resolve(code),
      },
      { endStream: false },
    );
    stream.write(Buffer.alloc(5));
    stream.end();
    await expect.poll(() => received).toBeGreaterThan(0);
    clock.advance(30_010);
    clock.advance(100);
    await expect(closed.promise).resolves.toBe(Http2Error.CANCEL);
  });

  test("the client enforces its deadline by itself", async () => {
    const clock = new ManualClock();
    await using echo = await startEcho(transport, {
      channel: { clock },
      handlers: {
        echo: (_request, call) => new Promise((resolve) => call.onEnd(() => resolve({}))),
        async *count(_request, call) {
          yield { index: 1 };
          await new Promise<void>((resolve) => call.onEnd(() => resolve()));
        },
      },
    });
    // The server's clock runs as always: its deadline is an hour away.
    const answer = echo.client.echo({}, { timeoutMs: 3_600_000 });
    const responses = echo.client.count({}, { timeoutMs: 3_600_000 });
    await expect(responses.next()).resolves.toMatchObject({ value: { index: 1 } });
    await expect.poll(() => echo.server.openCalls).toBe(2);
    const pending = responses.next();
    clock.advance(3_600_010);
    await expect(answer).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    await expect(pending).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
  });

  test("the deadline is told to the server in a unit that it can read", async () => {
    const clock = new ManualClock();
    const left: number[] = [];
    await using echo = await startEcho(transport, {
      clock,
      channel: { clock },
      handlers: {
        echo(_request, call) {
          left.push((call.deadlineMs ?? 0) - clock.monotonicMs());
          return {};
        },
      },
    });
    for (const timeoutMs of [0.25, 5000, 2 ** 31 + 5000, 1e12]) await echo.client.echo({}, { timeoutMs });
    // Rounded up to what eight digits can say: 99,999,999 ms, then seconds, then minutes.
    expect(left.map((ms) => Math.round(ms * 1000) / 1000)).toEqual([0.25, 5000, 2_147_489_000, 1_000_000_020_000]);
  });

  test("a server that resets a call because its timer was faster does not hide the deadline", async () => {
    const clock = new ManualClock();
    const passMs = [5000, 5002];
    await using plain = await startPlain(
      transport,
      (stream) => {
        clock.advance(passMs.shift() ?? 0);
        stream.reset(Http2Error.CANCEL);
      },
      { clock },
    );
    // Due at the clock's 6001 ms and 11,001 ms: the channel looks at its deadlines a few ms later.
    await expect(plain.client.echo({}, { timeoutMs: 5001 })).rejects.toMatchObject({ code: Code.CANCELLED });
    await expect(plain.client.echo({}, { timeoutMs: 5001 })).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
  });

  test("a call that is sent again has only the rest of its time", async () => {
    const clock = new ManualClock();
    const timeouts: (string | undefined)[] = [];
    await using plain = await startPlain(
      transport,
      (stream, headers) => {
        timeouts.push(fieldOf(headers, "grpc-timeout"));
        clock.advance(2000);
        stream.reset(timeouts.length === 1 ? Http2Error.REFUSED_STREAM : Http2Error.CANCEL);
      },
      { clock },
    );
    await expect(plain.client.echo({}, { timeoutMs: 5000 })).rejects.toMatchObject({ code: Code.CANCELLED });
    expect(timeouts).toEqual(["5000m", "3000m"]);
  });

  test("a deadline that is met leaves nothing behind", async () => {
    await using echo = await startEcho(transport);
    for (let round = 0; round < 100; round++) await echo.client.echo({}, { timeoutMs: 60_000 });
    expect(echo.server.armedDeadlines).toBe(0);
  });
});
