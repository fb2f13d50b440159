// How calls end from outside, and that nothing is left of them.
import { getEventListeners } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { Code, RpcError, type Call, type FrameSource } from "@sluice/rpc";
import { expect, test } from "vitest";
import { Http2Error } from "../../packages/rpc/src/grpc/status.ts";
import { callFields, expectIdle, openWire, overBothTransports, startEcho, type Echo, type Wire } from "./support.ts";

const ROUNDS = 1000;

/** A source that never has anything. */
const SILENT: FrameSource = { attach() {}, pull: () => undefined };

function untilEnd(call: Call): Promise<void> {
  return new Promise((resolve) => call.onEnd(() => resolve()));
}

overBothTransports((transport) => {
  test("a client's signal ends the call on both sides", async () => {
    const ended: [Code, boolean][] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        async *count(_request, call) {
          call.onEnd((code) => ended.push([code, call.signal.aborted]));
          yield { index: 1 };
          await untilEnd(call);
        },
      },
    });
    const controller = new AbortController();
    const responses = echo.client.count({}, { signal: controller.signal });
    await responses.next();
    const pending = responses.next();
    controller.abort(new Error("enough"));
    await expect(pending).rejects.toMatchObject({ code: Code.CANCELLED, cause: new Error("enough") });
    await expect(responses.next()).rejects.toMatchObject({ code: Code.CANCELLED });
    await expectIdle(echo.server);
    expect(ended).toEqual([[Code.CANCELLED, true]]);
    expect(echo.errors).toEqual([]);
  });

  test("a pending next rejects in the turn of the abort", async () => {
    await using echo = await startEcho(transport, { handlers: { count: () => SILENT } });
    const controller = new AbortController();
    const responses = echo.client.count({}, { signal: controller.signal });
    const order: string[] = [];
    const pending = responses.next().catch(() => order.push("rejected"));
    await expect.poll(() => echo.server.openCalls).toBe(1);
    setImmediate(() => order.push("next turn"));
    controller.abort();
    await pending;
    await turn();
    expect(order).toEqual(["rejected", "next turn"]);
  });

  test("a signal that outlives its calls is let go of", async () => {
    await using echo = await startEcho(transport);
    const { signal } = new AbortController();
    for (let round = 0; round < 20; round++) await echo.client.echo({}, { signal });
    await Array.fromAsync(echo.client.count({ count: 2 }, { signal }));
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  test("a signal that was aborted before makes no call", async () => {
    await using echo = await startEcho(transport);
    const signal = AbortSignal.abort();
    await expect(echo.client.echo({}, { signal })).rejects.toMatchObject({ code: Code.CANCELLED });
    expect(echo.channel.state).toBe("idle");
  });

  test("leaving the loop cancels the call and runs the handler's finally", async () => {
    const cleaned = Promise.withResolvers<void>();
    await using echo = await startEcho(transport, {
      handlers: {
        async *count() {
          try {
            for (let index = 0; ; index++) yield { index, payload: new Uint8Array(10_000) };
          } finally {
            cleaned.resolve();
          }
        },
      },
    });
    for await (const { index } of echo.client.count({})) if (index === 3) break;
    await cleaned.promise;
    await expectIdle(echo.server);
  });

  test("a handler that waits for requests is woken by the cancel", async () => {
    const heard = Promise.withResolvers<unknown>();
    await using echo = await startEcho(transport, {
      handlers: {
        async *chat(requests) {
          try {
            for await (const { text } of requests) yield { text };
          } catch (error) {
            heard.resolve(error);
            throw error;
          }
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const { stream, closed } = wire.open(callFields("Chat"));
    await expect.poll(() => echo.server.openCalls).toBe(1);
    stream.reset(Http2Error.CANCEL);
    await closed;
    await expect(heard.promise).resolves.toMatchObject({ code: Code.CANCELLED });
    await expectIdle(echo.server);
    expect(echo.errors).toEqual([]);
  });

  test("what a handler breaks on after the end is reported, what the end itself caused is not", async () => {
    await using echo = await startEcho(transport, {
      handlers: {
        async *count({ count }, call) {
          await untilEnd(call);
          call.signal.throwIfAborted();
          yield { index: count };
        },
        async sum(_requests, call) {
          await untilEnd(call);
          throw new Error("a bug in the clean-up");
        },
      },
    });
    const controller = new AbortController();
    const reading = Array.fromAsync(echo.client.count({}, { signal: controller.signal }));
    const adding = echo.client.sum((async function* () {})(), { signal: controller.signal });
    await expect.poll(() => echo.server.openCalls).toBe(2);
    controller.abort();
    await Promise.allSettled([reading, adding]);
    await expectIdle(echo.server);
    expect(echo.errors.map(String)).toEqual(["Error: a bug in the clean-up"]);
  });

  test("the signal and onEnd also tell of the normal end, and what comes late is told at once", async () => {
    const calls: Call[] = [];
    const codes: Code[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo(_request, call) {
          calls.push(call);
          call.onEnd((code) => codes.push(code));
          if (calls.length === 2) throw new RpcError(Code.NOT_FOUND, "");
          return {};
        },
      },
    });
    await echo.client.echo({});
    await expect(echo.client.echo({})).rejects.toMatchObject({ code: Code.NOT_FOUND });
    expect(codes).toEqual([Code.OK, Code.NOT_FOUND]);
    const late: Code[] = [];
    for (const call of calls) {
      call.onEnd((code) => late.push(code));
      expect(call.isEnded).toBe(true);
      expect(call.signal.aborted).toBe(true);
    }
    expect(late).toEqual([Code.OK, Code.NOT_FOUND]);
  });

  // One shape of handler each: waits on its signal, on onEnd, inside a source, on requests, on the transport.
  const waiting: Parameters<typeof startEcho>[1] = {
    handlers: {
      echo: (_request, call) => untilEnd(call).then(() => ({})),
      async *count({ count }, call) {
        if (count === 0) {
          await new Promise((_, reject) =>
            call.signal.addEventListener("abort", () => reject(call.signal.reason as Error)),
          );
        }
        for (const payload = new Uint8Array(64 * 1024); ;) yield { payload };
      },
      async sum(requests) {
        for await (const _ of requests);
        return {};
      },
    },
  };

  async function openMany(wire: Wire, echo: Echo, more: Record<string, string> = {}): Promise<{ reset(): void }[]> {
    const methods = ["Echo", "Count", "Count", "Sum", "Chat"];
    // CountRequest{}, and CountRequest{count: 1}: silent, and endless.
    const requests = [
      Buffer.of(0, 0, 0, 0, 0),
      Buffer.of(0, 0, 0, 0, 0),
      Buffer.of(0, 0, 0, 0, 2, 8, 1),
      Buffer.alloc(0),
      Buffer.alloc(0),
    ];
    const streams = Array.from({ length: ROUNDS }, (_, at) => {
      const { stream } = wire.open(callFields(methods[at % 5] ?? "", more));
      stream.write(requests[at % 5] ?? Buffer.alloc(0));
      if (at % 5 < 3) stream.end();
      return { reset: () => stream.reset(Http2Error.CANCEL) };
    });
    if (more["grpc-timeout"] === undefined) await expect.poll(() => echo.server.openCalls).toBe(ROUNDS);
    return streams;
  }

  test("1,000 cancelled calls leave nothing", async () => {
    await using echo = await startEcho(transport, waiting);
    await using wire = await openWire(transport, echo.listener.address);
    for (const stream of await openMany(wire, echo)) stream.reset();
    await expectIdle(echo.server);
    expect(echo.errors).toEqual([]);
  });

  test("1,000 calls of a lost connection leave nothing", async () => {
    await using echo = await startEcho(transport, waiting);
    {
      await using wire = await openWire(transport, echo.listener.address);
      await openMany(wire, echo);
    }
    await expectIdle(echo.server);
    await expect.poll(() => echo.listener.connections).toBe(0);
  });

  test("1,000 calls past their deadline leave nothing", async () => {
    await using echo = await startEcho(transport, { ...waiting, limits: { statusLingerMs: 100 } });
    await using wire = await openWire(transport, echo.listener.address);
    await openMany(wire, echo, { "grpc-timeout": "200m" });
    await expectIdle(echo.server);
  });

  test("1,000 calls of a client that gives up leave nothing on its side", async () => {
    await using echo = await startEcho(transport, waiting);
    const controller = new AbortController();
    const { signal } = controller;
    const calls = Array.from({ length: ROUNDS }, (_, at) =>
      at % 2 === 0
        ? echo.client.echo({}, { signal, timeoutMs: 60_000 })
        : Array.fromAsync(echo.client.count({}, { signal })),
    );
    const settled = Promise.allSettled(calls);
    await expect.poll(() => echo.channel.openCalls).toBe(ROUNDS);
    controller.abort();
    expect((await settled).every(({ status }) => status === "rejected")).toBe(true);
    expect(echo.channel.openCalls).toBe(0);
    await expectIdle(echo.server);
  });
});
