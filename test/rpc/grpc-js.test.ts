// The widest used implementation for Node, as the other end: its client on our server, our client on its server.
import {
  compressionAlgorithms,
  credentials,
  loadPackageDefinition,
  Metadata as JsMetadata,
  Server as JsServer,
  ServerCredentials,
  status,
  type CallOptions as JsCallOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServiceClientConstructor,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { BadRequestSchema, Code, createClient, errorDetail, Metadata, openChannel, RpcError } from "@sluice/rpc";
import { ownHttp2 } from "../../packages/rpc/src/socket-transport.ts";
import { expect, test } from "vitest";
import { EchoService } from "./gen/echo_pb.ts";
import { startEcho } from "./support.ts";

const definition = loadSync("echo.proto", {
  includeDirs: [`${import.meta.dirname}/proto`],
  longs: Number,
  defaults: true,
});
const EchoClient = findService(loadPackageDefinition(definition), ["sluice", "test", "v1", "EchoService"]);

interface Echo {
  text: string;
  payload: Buffer;
}

type JsCallback = (error: ServiceError | null, response: Echo) => void;

/** What grpc-js makes of the service at run time. */
interface JsEchoClient {
  echo(request: Partial<Echo>, metadata: JsMetadata, options: JsCallOptions, callback: JsCallback): void;
  count(request: { count: number; payloadBytes: number }): ClientReadableStream<unknown>;
  sum(callback: JsCallback): ClientWritableStream<{ value: number; payload: Buffer }>;
  chat(): ClientDuplexStream<{ text: string }, { text: string }>;
  close(): void;
}

function findService(tree: object, path: readonly string[]): ServiceClientConstructor {
  const found = path.reduce<unknown>((branch, name) => (branch as Record<string, unknown>)[name], tree);
  return found as ServiceClientConstructor;
}

/** A client of grpc-js that is closed with the scope. */
function openJsClient(address: string, options: object = {}) {
  const client = new EchoClient(address, credentials.createInsecure(), options) as unknown as JsEchoClient;
  return {
    client,
    unary: (request: Partial<Echo>, metadata = new JsMetadata(), callOptions: JsCallOptions = {}) =>
      new Promise<Echo>((resolve, reject) => {
        client.echo(request, metadata, callOptions, (error, response) =>
          error === null ? resolve(response) : reject(error),
        );
      }),
    [Symbol.dispose]: () => client.close(),
  };
}

/** What a stream of grpc-js brought, and its status. */
async function drain(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  return Array.fromAsync(stream);
}

test("grpc-js calls us: all four kinds", async () => {
  await using echo = await startEcho(ownHttp2());
  using js = openJsClient(echo.listener.address);
  const payload = Buffer.alloc(1_000_000, "p");
  await expect(js.unary({ text: "hällo", payload })).resolves.toMatchObject({ text: "hällo", payload });
  const counted = await drain(js.client.count({ count: 1000, payloadBytes: 100 }));
  expect(counted).toHaveLength(1000);
  const summed = new Promise((resolve, reject) => {
    const call = js.client.sum((error, response) => (error === null ? resolve(response) : reject(error)));
    for (let value = 1; value <= 100; value++) call.write({ value, payload: Buffer.alloc(1000) });
    call.end();
  });
  await expect(summed).resolves.toMatchObject({ sum: 5050, messages: 100, bytes: 100_000 });
  const chat = js.client.chat();
  chat.write({ text: "a" });
  chat.write({ text: "b" });
  chat.end();
  await expect(drain(chat)).resolves.toEqual([{ text: "a" }, { text: "b" }]);
});

test("grpc-js calls us: metadata, errors with details, deadline, cancel, gzip", async () => {
  const seen: Metadata[] = [];
  await using echo = await startEcho(ownHttp2(), {
    handlers: {
      echo({ text, payload }, call) {
        seen.push(call.requestMetadata);
        call.responseTrailers.set("trailer-bin", Uint8Array.of(0, 255));
        if (text === "wait") return new Promise((resolve) => call.onEnd(() => resolve({})));
        if (text !== "fail") return { text, payload };
        const details = [errorDetail(BadRequestSchema, { fieldViolations: [{ field: "text" }] })];
        throw new RpcError(Code.INVALID_ARGUMENT, "schlecht: 100 %", { details });
      },
    },
  });
  using js = openJsClient(echo.listener.address);
  const metadata = new JsMetadata();
  metadata.add("key", "1");
  metadata.add("key", "2");
  metadata.add("blob-bin", Buffer.of(1, 2, 3));
  await js.unary({ text: "x" }, metadata);
  expect(seen[0]?.getAll("key").flatMap((value) => value.split(/, ?/))).toEqual(["1", "2"]);
  expect(seen[0]?.getBinary("blob-bin")).toEqual(Buffer.of(1, 2, 3));

  const failure = await js.unary({ text: "fail" }).catch((error: unknown) => error as ServiceError);
  expect(failure).toMatchObject({ code: status.INVALID_ARGUMENT, details: "schlecht: 100 %" });
  const trailers = (failure as ServiceError).metadata;
  expect(trailers.get("trailer-bin")).toEqual([Buffer.of(0, 255)]);
  expect(trailers.get("grpc-status-details-bin")).toHaveLength(1);

  const late = js.unary({ text: "wait" }, new JsMetadata(), { deadline: Date.now() + 50 });
  await expect(late).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });

  const stream = js.client.count({ count: 1_000_000, payloadBytes: 1000 });
  stream.once("data", () => stream.cancel());
  await expect(drain(stream)).rejects.toMatchObject({ code: status.CANCELLED });

  using zipped = openJsClient(echo.listener.address, {
    "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
  });
  const payload = Buffer.alloc(100_000);
  await expect(zipped.unary({ text: "gzip", payload })).resolves.toMatchObject({ text: "gzip", payload });
});

