// Messages: split anywhere, of any size, compressed, over the limit; and ready-made frames.
import { once } from "node:events";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { toBinary, create } from "@bufbuild/protobuf";
import { Code, codecOf, frameOf, Frames } from "@sluice/rpc";
import { expect, test } from "vitest";
import { PREFACE } from "../../packages/rpc/src/http2/frame.ts";
import { dataFrame, headersFrame, settingsFrame } from "../../packages/rpc/src/http2/testing/frames.ts";
import { CountResponseSchema, EchoRequestSchema, EchoResponseSchema, SumRequestSchema } from "./gen/echo_pb.ts";
import { callFields, expectOwnBytes, fieldOf, openWire, overBothTransports, startEcho } from "./support.ts";

const MIB = 1024 * 1024;

function echoFrame(text: string): Uint8Array {
  return frameOf(toBinary(EchoRequestSchema, create(EchoRequestSchema, { text })));
}

/** A gzip frame of bytes. */
function gzipFrame(message: Uint8Array): Uint8Array {
  return frameOf(gzipSync(message), 1);
}

overBothTransports((transport) => {
  test("a request may be split at any byte", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const frame = echoFrame("split me");
    const want = frameOf(toBinary(EchoResponseSchema, create(EchoResponseSchema, { text: "split me" })));
    for (let at = 0; at <= frame.length; at++) {
      const answer = await wire.request(callFields("Echo"), frame.subarray(0, at), frame.subarray(at));
      expect(answer.data.equals(want), `split at ${at}`).toBe(true);
    }
    const bytes = Array.from(frame, (byte) => Uint8Array.of(byte));
    expect((await wire.request(callFields("Echo"), ...bytes)).data.equals(want)).toBe(true);
  });

  test("a stream of requests may be split and joined at any byte", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const values = [0n, 1n, 300n, 2n ** 40n];
    const frames = Buffer.concat(
      values.map((value) => frameOf(toBinary(SumRequestSchema, create(SumRequestSchema, { value })))),
    );
    const whole = await wire.request(callFields("Sum"), frames);
    expect(fieldOf(whole.trailers, "grpc-status")).toBe("0");
    for (let at = 1; at < frames.length; at++) {
      const answer = await wire.request(callFields("Sum"), frames.subarray(0, at), frames.subarray(at));
      expect(answer.data.equals(whole.data), `split at ${at}`).toBe(true);
    }
  });

  test("a message may be empty", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Sum"), Buffer.alloc(5 * 1000));
    expect(answer.data).toEqual(Buffer.of(0, 0, 0, 0, 3, 0x10, 0xe8, 0x07));
  });

  test("a request in one frame that its handler keeps stays as it was", async () => {
    const payloads: Uint8Array[] = [];
    const isDone = Promise.withResolvers<void>();
    await using echo = await startEcho(transport, {
      handlers: {
        echo({ payload }) {
          payloads.push(payload);
          if (payloads.length === 3) isDone.resolve();
          return {};
        },
      },
    });
    const socket = connect(echo.listener.port, "127.0.0.1");
    socket.write(Buffer.concat([PREFACE, settingsFrame()]));
    for (const [at, text] of ["first", "second", "third"].entries()) {
      const message = toBinary(EchoRequestSchema, create(EchoRequestSchema, { payload: Buffer.from(text) }));
      const streamId = 2 * at + 1;
      const request = [
        headersFrame(streamId, callFields("Echo")),
        dataFrame(streamId, frameOf(message), { endStream: true }),
      ];
      // Each comes in a read of its own: what is answered was read.
      const answered = once(socket, "data");
      socket.write(Buffer.concat(request));
      await answered;
    }
    await isDone.promise;
    const kept = payloads.map((payload) => Buffer.from(payload).toString());
    const closed = once(socket, "close");
    socket.destroy();
    await closed;
    expect(kept).toEqual(["first", "second", "third"]);
  });

  test("what handlers and callers keep of messages stays as it was", async () => {
    const kept: Uint8Array[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo({ payload }) {
          kept.push(payload);
          return { payload };
        },
      },
    });
    const sent = [3, 100, 5000, 15_000, 40_000].map((length, at) => new Uint8Array(length).fill(at + 1));
    const answers: Uint8Array[] = [];
    for (const payload of sent) answers.push((await echo.client.echo({ payload })).payload);
    await echo.client.echo({ payload: new Uint8Array(200_000) });
    expect(kept.slice(0, -1)).toEqual(sent);
    expect(answers).toEqual(sent);
  });

  test("messages larger than all windows arrive whole, both ways", async () => {
    await using echo = await startEcho(transport);
    const payload = new Uint8Array(4 * MIB - 100).map((_, at) => at * 31);
    const response = await echo.client.echo({ payload });
    expect(Buffer.compare(response.payload, payload)).toBe(0);
  });

  test("large answers of many calls at once each have their own bytes, whoever's memory they were made in", async () => {
    await using echo = await startEcho(transport);
    await expectOwnBytes(echo.client, 60);
  });

  test("a request over the limit is refused before it has arrived", async () => {
    await using echo = await startEcho(transport, { limits: { messageBytesMax: 1000 } });
    await using wire = await openWire(transport, echo.listener.address);
    for (const method of ["Echo", "Count", "Sum", "Chat"]) {
      const { stream, closed } = wire.open(callFields(method));
      stream.write(Buffer.of(0, 0, 0, 0x03, 0xe9));
      const answer = await closed;
      const status = fieldOf(answer.headers, "grpc-status") ?? fieldOf(answer.trailers, "grpc-status");
      const text = fieldOf(answer.headers, "grpc-message") ?? fieldOf(answer.trailers, "grpc-message");
      expect.soft(status, method).toBe(String(Code.RESOURCE_EXHAUSTED));
      expect.soft(text, method).toBe("Cannot receive a message of 1001 bytes: the limit is 1000 bytes");
    }
  });

  test("unfinished messages of all calls together are bounded: the one begun first gives way", async () => {
    await using echo = await startEcho(transport, {
      limits: { heldBytesMax: 600_000 },
      handlers: { echo: ({ text }) => ({ text }) },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const start = Buffer.alloc(190_000);
    start.writeUInt32BE(200_000, 1);
    // Field 9, unknown, fills the message.
    Buffer.of(0x4a, 0xbc, 0x9a, 0x0c).copy(start, 5);
    const rest = Buffer.alloc(200_005 - start.length);
    const begin = async (method: string, heldBytes: number) => {
      const opened = wire.open(callFields(method));
      opened.stream.write(start);
      await expect.poll(() => echo.server.heldBytes).toBe(heldBytes);
      return opened;
    };
    const left = [await begin("Echo", 190_000), await begin("Sum", 380_000), await begin("Chat", 570_000)];
    for (const stalled of left) {
      const next = await begin("Echo", 570_000);
      const { headers, trailers } = await stalled.closed;
      const status = fieldOf(headers, "grpc-status") ?? fieldOf(trailers, "grpc-status");
      expect(status).toBe(String(Code.RESOURCE_EXHAUSTED));
      if (stalled !== left[0]) continue;
      // What goes on is finished, and there is room again.
      next.stream.write(rest);
      next.stream.end();
      expect(fieldOf((await next.closed).trailers, "grpc-status")).toBe("0");
      expect(echo.server.heldBytes).toBe(380_000);
      await begin("Echo", 570_000);
    }
  });

  test("a message that alone is more than all calls may hold is refused", async () => {
    await using echo = await startEcho(transport, { limits: { heldBytesMax: 100_000 } });
    await expect(echo.client.echo({ payload: new Uint8Array(300_000) })).rejects.toMatchObject({
      code: Code.RESOURCE_EXHAUSTED,
    });
    expect(echo.server.heldBytes).toBe(0);
  });

  test("a response over the client's limit is refused, and the connection goes on", async () => {
    await using echo = await startEcho(transport, { channel: { limits: { messageBytesMax: 1000 } } });
    await expect(echo.client.echo({ payload: new Uint8Array(1001) })).rejects.toMatchObject({
      code: Code.RESOURCE_EXHAUSTED,
    });
    const responses = echo.client.count({ count: 1, payloadBytes: 2000 });
    await expect(Array.fromAsync(responses)).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
    await expect(echo.client.echo({ text: "on" })).resolves.toMatchObject({ text: "on" });
  });

  test("a message may be as large as the limit, 4 MiB, and not a byte larger, in both directions", async () => {
    await using echo = await startEcho(transport, {
      handlers: {
        echo: (request) =>
          request.payload.length > 0 ? { text: "all" } : { payload: new Uint8Array(Number(request.text)) },
      },
    });
    // A field of bytes: its tag, four bytes of length, and what is left of 4 MiB.
    const most = 4 * MIB - 5;
    await expect(echo.client.echo({ payload: new Uint8Array(most) })).resolves.toMatchObject({ text: "all" });
    await expect(echo.client.echo({ payload: new Uint8Array(most + 1) })).rejects.toMatchObject({
      code: Code.RESOURCE_EXHAUSTED,
      message: "Cannot receive a message of 4194305 bytes: the limit is 4194304 bytes",
    });
    expect((await echo.client.echo({ text: String(most) })).payload.length).toBe(most);
    await expect(echo.client.echo({ text: String(most + 1) })).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  });

  test("a flag byte that gRPC does not know is INTERNAL", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Echo"), Buffer.of(2, 0, 0, 0, 0));
    expect(fieldOf(answer.headers, "grpc-status")).toBe(String(Code.INTERNAL));
  });

  test("gzip in both directions, in every kind", async () => {
    await using echo = await startEcho(transport);
    const payload = new Uint8Array(100_000);
    const options = { compress: "gzip" } as const;
    await expect(echo.client.echo({ payload }, options)).resolves.toMatchObject({ payload });
    async function* requests() {
      yield { value: 1n, payload };
      yield { value: 2n };
      yield { value: 3n, payload };
    }
    await expect(echo.client.sum(requests(), options)).resolves.toMatchObject({ sum: 6n, bytes: 200_000n });
    const counted = await Array.fromAsync(echo.client.count({ count: 3, payloadBytes: 5000 }, options));
    expect(counted.map(({ index, payload: { length } }) => [index, length])).toEqual([
      [0, 5000],
      [1, 5000],
      [2, 5000],
    ]);
  });

  test("who sends gzip gets gzip, and only for what it makes smaller", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const large = toBinary(EchoRequestSchema, create(EchoRequestSchema, { payload: new Uint8Array(100_000) }));
    const compressed = await wire.request(callFields("Echo", { "grpc-encoding": "gzip" }), gzipFrame(large));
    expect(fieldOf(compressed.headers, "grpc-encoding")).toBe("gzip");
    expect(compressed.data[0]).toBe(1);
    expect(compressed.data.length).toBeLessThan(1000);
    const small = await wire.request(callFields("Echo", { "grpc-encoding": "gzip" }), echoFrame("small"));
    expect(small.data[0]).toBe(0);
    const refused = { "grpc-encoding": "gzip", "grpc-accept-encoding": "identity" };
    const plain = await wire.request(callFields("Echo", refused), gzipFrame(large));
    expect(fieldOf(plain.headers, "grpc-encoding")).toBeUndefined();
    expect(plain.data[0]).toBe(0);
  });

  test("a compression bomb is stopped at the limit", async () => {
    await using echo = await startEcho(transport, { limits: { messageBytesMax: 100_000 } });
    await using wire = await openWire(transport, echo.listener.address);
    const bomb = gzipFrame(new Uint8Array(50 * MIB));
    expect(bomb.length).toBeLessThan(100_000);
    for (const method of ["Echo", "Sum"]) {
      const answer = await wire.request(callFields(method, { "grpc-encoding": "gzip" }), bomb);
      const status = fieldOf(answer.headers, "grpc-status") ?? fieldOf(answer.trailers, "grpc-status");
      expect.soft(status, method).toBe(String(Code.RESOURCE_EXHAUSTED));
    }
  });

  test("damaged gzip, and gzip that was not announced, are INTERNAL", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    for (const method of ["Echo", "Sum"]) {
      const damaged = await wire.request(callFields(method, { "grpc-encoding": "gzip" }), frameOf(Buffer.alloc(20), 1));
      const unannounced = await wire.request(callFields(method), gzipFrame(Buffer.alloc(20)));
      for (const { headers, trailers } of [damaged, unannounced]) {
        expect
          .soft(fieldOf(headers, "grpc-status") ?? fieldOf(trailers, "grpc-status"), method)
          .toBe(String(Code.INTERNAL));
      }
    }
  });

  test("an unknown encoding is UNIMPLEMENTED, and the known ones are named", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Echo", { "grpc-encoding": "snappy" }), Buffer.alloc(5));
    expect(fieldOf(answer.headers, "grpc-status")).toBe(String(Code.UNIMPLEMENTED));
    expect(fieldOf(answer.headers, "grpc-accept-encoding")).toBe("identity,gzip");
  });

  test("ready-made frames are sent as they are, in every kind", async () => {
    const frames = new Frames(
      Buffer.concat(
        [0, 1, 2].map((index) => frameOf(toBinary(CountResponseSchema, create(CountResponseSchema, { index })))),
      ),
    );
    const one = new Frames(frameOf(toBinary(EchoResponseSchema, create(EchoResponseSchema, { text: "ready" }))));
    await using echo = await startEcho(transport, {
      handlers: {
        echo: () => one,
        async *count() {
          yield frames;
          yield { index: 3 };
        },
      },
    });
    await expect(echo.client.echo({})).resolves.toMatchObject({ text: "ready" });
    const responses = await Array.fromAsync(echo.client.count({}));
    expect(responses.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  });

  test("a client sends ready-made frames too", async () => {
    await using echo = await startEcho(transport);
    const frame = frameOf(toBinary(SumRequestSchema, create(SumRequestSchema, { value: 5n })));
    async function* requests() {
      yield new Frames(Buffer.concat([frame, frame, frame]));
    }
    await expect(echo.client.sum(requests())).resolves.toMatchObject({ sum: 15n, messages: 3 });
    await expect(echo.client.echo(new Frames(echoFrame("raw")))).resolves.toMatchObject({ text: "raw" });
  });

  test("raw handlers and raw clients see bytes, decompressed", async () => {
    const seen: number[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo: {
          raw: true,
          unary(request) {
            seen.push(request.length);
            return new Frames(frameOf(request));
          },
        },
        chat: {
          raw: true,
          async *bidi(requests) {
            for await (const request of requests) yield new Frames(frameOf(request));
          },
        },
      },
    });
    const payload = new Uint8Array(5000);
    const bytes = await echo.client.echo({ payload }, { raw: true, compress: "gzip" });
    expect(bytes).toBeInstanceOf(Uint8Array);
    expect([seen, bytes.length]).toEqual([[5003], 5003]);
    async function* requests() {
      yield { text: "a" };
      yield { text: "b" };
    }
    const answers = await Array.fromAsync(echo.client.chat(requests(), { raw: true }), (each) =>
      Buffer.from(each).toString("latin1"),
    );
    expect(answers).toEqual(["\n\x01a", "\n\x01b"]);
  });

  test("a program's own codec is used, in both roles", async () => {
    const codec = codecOf(EchoResponseSchema, {
      encode: () => toBinary(EchoResponseSchema, create(EchoResponseSchema, { text: "from the codec" })),
      decode: () => create(EchoResponseSchema, { text: "decoded by it" }),
    });
    await using server = await startEcho(transport, { codecs: [codec] });
    await expect(server.client.echo({ text: "x" })).resolves.toMatchObject({ text: "from the codec" });
    await using client = await startEcho(transport, { channel: { codecs: [codec] } });
    await expect(client.client.echo({ text: "x" })).resolves.toMatchObject({ text: "decoded by it" });
  });
});
