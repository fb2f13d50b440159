// What stands before the handlers, and what watches them.
import { Code, RpcError, type Call, type CallObserver, type Interceptor } from "@sluice/rpc";
import { expect, test } from "vitest";
import { ManualClock } from "@sluice/rpc/testing";
import { callFields, fieldOf, openWire, otherSpellings, overBothTransports, startEcho } from "./support.ts";

overBothTransports((transport) => {
  test("interceptors run in order, see method, peer and metadata, and may add headers", async () => {
    const seen: string[] = [];
    const first: Interceptor = (call) => {
      seen.push(`first ${call.method.name} ${call.requestMetadata.get("user") ?? "nobody"}`);
      call.responseMetadata.set("checked", "1");
    };
    const second: Interceptor = async ({ peer }) => {
      await Promise.resolve();
      seen.push(`second ${peer.address.replace(/:\d+$/, "")} ${peer.isEncrypted}`);
    };
    await using echo = await startEcho(transport, { interceptors: [first, second] });
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Echo", { user: "ada" }), Buffer.alloc(5));
    expect(fieldOf(answer.headers, "checked")).toBe("1");
    expect(seen).toEqual(["first Echo ada", "second 127.0.0.1 false"]);
  });

  test.each([
    ["at once", () => false],
    ["later", () => true],
  ])("an interceptor that refuses %s keeps the handler out, in every kind", async (_when, isLater) => {
    let handled = 0;
    const count = (): never => {
      handled++;
      throw new Error("reached");
    };
    const guard: Interceptor = (call) => {
      const error = new RpcError(Code.UNAUTHENTICATED, `no token for ${call.method.name}`);
      if (isLater()) return Promise.reject(error);
      throw error;
    };
    await using echo = await startEcho(transport, {
      interceptors: [guard, count],
      handlers: { echo: count, count: count, sum: count, chat: count },
    });
    await using wire = await openWire(transport, echo.listener.address);
    for (const method of ["Echo", "Count", "Sum", "Chat"]) {
      const answer = await wire.request(callFields(method), Buffer.alloc(5));
      expect.soft(answer.isTrailersOnly, method).toBe(true);
      expect.soft(fieldOf(answer.headers, "grpc-status"), method).toBe(String(Code.UNAUTHENTICATED));
    }
    expect(handled).toBe(0);
  });

  test.each(otherSpellings)("no other spelling of a path leads to a method: %s", async (path) => {
    const reached: string[] = [];
    await using echo = await startEcho(transport, {
      interceptors: [(call) => void reached.push(`interceptor ${call.method.name}`)],
      handlers: { echo: () => (reached.push("handler"), {}) },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const { headers, end } = await wire.request(callFields("Echo", { ":path": path }), Buffer.alloc(5));
    expect(reached).toEqual([]);
    // Not found, or no request at all.
    if (headers === undefined) expect(end.by).toBe("peer-reset");
    else expect(fieldOf(headers, "grpc-status")).toBe(String(Code.UNIMPLEMENTED));
    await wire.request(callFields("Echo"), Buffer.alloc(5));
    expect(reached).toEqual(["interceptor Echo", "handler"]);
  });

  test("the body of a call that is not admitted yet stays with the client", async () => {
    const release = Promise.withResolvers<void>();
    await using echo = await startEcho(transport, { interceptors: [() => release.promise] });
    await using wire = await openWire(transport, echo.listener.address);
    const payload = Buffer.alloc(1024 * 1024);
    payload.writeUInt32BE(payload.length - 5, 1);
    // Field 2, length 1,048,567: a payload that fills the message.
    Buffer.of(0x12, 0xf7, 0xff, 0x3f).copy(payload, 5);
    const { stream, closed } = wire.open(callFields("Echo"));
    expect(stream.write(payload)).toBe(false);
    stream.end();
    await expect.poll(() => echo.server.openCalls).toBe(1);
    release.resolve();
    const answer = await closed;
    expect(fieldOf(answer.trailers, "grpc-status")).toBe("0");
    expect(answer.data.equals(payload)).toBe(true);
  });

  test("a call that is cancelled while an interceptor decides never reaches its handler", async () => {
    const release = Promise.withResolvers<void>();
    let handled = 0;
    await using echo = await startEcho(transport, {
      interceptors: [() => release.promise],
      handlers: {
        echo() {
          handled++;
          return {};
        },
      },
    });
    const controller = new AbortController();
    const answer = echo.client.echo({}, { signal: controller.signal });
    await expect.poll(() => echo.server.openCalls).toBe(1);
    controller.abort();
    await expect(answer).rejects.toMatchObject({ code: Code.CANCELLED });
    await expect.poll(() => echo.server.openCalls).toBe(0);
    release.resolve();
    await expect.poll(() => echo.server.runningHandlers).toBe(0);
    expect(handled).toBe(0);
  });

  test("an observer hears of start, messages, bytes and end of every call", async () => {
    const heard: Record<string, unknown[]> = {};
    const observe = (call: Call): CallObserver => {
      const log = (heard[call.method.name] ??= []);
      return {
        received: (messages, bytes) => log.push(["in", messages, bytes]),
        answered: (afterMs) => log.push(["first", afterMs >= 0 && afterMs < 10_000]),
        sent: (messages, bytes) => log.push(["out", messages, bytes]),
        ended: (code, durationMs) => log.push(["end", code, durationMs >= 0 && durationMs < 10_000]),
      };
    };
    await using echo = await startEcho(transport, {
      observe,
      handlers: {
        chat() {
          throw new RpcError(Code.ABORTED, "no");
        },
      },
    });
    async function* requests() {
      yield { value: 1n };
      yield { value: 2n };
    }
    await echo.client.echo({ text: "abc" });
    await Array.fromAsync(echo.client.count({ count: 2 }));
    await echo.client.sum(requests());
    async function* texts() {
      yield { text: "a" };
    }
    await expect(Array.fromAsync(echo.client.chat(texts()))).rejects.toMatchObject({ code: Code.ABORTED });
    expect(heard).toEqual({
      Echo: [
        ["in", 1, 5],
        ["first", true],
        ["out", 1, 10],
        ["end", Code.OK, true],
      ],
      Count: [
        ["in", 1, 2],
        ["first", true],
        ["out", 1, 5],
        ["out", 1, 7],
        ["end", Code.OK, true],
      ],
      Sum: [
        ["in", 1, 2],
        ["in", 1, 2],
        ["first", true],
        ["out", 1, 9],
        ["end", Code.OK, true],
      ],
      Chat: [["end", Code.ABORTED, true]],
    });
  });

  test("a call that nobody observes costs not even a look at the clock", async () => {
    let looks = 0;
    class WatchedClock extends ManualClock {
      override monotonicMs(): number {
        looks++;
        return super.monotonicMs();
      }
    }
    const callsOf = async (options: { observe?: () => CallObserver }): Promise<number> => {
      await using echo = await startEcho(transport, { clock: new WatchedClock(), ...options });
      looks = 0;
      for (let call = 0; call < 10; call++) await echo.client.echo({ text: "abc" });
      await Array.fromAsync(echo.client.count({ count: 10 }));
      return looks;
    };
    expect(await callsOf({})).toBe(0);
    expect(await callsOf({ observe: () => ({ ended() {} }) })).toBeGreaterThan(0);
  });
});
