// A log service over a log in files, called without a network: what it answers is decoded.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type DescMessage, fromBinary, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { type LogBatch, LogBatchSchema, type LogEntry, LogEntrySchema, LogStreamRequestSchema } from "@sluice/api";
import { Frames, type FrameSource } from "@sluice/rpc";
import { allowAll, SERVER_SUBJECT } from "../../security/authorize.ts";
import { systemClock } from "../../store/clock.ts";
import { nodeFileSystem } from "../../store/file-system-node.ts";
import { type Log, type LogOptions, openLog } from "../../store/log.ts";
import { entryFrameCodec } from "../frame-codec.ts";
import { createLogService, type LogServiceHandle, serveLog } from "../service.ts";
import { FakeCall } from "../../stream/testing/fake-call.ts";

export type StreamQuery = MessageInitShape<typeof LogStreamRequestSchema>;
export type NewEntry = MessageInitShape<typeof LogEntrySchema>;

export interface TestService extends AsyncDisposable {
  readonly service: LogServiceHandle;
  readonly log: Log;
  write(...entries: NewEntry[]): Promise<void>;
  /** A stream of entries, or of batches, that ends by itself. */
  read(query: StreamQuery): Promise<LogEntry[]>;
  readBatches(query: StreamQuery): Promise<LogBatch[]>;
}

export async function openTestService(options: Partial<LogOptions> = {}): Promise<TestService> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-reading-"));
  const engine = { fileSystem: nodeFileSystem, clock: systemClock, codec: entryFrameCodec };
  const log = await openLog({ folder: join(folder, "default"), name: "default", options, ...engine });
  const service = createLogService({ logs: [serveLog("default", log)], authorize: allowAll, clock: systemClock });
  return {
    service,
    log,
    write: async (...entries) => {
      await service.ingest(SERVER_SUBJECT, { entries });
    },
    read: (query) => readAll(service, "streamLogs", LogEntrySchema, query),
    readBatches: (query) => readAll(service, "streamLogBatches", LogBatchSchema, query),
    async [Symbol.asyncDispose]() {
      await log[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

/** Messages in ready-made frames. */
export function messagesIn<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D>[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: MessageShape<D>[] = [];
  for (let at = 0; at < bytes.length; at += 5 + view.getUint32(at + 1)) {
    messages.push(fromBinary(schema, bytes.subarray(at + 5, at + 5 + view.getUint32(at + 1))));
  }
  return messages;
}

async function readAll<D extends DescMessage>(
  service: LogServiceHandle,
  method: "streamLogs" | "streamLogBatches",
  schema: D,
  query: StreamQuery,
): Promise<MessageShape<D>[]> {
  const call = new FakeCall();
  const handler = service.handlers[method];
  if (typeof handler !== "function") throw new Error(`${method} takes messages`);
  const answer = handler(create(LogStreamRequestSchema, query), call) as FrameSource | AsyncIterable<Frames>;
  try {
    const pieces = "pull" in answer ? await pullAll(answer) : await gatherAll(answer);
    return messagesIn(schema, Buffer.concat(pieces));
  } finally {
    call.end();
  }
}

async function gatherAll(answer: AsyncIterable<Frames>): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for await (const { bytes } of answer) pieces.push(bytes);
  return pieces;
}

function pullAll(source: FrameSource): Promise<Uint8Array[]> {
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = [];
    const pull = (): void => {
      for (let bytes = source.pull(65_536); bytes !== undefined; bytes = source.pull(65_536)) {
        // As a transport that has sent it: the memory may be used again.
        pieces.push(bytes.slice());
        source.sent?.();
      }
    };
    source.attach({ wake: () => queueMicrotask(pull), end: () => resolve(pieces), fail: reject });
    queueMicrotask(pull);
  });
}
