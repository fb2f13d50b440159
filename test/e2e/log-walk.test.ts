// Walks with one log entry through the files that docs/ARCHITECTURE.md names, in that order, and looks at it in each.
// Real sockets, real files; each station is watched at the boundary that it has in the composition root (server.ts).
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema, LogService, WriteLogsRequestSchema } from "@sluice/api";
import { connect } from "@sluice/client";
import {
  createClient,
  createServer,
  FRAME_HEADER_BYTES,
  frameOf,
  Frames,
  listen,
  openChannel,
  serve,
} from "@sluice/rpc";
import { beforeAll, expect, test } from "vitest";
import { entryFrameCodec } from "../../packages/server/src/logs/frame-codec.ts";
import { createLogService, serveLog } from "../../packages/server/src/logs/service.ts";
import type { Authorize } from "../../packages/server/src/security/authorize.ts";
import { systemClock } from "../../packages/server/src/store/clock.ts";
import type { Batch, LogReader, LogWriter } from "../../packages/server/src/store/contract.ts";
import { nodeFileSystem } from "../../packages/server/src/store/file-system-node.ts";
import { openLog } from "../../packages/server/src/store/log.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** The stations, as the document names them: `### 1. \`path\``. */
let stations: string[];

beforeAll(async () => {
  const text = await readFile(join(ROOT, "docs/ARCHITECTURE.md"), "utf8");
  const section = text.split(/^## /mu).find((each) => each.startsWith("The walk of one log entry")) ?? "";
  stations = Array.from(section.matchAll(/^### \d+\. `([^`]+)`$/gmu), ([, file = ""]) => file);
});

/** Notes the stations in the order in which the entry reaches them for the first time. */
class Walk {
  readonly reached: string[] = [];

  reach(file: string): void {
    if (!this.reached.includes(file)) this.reached.push(file);
  }
}

const FILES = {
  proto: "proto/sluice/logs/v1/logs.proto",
  security: "packages/server/src/security/authorize.ts",
  service: "packages/server/src/logs/service.ts",
  store: "packages/server/src/store/log.ts",
  follow: "packages/server/src/stream/follow.ts",
  client: "packages/client/src/log-stream.ts",
} as const;

test("the document names the stations, and each of them is a file", async () => {
  expect(stations).toEqual(Object.values(FILES));
  for (const file of stations) expect(await readFile(join(ROOT, file), "utf8")).not.toBe("");
});

test("every file that the document names is there", async () => {
  const text = await readFile(join(ROOT, "docs/ARCHITECTURE.md"), "utf8");
  const named = new Set(Array.from(text.matchAll(/`([\w./-]+\.(?:ts|proto|md))`/gu), ([, file = ""]) => file));
  expect(named.size).toBeGreaterThan(20);
  for (const file of named) {
    const places = ["", "packages/server/src"].map((folder) => join(ROOT, folder, file));
    expect(
      places.some((place) => existsSync(place)),
      file,
    ).toBe(true);
  }
});

test("one entry, from the producer's bytes to the reader's object", async () => {
  const walk = new Walk();
  await using folder = await openTemporaryFolder("log-walk");
  const logFolder = join(folder.path, "default");
  await using log = await openLog({
    folder: logFolder,
    name: "default",
    fileSystem: nodeFileSystem,
    clock: systemClock,
    codec: entryFrameCodec,
  });

  const asked: unknown[] = [];
  const authorize: Authorize = (subject, action, resource) => {
    walk.reach(FILES.security);
    asked.push([subject.kind, action, resource]);
  };
  const appended: Batch[] = [];
  const writer = watchWriter(log.writer, walk, appended);
  const reader = watchReader(log.reader, walk);
  const logs = createLogService({
    logs: [{ ...serveLog("default", log), reader, writer }],
    authorize,
    clock: systemClock,
  });
  await using listener = await listen(createServer({ services: [serve(LogService, logs.handlers)] }));
  await using channel = openChannel(listener.address);
  const raw = createClient(LogService, channel);

  // 1. The producer's entry, as the contract has it: bytes that nobody will encode again.
  const said = {
    timestamp: 1_700_000_000_000_000_000n,
    level: "WARN",
    application: "shop",
    message: "only 2 teapots left",
    fields: { article: "teapot" },
  };
  const entry = create(LogEntrySchema, said);
  const entryBytes = toBinary(LogEntrySchema, entry);
  const request = toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, { entries: [entry] }));
  walk.reach(FILES.proto);

  // 2. to 4. It is written: authorized, checked and stamped, appended, and acknowledged when it is on disk.
  const written = await raw.writeLogs(new Frames(frameOf(request)));
  expect(written).toMatchObject({ accepted: 1n, rejected: [], lastSequence: 1n });
  expect(asked).toEqual([["anonymous", "write", { type: "log", name: "default" }]]);
  const [batch] = appended;
  const frame = Buffer.from(batch?.bytes.subarray(0, batch.lengths[0]) ?? []);
  const message = frame.subarray(FRAME_HEADER_BYTES);
  expect(frame.readUInt32BE(1)).toBe(message.length);
  expect(message.subarray(0, entryBytes.length).equals(entryBytes)).toBe(true);
  expect(fromBinary(LogEntrySchema, message)).toMatchObject({ ...said, sequence: 1n, cursor: written.lastCursor });
  // The checksum is the last field: one byte of tag, four of value.
  expect(message.readUInt32LE(message.length - 4)).toBe(crc32(message.subarray(0, message.length - 5)));
  const [frames = ""] = (await readdir(logFolder)).filter((name) => name.endsWith(".frames"));
  // Behind it is room for what comes next.
  const stored = await readFile(join(logFolder, frames));
  expect(stored.equals(Buffer.concat([frame, Buffer.alloc(stored.length - frame.length)]))).toBe(true);

  // 5. It is read: what lies on disk is what leaves, byte for byte.
  const received: Uint8Array[] = [];
  for await (const bytes of raw.streamLogs({}, { raw: true })) received.push(bytes);
  expect(received.map((bytes) => Buffer.from(bytes))).toEqual([message]);
  expect(asked[1]).toEqual(["anonymous", "read", { type: "log", name: "default" }]);

  // 6. The reader has it as an object, and a place to go on from.
  await using client = connect(listener.address);
  for await (const each of client.streamLogs({ applications: ["shop"] })) {
    walk.reach(FILES.client);
    expect(each).toMatchObject({ ...said, sequence: 1n, cursor: written.lastCursor });
  }

  expect(walk.reached).toEqual(stations);
});

/** The service hands over a stamped batch; the log answers when it is durable. */
function watchWriter(writer: LogWriter, walk: Walk, appended: Batch[]): LogWriter {
  return new Proxy(writer, {
    get(target, property) {
      if (property !== "append") return bound(target, property);
      return async (expectedNext: number, batch: Batch) => {
        walk.reach(FILES.service);
        appended.push(batch);
        const last = await target.append(expectedNext, batch);
        walk.reach(FILES.store);
        return last;
      };
    },
  });
}

/** The follow pulls runs of the log through a scan. */
function watchReader(reader: LogReader, walk: Walk): LogReader {
  return new Proxy(reader, {
    get(target, property) {
      if (property !== "scan") return bound(target, property);
      return (...words: Parameters<LogReader["scan"]>) => {
        walk.reach(FILES.follow);
        return target.scan(...words);
      };
    },
  });
}

/** A property of the watched object itself: methods keep their `this`. */
function bound<T extends object>(target: T, property: string | symbol): unknown {
  const value: unknown = Reflect.get(target, property, target);
  return typeof value === "function" ? (value.bind(target) as unknown) : value;
}
