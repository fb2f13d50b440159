// Makes the files in recordings/: clients that we did not write, and our own, call an echo server through a proxy that
// writes down what passes. Run by hand when there is something new to record:
//
//   node --conditions=sluice-source test/fuzz/record.ts [WORD in the name of what is to be recorded again]
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { request as request1 } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer as createTcpServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createClient as createConnectClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import {
  Client as JsClient,
  compressionAlgorithms,
  credentials,
  Metadata as JsMetadata,
  Server as JsServer,
  ServerCredentials,
} from "@grpc/grpc-js";
import { createServer, listen, openChannel, serve } from "@sluice/rpc";
import { toBinary, create } from "@bufbuild/protobuf";
import { frameOf } from "../../packages/rpc/src/grpc/frames.ts";
import { base64Of } from "../../packages/rpc/src/web/base64-stream.ts";
import { EchoRequestSchema, EchoService, SumRequestSchema } from "../rpc/gen/echo_pb.ts";
import { makeCalls } from "./calls.ts";
import { echoHandlers } from "./echo.ts";
import { recordingsFolder } from "./recordings.ts";

const ORIGIN = "http://page.example";

interface Proxy extends AsyncDisposable {
  readonly port: number;
  readonly fromClient: Buffer[];
  readonly fromServer: Buffer[];
}

async function startProxy(target: number): Promise<Proxy> {
  const fromClient: Buffer[] = [];
  const fromServer: Buffer[] = [];
  const server = createTcpServer((near) => {
    const far = connect(target, "127.0.0.1");
    near.on("data", (bytes: Buffer) => fromClient.push(bytes));
    far.on("data", (bytes: Buffer) => fromServer.push(bytes));
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    fromClient,
    fromServer,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}

/** Runs `talk` through a proxy; writes one file for each side that has a name. */
async function record(
  target: number,
  names: { readonly client?: string; readonly server?: string },
  talk: (port: number) => Promise<unknown>,
): Promise<void> {
  const { client, server } = names;
  const word = process.argv[2] ?? "";
  if (!`${client} ${server}`.includes(word)) return;
  await using proxy = await startProxy(target);
  await talk(proxy.port);
  if (client !== undefined) await writeFile(join(recordingsFolder, `${client}.bin`), Buffer.concat(proxy.fromClient));
  if (server !== undefined) await writeFile(join(recordingsFolder, `${server}.bin`), Buffer.concat(proxy.fromServer));
}

async function callWithOurs(port: number): Promise<void> {
  await using channel = openChannel(`127.0.0.1:${port}`, { authority: "test" });
  await makeCalls(channel, { compress: "gzip" });
}

const PATH = `/${EchoService.typeName}/`;
const asIs = (bytes: Buffer): Buffer => bytes;
const echoMessage = Buffer.from(toBinary(EchoRequestSchema, create(EchoRequestSchema, { text: "grpc-js ✓" })));
const sumMessage = Buffer.from(toBinary(SumRequestSchema, create(SumRequestSchema, { value: 300n })));

/** All four kinds of calls, metadata, a deadline, gzip, an unknown method, a cancel. */
async function callWithGrpcJs(port: number): Promise<void> {
  const client = new JsClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
  });
  const metadata = new JsMetadata();
  metadata.set("x-text", "grpc-js");
  metadata.set("x-bytes-bin", Buffer.of(1, 2, 255));
  const options = { deadline: Date.now() + 60_000 };
  const unary = (name: string): Promise<void> =>
    new Promise((resolve) => {
      client.makeUnaryRequest(PATH + name, asIs, asIs, echoMessage, metadata, options, () => resolve());
    });
  const sum = new Promise<void>((resolve) => {
    const call = client.makeClientStreamRequest(`${PATH}Sum`, asIs, asIs, metadata, options, () => resolve());
    for (let times = 0; times < 3; times++) call.write(sumMessage);
    call.end();
  });
  const chat = client.makeBidiStreamRequest(`${PATH}Chat`, asIs, asIs, metadata);
  const count = client.makeServerStreamRequest(`${PATH}Count`, asIs, asIs, Buffer.of(8, 3, 16, 9));
  const left = client.makeServerStreamRequest(`${PATH}Count`, asIs, asIs, Buffer.of(8, 20));
  const streams = [chat, count, left].map((call) => {
    call.resume().on("error", () => {});
    return new Promise((resolve) => call.once("status", resolve));
  });
  chat.write(echoMessage);
  chat.end();
  left.once("metadata", () => left.cancel());
  await Promise.all([unary("Echo"), unary("Unknown"), sum, ...streams]);
  client.close();
}