/** A server of grpc-js; its end is awaited. */
async function startJsServer() {
  const echo: handleUnaryCall<Echo, Echo> = (call, answer) => {
    const { text, payload } = call.request;
    if (text === "wait") return;
    if (text === "fail") {
      answer({ code: status.NOT_FOUND, details: "nicht da: 世界", metadata: metadataOf("why", "because") });
      return;
    }
    call.sendMetadata(metadataOf("deadline", String(Number.isFinite(call.getDeadline()))));
    answer(null, { text: `${text} ${call.metadata.get("key").join()}`, payload }, metadataOf("t", "1"));
  };
  const count: handleServerStreamingCall<{ count: number; payloadBytes: number }, unknown> = (call) => {
    let index = 0;
    const send = (): void => {
      while (index < call.request.count && !call.cancelled) {
        if (!call.write({ index: index++, payload: Buffer.alloc(call.request.payloadBytes) })) return;
      }
      call.end();
    };
    call.on("drain", send);
    send();
  };
  const sum: handleClientStreamingCall<{ value: number }, unknown> = (call, answer) => {
    let total = 0;
    call.on("data", ({ value }: { value: number }) => (total += value));
    call.on("end", () => answer(null, { sum: total }));
  };
  const chat: handleBidiStreamingCall<unknown, unknown> = (call) => {
    call.on("data", (message: unknown) => call.write(message));
    call.on("end", () => call.end());
  };
  const server = new JsServer();
  server.addService(EchoClient.service, { echo, count, sum, chat, missing: echo });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    [Symbol.dispose]: () => server.forceShutdown(),
  };
}

function metadataOf(name: string, value: string): JsMetadata {
  const metadata = new JsMetadata();
  metadata.set(name, value);
  return metadata;
}

test("we call grpc-js: all four kinds", async () => {
  using js = await startJsServer();
  await using channel = openChannel(js.address);
  const client = createClient(EchoService, channel);
  const payload = new Uint8Array(1_000_000);
  const headers = Promise.withResolvers<Metadata>();
  const response = await client.echo(
    { text: "hällo", payload },
    { metadata: new Metadata({ key: ["1", "2"] }), timeoutMs: 60_000, onHeaders: headers.resolve },
  );
  expect(response.text).toBe("hällo 1, 2");
  expect(response.payload.length).toBe(payload.length);
  expect((await headers.promise).get("deadline")).toBe("true");
  await expect(Array.fromAsync(client.count({ count: 1000, payloadBytes: 1000 }))).resolves.toHaveLength(1000);
  async function* values() {
    for (let value = 1n; value <= 100n; value++) yield { value };
  }
  await expect(client.sum(values())).resolves.toMatchObject({ sum: 5050n });
  async function* texts() {
    yield { text: "a" };
    yield { text: "b" };
  }
  await expect(Array.fromAsync(client.chat(texts()), ({ text }) => text)).resolves.toEqual(["a", "b"]);
});

test("we call grpc-js: errors, deadline, cancel, gzip", async () => {
  using js = await startJsServer();
  await using channel = openChannel(js.address);
  const client = createClient(EchoService, channel);
  const failure = (await client.echo({ text: "fail" }).catch((error: unknown) => error)) as RpcError;
  expect(failure).toMatchObject({ code: Code.NOT_FOUND, message: "nicht da: 世界" });
  expect(failure.metadata.get("why")).toBe("because");
  await expect(client.echo({ text: "wait" }, { timeoutMs: 30 })).rejects.toMatchObject({
    code: Code.DEADLINE_EXCEEDED,
  });
  for await (const { index } of client.count({ count: 1_000_000, payloadBytes: 1000 })) if (index === 10) break;
  const payload = new Uint8Array(100_000);
  const zipped = await client.echo({ text: "gzip", payload }, { compress: "gzip" });
  expect(zipped.payload.length).toBe(payload.length);
});
