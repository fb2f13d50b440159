// The entrances to shared folders, each as something that takes a path and answers.
import { randomUUID } from "node:crypto";
import {
  create,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { ByteStream, FileService } from "@sluice/api";
import { type Call, Code, type FrameSource, type HttpHandler, type HttpRequest, type RpcError } from "@sluice/rpc";
import { FILES_PATH } from "../../../packages/server/src/files/http.ts";
import type { FileServiceHandle } from "../../../packages/server/src/files/service.ts";
import { UPLOADS_PATH } from "../../../packages/server/src/files/tus.ts";
import { statusOf } from "../../../packages/server/src/status.ts";
import { FakeCall } from "../../../packages/server/src/stream/testing/fake-call.ts";

/** All that a client is told. */
export interface Answer {
  /** "invalid": asked for in a way that says nothing of what is there, or only of what may be seen. */
  readonly kind: "ok" | "denied" | "invalid" | "other";
  readonly said: string;
}

export interface Entrance {
  readonly name: string;
  /** What a path must lead to here. */
  readonly takes: "file" | "folder" | "any";
  /** The path that is meant by this spelling; undefined: none can be. */
  pathOf(spelling: string): string | undefined;
  ask(service: FileServiceHandle, spelling: string): Promise<Answer>;
}

const same = (spelling: string): string => spelling;

/** A call whose answer, or error, is all that a client hears. */
async function answerOf(ask: (call: FakeCall) => unknown): Promise<Answer> {
  const call = new FakeCall();
  try {
    return { kind: "ok", said: await textOf(await ask(call)) };
  } catch (error) {
    return refusalOf(statusOf(error));
  } finally {
    call.end();
  }
}

function refusalOf({ code, message, details }: RpcError): Answer {
  const said = `${code} ${message} ${details.map(({ value }) => plain(value)).join()}`;
  if (code === Code.PERMISSION_DENIED) return { kind: "denied", said };
  return { kind: code === Code.INVALID_ARGUMENT ? "invalid" : "other", said };
}

/** Everything in it that could be a secret. */
async function textOf(answer: unknown): Promise<string> {
  if (isFrameSource(answer)) return (await pumped(answer)).toString("utf8");
  if (typeof answer === "object" && answer !== null && Symbol.asyncIterator in answer) {
    return (await Promise.all((await Array.fromAsync(answer as AsyncIterable<unknown>)).map(textOf))).join();
  }
  if (answer instanceof Uint8Array) return Buffer.from(answer).toString("utf8");
  return plain(answer);
}

function plain(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) => (typeof each === "bigint" ? each.toString() : each)) ?? "";
}

function isFrameSource(answer: unknown): answer is FrameSource {
  return typeof answer === "object" && answer !== null && "attach" in answer && "pull" in answer;
}

/** All frames of a source that ends. */
function pumped(source: FrameSource): Promise<Buffer> {
  const frames: Buffer[] = [];
  return new Promise((resolve, reject) => {
    const wake = (): void => {
      for (let frame = source.pull(65_536); frame !== undefined; frame = source.pull(65_536)) {
        frames.push(Buffer.from(frame));
        source.sent?.();
      }
    };
    const stream = { wake: () => queueMicrotask(wake), end: () => resolve(Buffer.concat(frames)), fail: reject };
    source.attach(stream);
    stream.wake();
  });
}

type Asked<T> = (request: T | AsyncIterable<T>, call: Call) => unknown;

/** Calls a handler, with what it takes: a message, or what travels. */
function call<I extends DescMessage>(
  method: DescMethod & { readonly input: I },
  handlers: object,
  { request, context }: { readonly request: MessageInitShape<I>; readonly context: Call },
): unknown {
  const handler = (handlers as Record<string, Asked<unknown> | { readonly clientStreaming: Asked<Uint8Array> }>)[
    method.localName
  ]!;
  const message = create(method.input, request);
  const bytes = toBinary(method.input, message);
  if (typeof handler !== "function") return handler.clientStreaming(oneOf(bytes), context);
  return handler(method.methodKind.startsWith("client") ? oneOf(message) : message, context);
}

async function* oneOf<T>(request: T): AsyncGenerator<T, undefined> {
  yield request;
}

const { getFileInfo, downloadFile, listFiles, watchFiles, deleteFile, moveFile, makeDirectory } = FileService.method;
const { startUpload, commitUpload } = FileService.method;

function grpc<I extends DescMessage>(
  method: DescMethod & { readonly input: I },
  takes: Entrance["takes"],
  requestOf: (path: string) => MessageInitShape<I>,
): Entrance {
  return {
    name: method.name,
    takes,
    pathOf: same,
    ask: ({ handlers }, path) => answerOf((context) => call(method, handlers, { request: requestOf(path), context })),
  };
}

/** Only whether it begins: it goes on for ever. */
const watching: Entrance = {
  name: "WatchFiles",
  takes: "folder",
  pathOf: same,
  ask: ({ handlers }, path) =>
    answerOf(async (context) => {
      await call(watchFiles, handlers, { request: { path, recursive: true, includeExisting: true }, context });
    }),
};