/** The same service served by grpc-js, which encodes headers in its own way. */
async function startGrpcJs(): Promise<{ readonly port: number; readonly server: JsServer }> {
  const server = new JsServer();
  const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
    path: PATH + name,
    requestStream,
    responseStream,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  });
  server.addService(
    {
      echo: method("Echo", false, false),
      count: method("Count", false, true),
      sum: method("Sum", true, false),
      chat: method("Chat", true, true),
    },
    {
      echo: (call: { request: Buffer }, callback: (error: null, reply: Buffer, trailers: JsMetadata) => void) => {
        const trailers = new JsMetadata();
        trailers.set("x-late-bin", Buffer.of(9, 9));
        callback(null, call.request, trailers);
      },
      count: (call: { write(bytes: Buffer): void; end(): void }) => {
        for (let index = 0; index < 3; index++) call.write(Buffer.of(8, index));
        call.end();
      },
      sum: (call: NodeJS.ReadableStream, callback: (error: null, reply: Buffer) => void) => {
        call.resume().on("end", () => callback(null, Buffer.of(8, 7, 16, 3)));
      },
      chat: (call: NodeJS.ReadWriteStream) => {
        call.pipe(call);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return { port, server };
}

/** nghttp2's frames: padding of its own choice, PING, priorities left out, a plain request, gRPC in odd pieces. */
async function callWithNode(port: number): Promise<void> {
  const session = connectHttp2(`http://127.0.0.1:${port}`, { paddingStrategy: 1 });
  const plain = session.request({ ":path": "/plain?query=1", accept: "text/plain" }).resume();
  const posted = session.request({ ":method": "POST", ":path": "/plain", "content-length": "5" });
  posted.resume().end("hello");
  const grpc = session.request({
    ":method": "POST",
    ":path": `${PATH}Echo`,
    "content-type": "application/grpc+proto",
    te: "trailers",
    "grpc-timeout": "30S",
    "x-long": "v".repeat(3000),
  });
  const frame = frameOf(echoMessage);
  grpc.resume().write(frame.subarray(0, 3));
  await new Promise<void>((resolve) => session.ping(() => resolve()));
  grpc.end(frame.subarray(3));
  await Promise.all([once(plain, "close"), once(posted, "close"), once(grpc, "close")]);
  session.close();
  await once(session, "close");
}

/** The Connect protocol itself: JSON, and protobuf. */
async function callWithConnectItself(port: number, httpVersion: "1.1" | "2"): Promise<void> {
  for (const useBinaryFormat of [false, true]) {
    const options = { baseUrl: `http://127.0.0.1:${port}`, httpVersion, idleConnectionTimeoutMs: 1, useBinaryFormat };
    const client = createConnectClient(EchoService, createConnectTransport(options));
    await client.echo({ text: "cönnect" }, { headers: { "x-bytes-bin": "AAEC" }, timeoutMs: 60_000 });
    await client.missing({ text: "nobody serves this" }).catch(() => {});
  }
}

async function callWithConnect(port: number, httpVersion: "1.1" | "2"): Promise<void> {
  const transport = createGrpcWebTransport({
    baseUrl: `http://127.0.0.1:${port}`,
    httpVersion,
    idleConnectionTimeoutMs: 1,
  });
  const client = createConnectClient(EchoService, transport);
  await client.echo({ text: "wéb" }, { headers: { "x-bytes-bin": "AAEC", origin: ORIGIN }, timeoutMs: 60_000 });
  await Array.fromAsync(client.count({ count: 2, payloadBytes: 5 }));
}

/** gRPC-Web's text form, in pieces that are not groups of four. */
function textBody(): readonly Buffer[] {
  const text = Buffer.concat([
    base64Of(frameOf(echoMessage).subarray(0, 7)),
    base64Of(frameOf(echoMessage).subarray(7)),
  ]);
  return [text.subarray(0, 5), text.subarray(5, 6), text.subarray(6)];
}

async function callWithText2(port: number): Promise<void> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  for (const name of ["Echo", "Count"]) {
    const stream = session.request({
      ":method": "POST",
      ":path": PATH + name,
      "content-type": "application/grpc-web-text+proto",
      origin: ORIGIN,
      "x-grpc-web": "1",
    });
    for (const piece of textBody()) stream.write(piece);
    stream.resume().end();
    await once(stream, "close");
  }
  const preflight = session.request({
    ":method": "OPTIONS",
    ":path": `${PATH}Echo`,
    origin: ORIGIN,
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,x-grpc-web,x-user-agent",
  });
  await once(preflight.resume(), "close");
  session.close();
  await once(session, "close");
}

async function callWithText1(port: number): Promise<void> {
  const headers = { "content-type": "application/grpc-web-text", origin: ORIGIN };
  const request = request1({ host: "127.0.0.1", port, method: "POST", path: `${PATH}Echo`, headers, agent: false });
  for (const piece of textBody()) request.write(piece);
  request.end();
  const [response] = (await once(request, "response")) as [NodeJS.ReadableStream];
  await once(response.resume(), "end");
}

async function getPlain1(port: number): Promise<void> {
  for (const method of ["GET", "POST"]) {
    const request = request1({ host: "127.0.0.1", port, method, path: "/plain?a=b", agent: false });
    request.end(method === "POST" ? "a body" : undefined);
    const [response] = (await once(request, "response")) as [NodeJS.ReadableStream];
    await once(response.resume(), "end");
  }
}

await mkdir(recordingsFolder, { recursive: true });
const server = createServer({ services: [serve(EchoService, echoHandlers)] });
const handlers = { "/plain": () => ({ status: 200, body: "plain" }) };
await using listener = await listen(server, { web: { origins: [ORIGIN], handlers } });
const port = Number(listener.address.split(":").at(-1));

await record(port, { client: "client-h2-ours", server: "server-h2-ours" }, callWithOurs);
await record(port, { client: "client-h2-grpc-js" }, callWithGrpcJs);
await record(port, { client: "client-h2-node" }, callWithNode);
await record(port, { client: "client-h2-connect-web" }, (at) => callWithConnect(at, "2"));
await record(port, { client: "client-h2-connect-rpc" }, (at) => callWithConnectItself(at, "2"));
await record(port, { client: "client-h1-connect-rpc" }, (at) => callWithConnectItself(at, "1.1"));
await record(port, { client: "client-h2-web-text" }, callWithText2);
await record(port, { client: "client-h1-connect-web" }, (at) => callWithConnect(at, "1.1"));
await record(port, { client: "client-h1-web-text" }, callWithText1);
await record(port, { client: "client-h1-plain" }, getPlain1);
const js = await startGrpcJs();
await record(js.port, { server: "server-h2-grpc-js" }, callWithOurs);
js.server.forceShutdown();
