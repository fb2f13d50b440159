// The grpc-js peer. `plain` is as its guide has it: definitions loaded from the .proto files, objects in and out.
// `encoded` is the fastest that its API admits: serializers that pass bytes through.

import { once } from "node:events";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { callbackify } from "node:util";
import {
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { frameOf, openJournal, type Journal } from "./journal.ts";
import { entriesOf, type OtlpRequest } from "./otlp-entries.ts";
import { announce, messagesOf, parseServerOptions, versionOf, type ServerOptions } from "./server-options.ts";

const root = join(import.meta.dirname, "../..");
const CHUNK_BYTES = 256 * 1024;
const definitions = loadSync(
  [
    "seed.proto",
    "sluice/logs/v1/logs.proto",
    "sluice/files/v1/files.proto",
    "opentelemetry/proto/collector/logs/v1/logs_service.proto",
    "bench/v1/echo.proto",
  ],
  { includeDirs: [join(root, "proto"), join(root, "bench/proto")], longs: String },
);

function serviceDefinition(name: string): ServiceDefinition {
  const definition = definitions[name];
  if (definition === undefined || "format" in definition) throw new Error(`${name} is no service`);
  return definition;
}

interface EchoMessage {
  readonly payload: Buffer;
}
interface RepeatMessage extends EchoMessage {
  readonly count: number;
}
interface DownloadRequest {
  readonly filePath: string;
}
interface StreamRequest {
  readonly follow?: boolean;
}
interface WriteRequest {
  readonly entries: readonly object[];
}
/** A value whose string is there when it is one. */
interface OtlpValue {
  readonly stringValue?: string;
}
type ExportRequest = OtlpRequest<OtlpValue, string>;

const streamLogs = serviceDefinition("LogService")["StreamLogs"];
if (streamLogs === undefined) throw new Error("The definitions lack StreamLogs");
const { responseSerialize: serializeEntry, responseDeserialize: deserializeEntry } = streamLogs;

async function writeAll<T>(
  call: ServerWritableStream<unknown, T>,
  messages: readonly T[],
  count: number,
): Promise<void> {
  for (let index = 0; index < count && !call.cancelled; index++) {
    const message = messages[index % messages.length];
    if (message !== undefined && !call.write(message)) await once(call, "drain");
  }
  call.end();
}

function registerPlain(server: Server, options: ServerOptions, journal: Journal): void {
  const entries = messagesOf(options.frames).map((message) => deserializeEntry(message) as object);
  const followers = new Set<ServerWritableStream<unknown, unknown>>();
  const stream = (call: ServerWritableStream<StreamRequest, unknown>): void => {
    if (call.request.follow !== true) {
      writeAll(call, entries, options.count).catch((error: unknown) => call.emit("error", error));
      return;
    }
    followers.add(call);
    call.on("cancelled", () => followers.delete(call));
    call.sendMetadata(call.metadata);
  };
  const publish = (published: readonly object[]): void => {
    for (const entry of published) for (const follower of followers) follower.write(entry);
  };
  const exportLogs = callbackify(async (request: ExportRequest) => {
    await journal.append(
      Buffer.concat(
        entriesOf(request, ({ stringValue = "" }) => stringValue).map((entry) => frameOf(serializeEntry(entry))),
      ),
    );
  });
  server.addService(serviceDefinition("LogService"), { StreamLogs: stream });
  server.addService(serviceDefinition("sluice.logs.v1.LogService"), {
    StreamLogs: stream,
    WriteLogStream: (call: ServerDuplexStream<WriteRequest, object>) => {
      writeStream(call, journal, publish).catch((error: unknown) => call.emit("error", error));
    },
  });
  server.addService(serviceDefinition("opentelemetry.proto.collector.logs.v1.LogsService"), {
    Export: (call: ServerUnaryCall<ExportRequest, object>, callback: sendUnaryData<object>) => {
      exportLogs(call.request, (error: Error | null) => {
        callback(error === null ? null : { code: status.INTERNAL, details: error.message }, {});
      });
    },
  });
  server.addService(serviceDefinition("FileService"), {
    DownloadFile: (call: ServerWritableStream<DownloadRequest, object>) => {
      download(call, options.files).catch((error: unknown) => call.emit("error", error));
    },
  });
  server.addService(serviceDefinition("bench.v1.EchoService"), {
    Echo: (call: ServerUnaryCall<EchoMessage, EchoMessage>, callback: sendUnaryData<EchoMessage>) => {
      callback(null, { payload: call.request.payload });
    },
    Repeat: (call: ServerWritableStream<RepeatMessage, EchoMessage>) => {
      const { payload, count } = call.request;
      writeAll(call, [{ payload }], count).catch((error: unknown) => call.emit("error", error));
    },
    Upload: (call: ServerReadableStream<EchoMessage, object>, callback: sendUnaryData<object>) => {
      let count = 0;
      call.on("data", () => count++);
      call.on("end", () => callback(null, { count }));
    },
    Chat: (call: ServerDuplexStream<EchoMessage, EchoMessage>) => {
      call.on("data", ({ payload }: EchoMessage) => call.write({ payload }));
      call.on("end", () => call.end());
    },
  });
}

/** One chunk is read ahead. */
async function download(call: ServerWritableStream<DownloadRequest, object>, folder: string): Promise<void> {
  const { filePath } = call.request;
  await using file = await open(join(folder, filePath));
  const { size } = await file.stat();
  const read = async (offset: number): Promise<Buffer> => {
    const data = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - offset));
    await file.read(data, 0, data.length, offset);
    return data;
  };
  let next = read(0);
  for (let offset = 0; offset < size && !call.cancelled;) {
    const data = await next;
    const end = offset + data.length;
    if (end < size) next = read(end);
    const chunk = { filePath, offset, data, totalSize: size, isLastChunk: end === size };
    if (!call.write(chunk)) await once(call, "drain");
    offset = end;
  }
  call.end();
}

