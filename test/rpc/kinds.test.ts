// The four kinds of methods, and when headers leave.
import { Code, type Metadata, RpcError } from "@sluice/rpc";
import { expect, test } from "vitest";
import { callFields, fieldOf, openWire, overBothTransports, startEcho } from "./support.ts";

async function* from<T>(...items: T[]): AsyncGenerator<T> {
  yield* items;
}

overBothTransports((transport) => {
  test("unary: one message in, one out", async () => {
    await using echo = await startEcho(transport);
    const payload = Uint8Array.of(0, 1, 255);
    const response = await echo.client.echo({ text: "grüße, 世界", payload });
    expect(response).toMatchObject({ text: "grüße, 世界", payload });
  });

  test("unary: an asynchronous handler", async () => {
    await using echo = await startEcho(transport, {
      handlers: { echo: async ({ text }) => Promise.resolve({ text: `later ${text}` }) },
    });
    await expect(echo.client.echo({ text: "x" })).resolves.toMatchObject({ text: "later x" });
  });

  test("server-streaming: all messages in order, then the end", async () => {
    await using echo = await startEcho(transport);
    const responses = await Array.fromAsync(echo.client.count({ count: 1000, payloadBytes: 10 }));
    expect(responses.map(({ index }) => index)).toEqual(Array.from({ length: 1000 }, (_, index) => index));
  });

  test("server-streaming: no message at all", async () => {
    await using echo = await startEcho(transport);
    await expect(Array.fromAsync(echo.client.count({ count: 0 }))).resolves.toEqual([]);
  });

  test("client-streaming: the answer follows the last message", async () => {
    await using echo = await startEcho(transport);
    const payload = new Uint8Array(3);
    const response = await echo.client.sum(from({ value: 1n, payload }, { value: 2n, payload }, { value: 39n }));
    expect(response).toMatchObject({ sum: 42n, messages: 3, bytes: 6n });
  });

  test("client-streaming: no message at all", async () => {
    await using echo = await startEcho(transport);
    await expect(echo.client.sum(from())).resolves.toMatchObject({ sum: 0n, messages: 0 });
  });

  test("client-streaming: the server may answer before the client has ended", async () => {
    const left = Promise.withResolvers<void>();
    await using echo = await startEcho(transport, {
      handlers: {
        async sum(requests) {
          for await (const { value } of requests) return { sum: value };
          return {};
        },
      },
    });
    async function* endless() {
      try {
        for (let value = 7n; ; value++) yield { value };
      } finally {
        left.resolve();
      }
    }
    await expect(echo.client.sum(endless())).resolves.toMatchObject({ sum: 7n });
    await left.promise;
  });

  test("bidi: every message is answered before the next is sent", async () => {
    await using echo = await startEcho(transport);
    const heard: string[] = [];
    let next = Promise.withResolvers<string | undefined>();
    async function* ask() {
      yield { text: "first" };
      for (let text = await next.promise; text !== undefined; text = await next.promise) {
        next = Promise.withResolvers();
        yield { text };
      }
    }
    for await (const { text } of echo.client.chat(ask())) {
      heard.push(text);
      next.resolve(heard.length < 5 ? `after ${heard.length}` : undefined);
    }
    expect(heard).toEqual(["first", "after 1", "after 2", "after 3", "after 4"]);
  });

  test("an idle subscription shows as open: its headers come before any message", async () => {
    const release = Promise.withResolvers<void>();
    await using echo = await startEcho(transport, {
      handlers: {
        async *count(_request, call) {
          call.responseMetadata.set("subscription", "7");
          await release.promise;
          yield { index: 1 };
        },
      },
    });
    const opened = Promise.withResolvers<string | undefined>();
    const responses = echo.client.count({}, { onHeaders: (metadata) => opened.resolve(metadata.get("subscription")) });
    await expect(opened.promise).resolves.toBe("7");
    release.resolve();
    await expect(Array.fromAsync(responses)).resolves.toMatchObject([{ index: 1 }]);
  });

  test.each(["Sum", "Chat"])("%s shows as open before its first request has come", async (method) => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const { stream, soFar, closed } = wire.open(callFields(method));
    await expect.poll(() => fieldOf(soFar.headers, ":status")).toBe("200");
    stream.end();
    expect(fieldOf((await closed).trailers, "grpc-status")).toBe("0");
  });

  test("headers that a handler holds back may say what the first request asked for", async () => {
    await using echo = await startEcho(transport, {
      handlers: {
        async sum(requests, call) {
          call.holdHeaders();
          let messages = 0;
          for await (const { value } of requests) {
            call.responseMetadata.append("value", String(value));
            messages++;
          }
          return { messages };
        },
        async *chat(requests, call) {
          call.holdHeaders();
          for await (const { text } of requests) {
            call.responseMetadata.set("first", text);
            call.sendHeaders();
            return;
          }
        },
      },
    });
    // Longer than the turn in which headers leave otherwise.
    const nextTurn = async (): Promise<void> => {
      await echo.client.echo({});
    };
    async function* values() {
      for (const value of [1n, 2n]) {
        await nextTurn();
        yield { value };
      }
    }
    const summed = Promise.withResolvers<Metadata>();
    await expect(echo.client.sum(values(), { onHeaders: summed.resolve })).resolves.toMatchObject({ messages: 2 });
    expect((await summed.promise).getAll("value")).toEqual(["1", "2"]);

    async function* texts() {
      await nextTurn();
      yield { text: "hello" };
    }
    const chatted = Promise.withResolvers<Metadata>();
    await expect(Array.fromAsync(echo.client.chat(texts(), { onHeaders: chatted.resolve }))).resolves.toEqual([]);
    expect((await chatted.promise).get("first")).toBe("hello");
  });

  test("what fails before the first wait is trailers-only, in every kind", async () => {
    const refuse = (): never => {
      throw new RpcError(Code.FAILED_PRECONDITION, "not today");
    };
    await using echo = await startEcho(transport, {
      handlers: {
        echo: refuse,
        async *count() {
          yield refuse();
        },
        sum: async () => refuse(),
        async *chat() {
          yield refuse();
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    for (const method of ["Echo", "Count", "Sum", "Chat"]) {
      const answer = await wire.request(callFields(method), Buffer.alloc(5));
      expect.soft(answer.isTrailersOnly, method).toBe(true);
      expect.soft(fieldOf(answer.headers, "grpc-status"), method).toBe(String(Code.FAILED_PRECONDITION));
      expect.soft(fieldOf(answer.headers, "grpc-message"), method).toBe("not today");
    }
  });

  test("an error after messages were sent follows them", async () => {
    await using echo = await startEcho(transport, {
      handlers: {
        async *count() {
          yield { index: 0 };
          yield { index: 1 };
          throw new RpcError(Code.ABORTED, "half way");
        },
      },
    });
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { index } of echo.client.count({})) seen.push(index);
    })();
    await expect(reading).rejects.toMatchObject({ code: Code.ABORTED, message: "half way" });
    expect(seen).toEqual([0, 1]);
  });

  test("a wrong number of requests is UNIMPLEMENTED, a torn one INTERNAL", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const frame = Buffer.alloc(5);
    for (const method of ["Echo", "Count"]) {
      const none = await wire.request(callFields(method));
      expect.soft(fieldOf(none.headers, "grpc-status"), `${method}, none`).toBe(String(Code.UNIMPLEMENTED));
      const two = await wire.request(callFields(method), frame, frame);
      expect.soft(fieldOf(two.headers, "grpc-status"), `${method}, two`).toBe(String(Code.UNIMPLEMENTED));
      const torn = await wire.request(callFields(method), frame.subarray(0, 3));
      expect.soft(fieldOf(torn.headers, "grpc-status"), `${method}, torn`).toBe(String(Code.INTERNAL));
    }
    const { stream, closed } = wire.open(callFields("Echo"), { endStream: true });
    stream.end();
    expect(fieldOf((await closed).headers, "grpc-status")).toBe(String(Code.UNIMPLEMENTED));
  });
});
