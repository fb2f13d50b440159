// OTLP/HTTP on the server's one port: POST /v1/logs, as OpenTelemetry's programs default to it.
import { request } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { gzipSync } from "node:zlib";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { ExportLogsServiceRequestSchema, ExportLogsServiceResponseSchema, type LogEntry } from "@sluice/api";
import { describe, expect, test } from "vitest";
import { collect } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";

const PAGE = "https://console.example";
const logs = useLogServer("otlp-http", ["--web-origins", PAGE]);

const PROTOBUF = "application/x-protobuf";
const JSON_TYPE = "application/json";

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

/** Not `fetch`, which decides itself about `host` and `origin`. */
function send(body: Uint8Array | string, headers: Record<string, string>, method = "POST"): Promise<Answer> {
  const [host, port] = logs.address.split(":");
  return new Promise((resolve, reject) => {
    const sent = request({ host, port, method, path: "/v1/logs", headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    sent.on("error", reject).end(body);
  });
}

const protobuf = (body: Uint8Array, more: Record<string, string> = {}) =>
  send(body, { "content-type": PROTOBUF, ...more });
const json = (body: unknown, more: Record<string, string> = {}) =>
  send(typeof body === "string" ? body : JSON.stringify(body), { "content-type": JSON_TYPE, ...more });

function encode(init: MessageInitShape<typeof ExportLogsServiceRequestSchema>): Uint8Array {
  return toBinary(ExportLogsServiceRequestSchema, create(ExportLogsServiceRequestSchema, init));
}

/** A request of one service with records of these bodies. */
function requestOf(service: string, ...bodies: readonly string[]) {
  const text = (value: string) => ({ value: { case: "stringValue" as const, value } });
  const resource = { attributes: [{ key: "service.name", value: text(service) }] };
  return { resourceLogs: [{ resource, scopeLogs: [{ logRecords: bodies.map((body) => ({ body: text(body) })) }] }] };
}

async function entriesOf(application: string): Promise<LogEntry[]> {
  const entries = await collect(logs.client.logs.streamLogs({ application }));
  return entries.filter(({ control }) => control === undefined);
}

const messagesOf = async (application: string): Promise<string[]> =>
  (await entriesOf(application)).map(({ message }) => message);

/** google.rpc.Status in protobuf. */
function statusIn(body: Uint8Array): { code: number; message: string } {
  const reader = new BinaryReader(body);
  const status = { code: 0, message: "" };
  while (reader.pos < reader.len) {
    const [field] = reader.tag();
    if (field === 1) status.code = reader.int32();
    else status.message = reader.string();
  }
  return status;
}

describe("what is posted", () => {
  test("as protobuf is taken, and answered in protobuf when it is on disk", async () => {
    const { status, headers, body } = await protobuf(encode(requestOf("h-protobuf", "one", "two")));
    expect([status, headers["content-type"], body.length]).toEqual([200, PROTOBUF, 0]);
    expect(await messagesOf("h-protobuf")).toEqual(["one", "two"]);
  });

  test("as JSON is taken: hexadecimal ids, large numbers as text or not, enums as numbers, unknown fields", async () => {
    const record = `{"timeUnixNano":1760000000000000001,"observedTimeUnixNano":"1760000000000000002","severityNumber":17,
      "severityText":"Error","body":{"stringValue":"json"},"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174",
      "attributes":[{"key":"n","value":{"intValue":"9007199254740993"}},{"key":"b","value":{"bytesValue":"AP8="}}],"newField":{"x":[1]}}`;
    const resource = `{"attributes":[{"key":"service.name","value":{"stringValue":"h-json"}}]}`;
    const text = `{"resourceLogs":[{"resource":${resource},"scopeLogs":[{"scope":{"name":"s"},"logRecords":[${record}]}]}],"more":1}`;
    const { status, headers, body } = await json(text, { "content-type": `${JSON_TYPE}; charset=utf-8` });
    expect([status, headers["content-type"], JSON.parse(body.toString())]).toEqual([200, JSON_TYPE, {}]);
    expect((await entriesOf("h-json"))[0]).toMatchObject({
      timestamp: 1_760_000_000_000_000_001n,
      observedTimestamp: 1_760_000_000_000_000_002n,
      message: "json",
      severityNumber: 17,
      level: "Error",
      fields: { n: "9007199254740993", b: "AP8=" },
      traceId: Uint8Array.from(Buffer.from("5B8EFFF798038103D269B633813FC60C", "hex")),
      spanId: Uint8Array.from(Buffer.from("eee19b7ec3c1b174", "hex")),
    });
  });

  test("compressed by gzip is taken, in either form", async () => {
    const gzip = { "content-encoding": "gzip" };
    expect((await protobuf(gzipSync(encode(requestOf("h-gzip", "p"))), gzip)).status).toBe(200);
    const record = { body: { stringValue: "j" } };
    const resource = { attributes: [{ key: "service.name", value: { stringValue: "h-gzip" } }] };
    const body = gzipSync(JSON.stringify({ resourceLogs: [{ resource, scopeLogs: [{ logRecords: [record] }] }] }));
    expect((await send(body, { "content-type": JSON_TYPE, ...gzip })).status).toBe(200);
    expect(await messagesOf("h-gzip")).toEqual(["p", "j"]);
  });

  test("over HTTP/2 is taken", async () => {
    const session = connectHttp2(`http://${logs.address}`);
    const stream = session.request({ ":method": "POST", ":path": "/v1/logs", "content-type": PROTOBUF });
    const status = await new Promise<unknown>((resolve, reject) => {
      stream.on("response", (headers) => resolve(headers[":status"])).on("error", reject);
      stream.end(Buffer.from(encode(requestOf("h-2", "two"))));
    });
    await new Promise<void>((resolve) => {
      session.close(resolve);
      stream.resume();
    });
    expect([status, await messagesOf("h-2")]).toEqual([200, ["two"]]);
  });

  test("in part is answered by a partial success, in the language of the request", async () => {
    const bad = new BinaryWriter().tag(5, 2).fork().tag(1, 2).bytes(Uint8Array.of(0xff)).join().finish();
    const good = encode(requestOf("h-partial", "good"));
    const broken = new BinaryWriter().tag(1, 2).fork().tag(2, 2).fork().tag(2, 2).bytes(bad).join().join().finish();
    const { status, body } = await protobuf(Buffer.concat([good, broken]));
    const { partialSuccess } = fromBinary(ExportLogsServiceResponseSchema, body);
    expect([status, partialSuccess?.rejectedLogRecords]).toEqual([200, 1n]);
    expect(partialSuccess?.errorMessage).toContain("INVALID_UTF8");
    expect(await messagesOf("h-partial")).toEqual(["good"]);
    const record = { body: { stringValue: "late" }, timeUnixNano: "18446744073709551615" };
    const answer = await json({ resourceLogs: [{ scopeLogs: [{ logRecords: [record] }] }] });
    expect(JSON.parse(answer.body.toString())).toMatchObject({ partialSuccess: { rejectedLogRecords: "1" } });
  });
});

describe("what cannot be taken", () => {
  test.each([
    ["a request that is no message", protobuf, Uint8Array.of(0x0a, 0x05, 0x12), {}],
    ["what is no gzip", protobuf, Uint8Array.of(1, 2, 3), { "content-encoding": "gzip" }],
    ["an encoding that nobody speaks", protobuf, Uint8Array.of(), { "content-encoding": "br" }],
  ])("%s is 400 with a Status in protobuf", async (_, post, body, more) => {
    const answer = await post(body, more);
    expect([answer.status, answer.headers["content-type"], answer.headers["retry-after"]]).toEqual([
      400,
      PROTOBUF,
      undefined,
    ]);
    expect(statusIn(answer.body)).toMatchObject({ code: 3, message: expect.stringMatching(/\w/) as string });
  });

  test.each([
    ["what is no JSON", "{"],
    ["a list", []],
    ["records that are no list", { resourceLogs: [{ scopeLogs: [{ logRecords: {} }] }] }],
    ["an id that is not hexadecimal", { resourceLogs: [{ scopeLogs: [{ logRecords: [{ traceId: "xyz" }] }] }] }],
    ["a value of the wrong type", { resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { intValue: "x" } }] }] }] }],
  ])("%s is 400 with a Status in JSON", async (_, body) => {
    const answer = await json(body);
    expect([answer.status, answer.headers["content-type"]]).toEqual([400, JSON_TYPE]);
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      code: 3,
      message: expect.stringMatching(/\w/) as string,
    });
  });

  test("a body over the limit of a message is 413, compressed or not, and never tried again", async () => {
    const large = encode(requestOf("h-large", "x".repeat(5 * 1024 * 1024)));
    for (const answer of [await protobuf(large), await protobuf(gzipSync(large), { "content-encoding": "gzip" })]) {
      expect([answer.status, answer.headers["retry-after"]]).toEqual([413, undefined]);
      expect(statusIn(answer.body).message).toContain("4194304");
    }
    expect(await messagesOf("h-large")).toEqual([]);
  });

  test("another language is 415, another method 405", async () => {
    expect((await send("x", { "content-type": "text/plain" })).status).toBe(415);
    const answer = await send("", {}, "GET");
    expect([answer.status, answer.headers["allow"]]).toEqual([405, "POST"]);
  });
});

describe("a page", () => {
  const preflight = { "access-control-request-method": "POST", "access-control-request-headers": "content-type" };

  test("of a listed origin may send logs, and read the answer", async () => {
    const asked = await send("", { origin: PAGE, ...preflight }, "OPTIONS");
    expect([asked.status, asked.headers["access-control-allow-headers"]]).toEqual([204, "content-type"]);
    const answer = await protobuf(encode(requestOf("h-page", "from a page")), { origin: PAGE });
    expect([answer.status, answer.headers["access-control-allow-origin"]]).toEqual([200, PAGE]);
    expect(await messagesOf("h-page")).toEqual(["from a page"]);
  });

  test("of another origin may not", async () => {
    expect((await send("", { origin: "https://evil.example", ...preflight }, "OPTIONS")).status).toBe(403);
    expect((await protobuf(encode(requestOf("h-evil", "x")), { origin: "https://evil.example" })).status).toBe(403);
    expect(await messagesOf("h-evil")).toEqual([]);
  });
});