async function writeStream(
  call: ServerDuplexStream<WriteRequest, object>,
  journal: Journal,
  publish: (entries: readonly object[]) => void,
): Promise<void> {
  let acknowledged = 0;
  // Iterated without destroying it at its end: the other direction is still open.
  const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterable<WriteRequest>;
  for await (const request of requests) {
    await journal.append(Buffer.concat(request.entries.map((entry) => frameOf(serializeEntry(entry)))));
    publish(request.entries);
    acknowledged += request.entries.length;
    call.write({ acknowledged });
  }
  call.end();
}

function registerEncoded(server: Server, options: ServerOptions): void {
  const pass = (bytes: Buffer): Buffer => bytes;
  const shape = {
    requestSerialize: pass,
    requestDeserialize: pass,
    responseSerialize: pass,
    responseDeserialize: pass,
  };
  const messages = messagesOf(options.frames);
  server.addService(
    {
      StreamLogs: { path: "/LogService/StreamLogs", requestStream: false, responseStream: true, ...shape },
      Echo: { path: "/bench.v1.EchoService/Echo", requestStream: false, responseStream: false, ...shape },
    },
    {
      StreamLogs: (call: ServerWritableStream<Buffer, Buffer>) => {
        writeAll(call, messages, options.count).catch((error: unknown) => call.emit("error", error));
      },
      Echo: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => callback(null, call.request),
    },
  );
}

const options = parseServerOptions();
const server = new Server({ "grpc.max_concurrent_streams": 1000 });
if (options.form === "encoded") registerEncoded(server, options);
else registerPlain(server, options, await openJournal(options.data));
const { tls } = options;
const credentials =
  tls === undefined
    ? ServerCredentials.createInsecure()
    : ServerCredentials.createSsl(null, [{ private_key: tls.key, cert_chain: tls.cert }]);
server.bindAsync(`127.0.0.1:${options.port}`, credentials, (error, port) => {
  if (error !== null) throw error;
  announce(`@grpc/grpc-js ${versionOf("@grpc/grpc-js")}`, `127.0.0.1:${port}`);
});
