// What a server says to requests that are wrong, each with its code, its sentence and its typed detail; and that nothing
// is lost by them.
import { once } from "node:events";
import { connect } from "node:net";
import {
  BadRequestSchema,
  Code,
  createClient,
  ErrorInfoSchema,
  FRAME_HEADER_BYTES,
  Frames,
  ResourceInfoSchema,
  RpcError,
} from "@sluice/rpc";
import { LogService } from "@sluice/api";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { collect, type LogClient, openLogClient } from "../support/log-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let server: ServerProcess;
let client: LogClient;

beforeAll(async () => {
  folder = await openTemporaryFolder("bad-input");
  server = await startServer([], { folder: folder.path });
  client = openLogClient(server.address);
  await client.write({ application: "kept", level: "INFO", message: "one" });
});

afterEach(async () => {
  const entries = await collect(client.seed.streamLogs({ application: "kept" }));
  expect(entries.map((each) => each.message)).toEqual(["one"]);
});

afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function errorOf(answer: Promise<unknown>): Promise<RpcError> {
  const error: unknown = await answer.then(
    () => new Error("The call succeeded"),
    (each: unknown) => each,
  );
  if (!(error instanceof RpcError)) throw error;
  return error;
}

const reasonsOf = (error: RpcError) =>
  error.findDetails(ErrorInfoSchema).map(({ reason, domain }) => ({ reason, domain }));
const fieldsOf = (error: RpcError) =>
  error.findDetails(BadRequestSchema).flatMap((each) => each.fieldViolations.map(({ field }) => field));

describe("a request with a field that is wrong is INVALID_ARGUMENT and names the field", () => {
  test.each([
    { request: { logLevel: "LOUD" }, field: "log_level", text: /"LOUD".*TRACE.*DEBUG.*INFO.*WARN.*ERROR.*FATAL/u },
    { request: { filters: ["good", "user~("] }, field: "filters[1]", text: /missing closing \)/u },
    { request: { filters: ["size>big"] }, field: "filters[0]", text: /big/u },
    { request: { resumeAfter: "no cursor" }, field: "resume_after", text: /no cursor/u },
    { request: { tailLines: -1n }, field: "tail_lines", text: /-1/u },
    { request: { limit: -1n }, field: "limit", text: /-1/u },
    { request: { startTimestamp: 2n, endTimestamp: 1n }, field: "end_timestamp", text: /1/u },
    { request: { log: "../etc" }, field: "log", text: /a log's name has 1 to 63/u },
  ])("$field: $request", async ({ request, field, text }) => {
    for (const service of [client.logs, client.seed]) {
      const error = await errorOf(collect(service.streamLogs(request)));
      expect(error.code).toBe(Code.INVALID_ARGUMENT);
      expect(error.message).toMatch(text);
      expect(fieldsOf(error)).toEqual([field]);
      expect(reasonsOf(error)).toMatchObject([{ domain: "sluice" }]);
    }
  });
});

test("a log that is not there is NOT_FOUND, with what was asked for", async () => {
  const error = await errorOf(collect(client.logs.streamLogs({ log: "audit" })));
  expect(error.code).toBe(Code.NOT_FOUND);
  expect(error.findDetails(ResourceInfoSchema)).toMatchObject([{ resourceType: "log", resourceName: "audit" }]);
});

test("a field that does not fit the others is INVALID_ARGUMENT, and named", async () => {
  const error = await errorOf(collect(client.logs.streamLogs({ samplePerSecond: 5 })));
  expect(error.code).toBe(Code.INVALID_ARGUMENT);
  expect(error.findDetails(BadRequestSchema)).toMatchObject([{ fieldViolations: [{ field: "sample_per_second" }] }]);
});

test("a bad entry is rejected by its index, the others are kept", async () => {
  const { accepted, rejected } = await client.logs.writeLogs({
    entries: [
      { application: "batch", message: "first" },
      { application: "batch", message: "x".repeat(1024 * 1024 + 1) },
      { application: "batch", message: "forged", sequence: 7n },
      { application: "batch", message: "forged", control: { kind: { case: "sync", value: { cursor: "x" } } } },
      { application: "batch", message: "last" },
    ],
  });
  expect(accepted).toBe(2n);
  expect(rejected.map(({ index, reason }) => [index, reason])).toEqual([
    [1n, "ENTRY_TOO_LARGE"],
    [2n, "RESERVED_FIELD"],
    [3n, "RESERVED_FIELD"],
  ]);
  expect(rejected[0]?.text).toMatch(/the limit is \d+$/u);
  const kept = await collect(client.seed.streamLogs({ application: "batch" }));
  expect(kept.map((each) => each.message)).toEqual(["first", "last"]);
});

test("a message over the limit is RESOURCE_EXHAUSTED and says the limit", async () => {
  const entries = Array.from({ length: 5 }, () => ({ message: "x".repeat(1000 * 1000) }));
  const error = await errorOf(client.logs.writeLogs({ entries }));
  expect(error.code).toBe(Code.RESOURCE_EXHAUSTED);
  expect(error.message).toMatch(/4194304/u);
});

describe("garbage", () => {
  const frame = (flag: number, length: number, payload: Uint8Array) => {
    const bytes = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
    bytes.writeUInt8(flag, 0);
    bytes.writeUInt32BE(length, 1);
    bytes.set(payload, FRAME_HEADER_BYTES);
    return new Frames(bytes);
  };
  const garbage = Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]);

  test("instead of a request message is INVALID_ARGUMENT or INTERNAL, on every kind of call", async () => {
    const raw = createClient(LogService, client.channel);
    const request = frame(0, garbage.length, garbage);
    const answers = [
      collect(raw.streamLogs(request)),
      raw.writeLogs(request),
      raw.listApplications(request),
      collect(
        raw.writeLogStream(
          (async function* requests() {
            yield request;
          })(),
        ),
      ),
    ];
    for (const answer of answers) {
      const error = await errorOf(answer);
      expect([Code.INVALID_ARGUMENT, Code.INTERNAL]).toContain(error.code);
      expect(error.message).not.toBe("");
      expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
        { reason: expect.stringMatching(/^[A-Z_]+$/u) as string },
      ]);
    }
  });

  test("instead of a frame's header is INTERNAL", async () => {
    const error = await errorOf(client.logs.writeLogs(frame(0x7f, 3, garbage.subarray(0, 3))));
    expect(error.code).toBe(Code.INTERNAL);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "INTERNAL", domain: "grpc" }]);
  });

  test("a frame that promises more than comes", async () => {
    const error = await errorOf(client.logs.writeLogs(frame(0, 100, garbage)));
    expect([Code.INVALID_ARGUMENT, Code.INTERNAL]).toContain(error.code);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ domain: "grpc" }]);
  });

  test.each([
    { name: "no protocol at all", bytes: Buffer.from([0x16, 0x03, 0x01, 0x00, 0x00, 0xff, 0xfe]) },
    {
      name: "HTTP/2's preface and then noise",
      bytes: Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.alloc(64, 0xa5)]),
    },
    { name: "HTTP/1.1 with a header that is none", bytes: Buffer.from("GET / HTTP/1.1\r\nno \0 header\r\n\r\n") },
  ])("on the socket ($name) ends that connection only", async ({ bytes }) => {
    const [host = "", port = ""] = server.address.split(":");
    const socket = connect(Number(port), host);
    socket.on("error", () => {});
    const closed = once(socket, "close");
    socket.resume();
    socket.write(bytes);
    await closed;
    expect(server.child.exitCode).toBeNull();
  });
});
