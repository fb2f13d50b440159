import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  ExportLogsServiceRequestSchema,
  ListApplicationsRequestSchema,
  type LogEntry,
  LogEntrySchema,
  LogStreamRequestSchema,
  WriteLogsRequestSchema,
} from "@sluice/api";
import type { FrameSource } from "@sluice/rpc";
import { afterEach, describe, expect, test } from "vitest";
import { PermissionDenied, SluiceError } from "../errors.ts";
import { type Authorize, allowAll, SERVER_SUBJECT } from "../security/authorize.ts";
import { systemClock } from "../store/clock.ts";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { type Log, type LogOptions, openLog } from "../store/log.ts";
import { PulledStream } from "../stream/testing/pulled-stream.ts";
import { entryFrameCodec } from "./frame-codec.ts";
import { createLogService, type LogServiceHandle, serveLog } from "./service.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";

/** What closes what a test opened, last first. */
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-logs-"));
  cleanups.push(() => rm(folder, { recursive: true }));
  return join(folder, "default");
}

interface OpenedService {
  readonly service: LogServiceHandle;
  readonly log: Log;
  close(): Promise<void>;
}

async function openService(
  folder: string,
  authorize: Authorize = allowAll,
  options: Partial<LogOptions> = {},
): Promise<OpenedService> {
  const engine = { fileSystem: nodeFileSystem, clock: systemClock, codec: entryFrameCodec };
  const log = await openLog({ folder, name: "default", options, ...engine });
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await log[Symbol.asyncDispose]();
  };
  cleanups.push(close);
  const logs = [serveLog("default", log)];
  return { service: createLogService({ logs, authorize, clock: systemClock }), log, close };
}

type Query = MessageInitShape<typeof LogStreamRequestSchema>;
type EntryInit = MessageInitShape<typeof LogEntrySchema>;

function stream(
  service: LogServiceHandle,
  query: Query,
  handlers: "handlers" | "seedHandlers" = "handlers",
): { stream: PulledStream; call: FakeCall } {
  const call = new FakeCall();
  cleanups.push(() => {
    call.end();
  });
  const handler = service[handlers].streamLogs;
  if (typeof handler !== "function") throw new Error("streamLogs takes messages");
  const source = handler(create(LogStreamRequestSchema, query), call) as FrameSource;
  return { stream: new PulledStream(source), call };
}

/** All of a stream that ends by itself. */
async function read(service: LogServiceHandle, query: Query): Promise<LogEntry[]> {
  const { stream: pulled } = stream(service, query);
  await expect.poll(() => pulled.ending).not.toBe("open");
  if (pulled.ending !== "ended") throw (pulled.ending as { error: unknown }).error;
  return pulled.entries;
}

async function write(service: LogServiceHandle, ...entries: EntryInit[]): Promise<void> {
  await service.ingest(SERVER_SUBJECT, { entries });
}

const messagesOf = (entries: readonly LogEntry[]): string[] => entries.map((entry) => entry.message);

