// Deadlines: sent, enforced on both sides, in all units.
import { Code, type Call } from "@sluice/rpc";
import { expect, test } from "vitest";
import { HeaderBlock } from "../../packages/rpc/src/transport.ts";
import { callFields, fieldOf, openWire, overBothTransports, startEcho } from "./support.ts";

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
    const left: number[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo(_request, call) {
          left.push((call.deadlineMs ?? 0) - performance.now());
          return {};
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Echo", { "grpc-timeout": timeout }), Buffer.alloc(5));
    if (ms > 1000) expect(fieldOf(answer.trailers, "grpc-status")).toBe("0");
    expect(left[0]).toBeLessThanOrEqual(ms);
    expect(left[0]).toBeGreaterThan(ms - 1000);
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
    const calls: Call[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        async *count(_request, call) {
          calls.push(call);
          const { promise, resolve } = Promise.withResolvers<void>();
          call.onEnd(() => resolve());
          await promise;
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Count", { "grpc-timeout": "20m" }), Buffer.alloc(5));
    expect(fieldOf(answer.trailers, "grpc-status")).toBe(String(Code.DEADLINE_EXCEEDED));
    expect(calls[0]?.signal.aborted).toBe(true);
    expect(calls[0]?.signal.reason).toMatchObject({ code: Code.DEADLINE_EXCEEDED });
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
    await using echo = await startEcho(transport, {
      limits: { statusLingerMs: 20 },
      handlers: {
        async *count() {
          for (const payload = new Uint8Array(64 * 1024); ;) yield { payload };
        },
      },
    });
    const responses = echo.client.count({});
    await responses.next();
    await using wire = await openWire(transport, echo.listener.address);
    const { promise: closed, resolve } = Promise.withResolvers<number>();
    const stream = wire.connection.open(
      new HeaderBlock(callFields("Count", { "grpc-timeout": "30m" })),
      { onHeaders() {}, onData() {}, onTrailers() {}, onWritable() {}, onClose: ({ code }) => resolve(code) },
      { endStream: false },
    );
    stream.write(Buffer.alloc(5));
    stream.end();
    await expect(closed).resolves.toBe(8);
  });

  test("the client enforces its deadline by itself", async () => {
    await using echo = await startEcho(transport, {
      handlers: {
        echo: (_request, call) => new Promise((resolve) => call.onEnd(() => resolve({}))),
        async *count(_request, call) {
          yield { index: 1 };
          await new Promise<void>((resolve) => call.onEnd(() => resolve()));
        },
      },
    });
    await expect(echo.client.echo({}, { timeoutMs: 20 })).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { index } of echo.client.count({}, { timeoutMs: 50 })) seen.push(index);
    })();
    await expect(reading).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(seen).toEqual([1]);
  });

  test("the deadline is told to the server in a unit that it can read", async () => {
    const left: number[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo(_request, call) {
          left.push(Math.round(((call.deadlineMs ?? 0) - performance.now()) / 1000));
          return {};
        },
      },
    });
    for (const timeoutMs of [5000, 2 ** 31 + 5000, 1e12]) await echo.client.echo({}, { timeoutMs });
    expect(left[0]).toBe(5);
    expect(left[1]).toBeCloseTo((2 ** 31 + 5000) / 1000, -2);
    expect(left[2]).toBeCloseTo(1e9, -5);
  });

  test("a deadline that is met leaves nothing behind", async () => {
    await using echo = await startEcho(transport);
    for (let round = 0; round < 100; round++) await echo.client.echo({}, { timeoutMs: 60_000 });
    expect(echo.server.armedDeadlines).toBe(0);
  });
});