function httpRequest(method: string, path: string, headers: Readonly<Record<string, string>> = {}): HttpRequest {
  return {
    method,
    isHead: false,
    path,
    query: new URLSearchParams(),
    headers: new Map(Object.entries(headers)),
    peer: { address: "127.0.0.1:1", isEncrypted: false },
    body: (async function* () {})(),
    signal: new AbortController().signal,
  };
}

function http(name: string, spell: (path: string) => string, pathOf: Entrance["pathOf"]): Entrance {
  return {
    name,
    takes: "file",
    pathOf,
    ask: ({ httpHandler }, path) => answerOf(() => fetched(httpHandler, httpRequest("GET", FILES_PATH + spell(path)))),
  };
}

/** Head and body; the request is over when it has been read. */
async function fetched(handler: HttpHandler, request: HttpRequest): Promise<string> {
  const over = new AbortController();
  try {
    const { status, headers, body = "" } = await handler({ ...request, signal: over.signal });
    const text = typeof body === "string" ? body : await textOf(body);
    return `${status} ${JSON.stringify(headers)} ${text}`;
  } finally {
    over.abort();
  }
}

/** As a browser would; what is no well-formed text has no such form. */
function encoded(path: string): string {
  return path.toWellFormed().split("/").map(encodeURIComponent).join("/");
}

/** What a server that decodes part by part makes of it. */
function decoded(spelling: string): string | undefined {
  try {
    const names = spelling.split("/").map(decodeURIComponent);
    return names.some((name) => name.includes("/")) ? undefined : names.join("/");
  } catch {
    return undefined;
  }
}

export const READERS: readonly Entrance[] = [
  grpc(getFileInfo, "any", (filePath) => ({ filePath, checksumWaitMs: 0 })),
  grpc(downloadFile, "file", (filePath) => ({ filePath })),
  grpc(listFiles, "folder", (path) => ({ path, recursive: true })),
  watching,
  http("GET, as it is", same, decoded),
  http("GET, encoded", encoded, (path) => path.toWellFormed()),
  http(
    "GET, all of it encoded",
    (path) => encodeURIComponent(path.toWellFormed()),
    (path) => (path.includes("/") ? undefined : path.toWellFormed()),
  ),
  {
    name: "ByteStream.Read",
    takes: "file",
    pathOf: same,
    ask: ({ byteStreamHandlers }, path) =>
      answerOf((context) =>
        call(ByteStream.method.read, byteStreamHandlers, { request: { resourceName: `files/${path}` }, context }),
      ),
  },
];

/** That files are moved within one shared folder is said before anything is looked for. */
function isInShown(path: string): boolean {
  return path.split("/").find((part) => part !== "" && part !== ".") === "shown";
}

/** What takes away what a path leads to. */
export const SOURCES: readonly Entrance[] = [
  grpc(deleteFile, "any", (filePath) => ({ filePath })),
  grpc(moveFile, "any", (filePath) => ({ filePath, newPath: isInShown(filePath) ? "shown/moved" : "moved" })),
];

/** What makes something where a path leads to. */
export const CREATORS: readonly Entrance[] = [
  grpc(makeDirectory, "any", (path) => ({ path })),
  {
    ...grpc(moveFile, "any", (newPath) => {
      return { filePath: isInShown(newPath) ? "shown/.profile" : "a.txt", newPath, overwrite: true };
    }),
    name: "MoveFile, to",
  },
  {
    name: "StartUpload, CommitUpload",
    takes: "file",
    pathOf: same,
    ask: ({ handlers }, filePath) =>
      answerOf(async (context) => {
        const started = call(startUpload, handlers, {
          request: { filePath, size: 0n, makeDirectories: true },
          context,
        });
        const { upload } = (await started) as MessageShape<typeof startUpload.output>;
        return call(commitUpload, handlers, { request: { uploadId: upload!.uploadId }, context });
      }),
  },
  {
    name: "ByteStream.Write",
    takes: "file",
    pathOf: same,
    ask: ({ byteStreamHandlers }, path) => {
      const request = { resourceName: `uploads/${randomUUID()}/files/${path}`, finishWrite: true };
      return answerOf((context) => call(ByteStream.method.write, byteStreamHandlers, { request, context }));
    },
  },
  {
    name: "tus",
    takes: "file",
    pathOf: (path) => path.toWellFormed(),
    async ask({ tusHandler }, path) {
      const metadata = `path ${Buffer.from(path).toString("base64")},makeDirectories dHJ1ZQ==`;
      const fields = { "tus-resumable": "1.0.0", "upload-length": "0", "upload-metadata": metadata };
      const said = await fetched(tusHandler, httpRequest("POST", UPLOADS_PATH, fields));
      const status = Number(said.slice(0, 3));
      if (status < 300) return { kind: "ok", said };
      return { kind: status === 403 ? "denied" : status === 400 ? "invalid" : "other", said };
    },
  },
];