function errorOf(run: () => unknown): SluiceError {
  try {
    run();
  } catch (error) {
    if (error instanceof SluiceError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const at = (second: number): bigint => BigInt(1_760_000_000 + second) * 1_000_000_000n;

/** Ten entries of two applications, one a second. */
const ten: readonly EntryInit[] = Array.from({ length: 10 }, (_, i) => ({
  timestamp: at(i),
  application: i % 2 === 0 ? "even" : "odd",
  level: ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"][i % 5]!,
  message: `m${i}`,
  fields: { i: String(i) },
}));

describe("history", () => {
  test.each<[string, Query, string]>([
    ["all of it", {}, "0123456789"],
    ["of one application", { application: "odd" }, "13579"],
    ["of several", { application: "odd", applications: ["even", "none"] }, "0123456789"],
    ["of an application that never wrote", { application: "none" }, ""],
    ["from a level on", { logLevel: "warn" }, "3489"],
    ["from a time on", { startTimestamp: at(7) }, "789"],
    ["up to a time", { endTimestamp: at(3) }, "012"],
    ["within a time", { startTimestamp: at(3), endTimestamp: at(5) }, "34"],
    ["that has a text", { filters: ["m4"] }, "4"],
    ["that has a value", { filters: ["i>=8"] }, "89"],
    ["of all that together", { application: "even", logLevel: "INFO", startTimestamp: at(1), filters: ["-m2"] }, "48"],
    ["its end", { tailLines: 3n }, "789"],
    ["the end of what matches the index", { tailLines: 2n, logLevel: "ERROR" }, "49"],
    ["the end of what matches the filters", { tailLines: 2n, filters: ["i<5"] }, "34"],
    ["its beginning", { limit: 4n }, "0123"],
    ["the beginning of its end", { tailLines: 5n, limit: 2n }, "56"],
    ["nothing of it", { tailLines: 0n }, ""],
  ])("%s", async (_, query, expected) => {
    const { service } = await openService(await newFolder());
    await write(service, ...ten);
    expect(messagesOf(await read(service, query))).toEqual(expected.split("").map((i) => `m${i}`));
  });

  test("resumes after every one of its cursors, also when the server was restarted", async () => {
    const folder = await newFolder();
    const first = await openService(folder);
    await write(first.service, ...ten);
    const all = await read(first.service, {});
    await first.close();
    const { service } = await openService(folder);
    for (const [i, entry] of all.entries()) {
      expect(await read(service, { resumeAfter: entry.cursor })).toEqual(all.slice(i + 1));
    }
    expect(messagesOf(await read(service, { resumeAfter: all[3]!.cursor, tailLines: 9n }))).toEqual(
      messagesOf(all.slice(4)),
    );
  });

  test("is what was written, byte by byte, with the server's fields", async () => {
    const { service } = await openService(await newFolder());
    await write(service, ...ten);
    const entries = await read(service, {});
    for (const [i, entry] of entries.entries()) {
      expect(entry).toMatchObject(ten[i]!);
      expect(entry.sequence).toBe(BigInt(i + 1));
      expect([entry.cursor.length, entry.checksum > 0, entry.observedTimestamp > 0n]).toEqual([14, true, true]);
    }
  });
});

describe("a follow", () => {
  test("gives history, then what is written; the two apart in the versioned service only", async () => {
    const { service } = await openService(await newFolder());
    await write(service, ...ten);
    const versioned = stream(service, { application: "odd", follow: true });
    const seed = stream(service, { application: "odd", follow: true }, "seedHandlers");
    await expect.poll(() => versioned.stream.events.at(-1)).toBe("sync");
    await write(service, { application: "odd", message: "live" }, { application: "even" });
    const sequences = ["2", "4", "6", "8", "10"];
    await expect.poll(() => versioned.stream.events).toEqual([...sequences, "sync", "11"]);
    await expect.poll(() => seed.stream.events).toEqual([...sequences, "11"]);
    expect(service.followers).toBe(2);
  });

  test("of an application that has not written yet says so, and shows it when it does", async () => {
    const { service } = await openService(await newFolder());
    const { stream: pulled } = stream(service, { application: "late", follow: true });
    await expect.poll(() => pulled.events).toEqual(["notice", "sync"]);
    await write(service, { application: "other" });
    await write(service, { application: "late", message: "here" });
    await expect.poll(() => messagesOf(pulled.entries)).toEqual(["here"]);
  });

  test("gives what comes late, and what is of the future, by its event time", async () => {
    const { service } = await openService(await newFolder());
    await write(service, ...ten);
    const query = { follow: true, startTimestamp: at(8), endTimestamp: at(10) };
    const { stream: pulled } = stream(service, query);
    await expect.poll(() => pulled.events).toEqual(["9", "10", "sync"]);
    const entries = [at(9), at(7), at(1_000_000), at(8), at(10)].map((timestamp, i) => ({
      timestamp,
      message: `l${i}`,
    }));
    await write(service, ...entries);
    await expect.poll(() => messagesOf(pulled.entries).slice(2)).toEqual(["l0", "l3"]);
  });

  test("with tail_lines 0 gives only what comes", async () => {
    const { service } = await openService(await newFolder());
    await write(service, ...ten);
    const { stream: pulled } = stream(service, { follow: true, tailLines: 0n });
    await expect.poll(() => pulled.events).toEqual(["sync"]);
    await write(service, { message: "new" });
    await expect.poll(() => messagesOf(pulled.entries)).toEqual(["new"]);
  });

  test("beats as the server was told, unless the request says otherwise", async () => {
    const { log } = await openService(await newFolder());
    const logs = [serveLog("default", log)];
    const service = createLogService({ logs, authorize: allowAll, clock: systemClock, heartbeatMs: 5 });
    const asTold = stream(service, { follow: true });
    const silent = stream(service, { follow: true, heartbeatMs: 0 });
    await expect.poll(() => asTold.stream.events.slice(0, 2)).toEqual(["sync", "heartbeat lag 0"]);
    expect(silent.stream.events).toEqual(["sync"]);
  });

  test("misses nothing and repeats nothing while much is written", async () => {
    const { service } = await openService(await newFolder());
    await write(service, ...ten);
    const writing = (async () => {
      for (let i = 0; i < 60; i++)
        await write(service, ...Array.from({ length: 50 }, () => ({ message: "x".repeat(500) })));
    })();
    const pulled = [0, 1, 2].map(() => stream(service, { follow: true, controlFrames: false }).stream);
    await writing;
    const expected = Array.from({ length: 3010 }, (_, i) => String(i + 1));
    for (const each of pulled) await expect.poll(() => each.events.length).toBe(3010);
    for (const each of pulled) expect(each.events).toEqual(expected);
  });

  test("is over, and free, when its call ends", async () => {
    const { service } = await openService(await newFolder());
    const calls = Array.from({ length: 20 }, () => stream(service, { follow: true }).call);
    expect(service.followers).toBe(20);
    for (const call of calls) call.end();
    expect(service.followers).toBe(0);
  });

  test("ends as unavailable when the server drains; history does not, and no new one begins", async () => {
    const { service } = await openService(await newFolder());
    const { stream: pulled } = stream(service, { follow: true });
    await expect.poll(() => pulled.events).toEqual(["sync"]);
    service.drain();
    expect(pulled.ending).toMatchObject({ error: { kind: "unavailable", facts: { reason: "STREAM_INTERRUPTED" } } });
    expect(errorOf(() => stream(service, { follow: true })).facts.reason).toBe("DRAINING");
    expect(await read(service, {})).toEqual([]);
  });
});

describe("cursors", () => {
  test("that are none, or ahead of the log, are refused with the field or the head", async () => {
    const { service } = await openService(await newFolder());
    await write(service, ...ten);
    expect(errorOf(() => stream(service, { resumeAfter: "nonsense" }))).toMatchObject({
      kind: "invalid-argument",
      facts: { reason: "MALFORMED_CURSOR", violations: [{ field: "resume_after" }] },
    });
    const other = await openService(await newFolder());
    const [last] = await read(service, { tailLines: 1n });
    expect(errorOf(() => stream(other.service, { resumeAfter: last!.cursor }))).toMatchObject({
      kind: "out-of-range",
      facts: { reason: "CURSOR_AHEAD" },
    });
  });
});

describe("writing", () => {
  test("by RPC is as writing in process", async () => {
    const { service } = await openService(await newFolder());
    const handler = service.handlers.writeLogs;
    if (typeof handler !== "object") throw new Error("writeLogs takes bytes");
    const request = create(WriteLogsRequestSchema, { entries: [{ message: "a" }, { sequence: 5n }] });
    const answer = await handler.unary?.(toBinary(WriteLogsRequestSchema, request), new FakeCall());
    expect(answer).toMatchObject({
      accepted: 1n,
      rejected: [{ index: 1n, reason: "RESERVED_FIELD" }],
      lastSequence: 1n,
    });
    expect(messagesOf(await read(service, {}))).toEqual(["a"]);
  });

  test("by many at once waits for the disk, and nobody is refused", async () => {
    const { service, log } = await openService(await newFolder(), allowAll, { pendingBytesMax: 20_000 });
    const entries = Array.from({ length: 20 }, () => ({ message: "x".repeat(100) }));
    const writers = Array.from({ length: 30 }, async () => {
      for (let i = 0; i < 5; i++)
        expect(await service.ingest(SERVER_SUBJECT, { entries })).toMatchObject({ accepted: 20n });
    });
    await Promise.all(writers);
    expect(log.reader.head.sequence).toBe(30 * 5 * 20);
  });

  test("is idempotent across a restart between append and answer", async () => {
    const folder = await newFolder();
    const request = { producer: "p", firstProducerSequence: 1n, entries: [{ message: "1" }, { message: "2" }] };
    const first = await openService(folder);
    await first.service.ingest(SERVER_SUBJECT, request);
    await first.close();
    const { service } = await openService(folder);
    expect(await service.ingest(SERVER_SUBJECT, request)).toMatchObject({
      accepted: 2n,
      duplicates: 2n,
      lastSequence: 2n,
    });
    expect(messagesOf(await read(service, {}))).toEqual(["1", "2"]);
  });

  test("by OpenTelemetry ends up in the same log", async () => {
    const { service } = await openService(await newFolder());
    const handler = service.otlpHandlers.export;
    if (typeof handler !== "object") throw new Error("export takes bytes");
    const body = { value: { case: "stringValue" as const, value: "hello" } };
    const request = create(ExportLogsServiceRequestSchema, {
      resourceLogs: [{ scopeLogs: [{ logRecords: [{ body }] }] }],
    });
    expect(await handler.unary?.(toBinary(ExportLogsServiceRequestSchema, request), new FakeCall())).toEqual({});
    expect(await read(service, { application: "unknown_service" })).toMatchObject([{ message: "hello" }]);
  });
});

test("applications are listed by name, with counts, times and bytes", async () => {
  const { service, log } = await openService(await newFolder());
  const list = (): unknown => {
    const handler = service.handlers.listApplications;
    if (typeof handler !== "function") throw new Error("listApplications takes messages");
    return handler(create(ListApplicationsRequestSchema), new FakeCall());
  };
  expect(list()).toEqual({ applications: [] });
  await write(service, ...ten, { message: "nobody's", timestamp: at(1) });
  const rows = log.reader.labels();
  const bytesOf = (name: string): bigint => BigInt(rows.find((row) => row.name === name)?.bytes ?? 0);
  expect(list()).toEqual({
    applications: [
      { application: "", entries: 1n, firstTimestamp: at(1), lastTimestamp: at(1), bytes: bytesOf("") },
      { application: "even", entries: 5n, firstTimestamp: at(0), lastTimestamp: at(8), bytes: bytesOf("even") },
      { application: "odd", entries: 5n, firstTimestamp: at(1), lastTimestamp: at(9), bytes: bytesOf("odd") },
    ],
  });
  expect(bytesOf("even")).toBeGreaterThan(300n);
});

describe("whoever comes", () => {
  test("is asked about before anything is looked for, at every entrance", async () => {
    const asked: string[] = [];
    const { service } = await openService(await newFolder(), (subject, action, resource) => {
      asked.push(`${subject.kind} ${action} ${resource.type} ${resource.name}`);
      throw new PermissionDenied();
    });
    const call = new FakeCall();
    const bytes = toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, { log: "secret" }));
    const { handlers, otlpHandlers } = service;
    expect(errorOf(() => stream(service, { log: "secret" }))).toBeInstanceOf(PermissionDenied);
    expect(errorOf(() => stream(service, {}, "seedHandlers"))).toBeInstanceOf(PermissionDenied);
    if (typeof handlers.writeLogs !== "object" || typeof handlers.writeLogStream !== "object") throw new Error("bytes");
    if (typeof otlpHandlers.export !== "object" || typeof handlers.listApplications !== "function")
      throw new Error("bytes");
    await expect(handlers.writeLogs.unary?.(bytes, call)).rejects.toBeInstanceOf(PermissionDenied);
    const otlp = otlpHandlers.export;
    await expect(async () => otlp.unary?.(new Uint8Array(0), call)).rejects.toBeInstanceOf(PermissionDenied);
    const list = handlers.listApplications;
    expect(errorOf(() => list(create(ListApplicationsRequestSchema), call))).toBeInstanceOf(PermissionDenied);
    await expect(service.ingest(SERVER_SUBJECT, {})).rejects.toBeInstanceOf(PermissionDenied);
    const written = handlers.writeLogStream.bidi?.(oneOf(bytes), call);
    await expect(drainOf(written as AsyncIterable<unknown>)).rejects.toBeInstanceOf(PermissionDenied);
    expect(asked).toEqual([
      "anonymous read log secret",
      "anonymous read log default",
      "anonymous write log secret",
      "anonymous write log default",
      "anonymous describe log default",
      "server write log default",
      "anonymous write log secret",
    ]);
  });

  test("is told when a log is not there, if that may be known", async () => {
    const { service } = await openService(await newFolder());
    expect(errorOf(() => stream(service, { log: "other" }))).toMatchObject({
      kind: "not-found",
      facts: { resource: { type: "log", name: "other" } },
    });
  });
});

async function* oneOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function drainOf(responses: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const response of responses) count += response === undefined ? 0 : 1;
  return count;
}
