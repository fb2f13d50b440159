// Connect-ES, the client that most TypeScript programs take beside grpc-js: by gRPC and by gRPC-Web, over both versions of
// HTTP, with TLS and a client certificate. What needs a server that echoes is in test/rpc/web.test.ts.
import { readFileSync } from "node:fs";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { compressionGzip, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { createConnectTransport, createGrpcWebTransport as createFetchTransport } from "@connectrpc/connect-web";
import { type LogEntry, LogService } from "@sluice/api";
import { BadRequestSchema } from "@sluice/rpc";
import { describe, expect, test } from "vitest";
import { collect } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";
import { mutualTlsSettings, tlsFixture } from "../support/tls-fixtures.ts";

const plain = useLogServer("connect");
const secured = useLogServer("connect-tls", mutualTlsSettings);
const nodeOptions = {
  ca: readFileSync(tlsFixture("localhost.crt")),
  cert: readFileSync(tlsFixture("client.crt")),
  key: readFileSync(tlsFixture("client.key")),
};
/** Everything is compressed, however small, both ways. */
const gzip = {
  sendCompression: compressionGzip,
  acceptCompression: [compressionGzip],
  compressMinBytes: 0,
};
const idle = { idleConnectionTimeoutMs: 1 };

interface Way {
  readonly name: string;
  readonly open: () => Transport;
  /** Whether requests can stream while answers come. */
  readonly isDuplex: boolean;
}

const base = () => `http://${plain.address}`;
const secure = () => `https://${secured.address}`;
const ways: readonly Way[] = [
  { name: "gRPC", open: () => createGrpcTransport({ baseUrl: base(), ...idle }), isDuplex: true },
  { name: "gRPC with gzip", open: () => createGrpcTransport({ baseUrl: base(), ...gzip, ...idle }), isDuplex: true },
  {
    name: "gRPC over TLS with a client certificate",
    open: () => createGrpcTransport({ baseUrl: secure(), nodeOptions, ...idle }),
    isDuplex: true,
  },
  {
    name: "gRPC-Web over HTTP/1.1",
    open: () => createGrpcWebTransport({ baseUrl: base(), httpVersion: "1.1" }),
    isDuplex: false,
  },
  {
    name: "gRPC-Web over HTTP/2 with gzip",
    open: () => createGrpcWebTransport({ baseUrl: base(), httpVersion: "2", ...gzip, ...idle }),
    isDuplex: true,
  },
  {
    name: "gRPC-Web over HTTP/1.1 and TLS with a client certificate",
    open: () => createGrpcWebTransport({ baseUrl: secure(), httpVersion: "1.1", nodeOptions }),
    isDuplex: false,
  },
  { name: "gRPC-Web by fetch", open: () => createFetchTransport({ baseUrl: base() }), isDuplex: false },
];

const isEntry = ({ control }: LogEntry): boolean => control === undefined;

describe.each(ways)("$name", ({ name, open }) => {
  const client = () => createClient(LogService, open());

  test("it writes a batch, lists it, and reads it", async () => {
    const application = `${name}/unary`;
    const entries = ["one", "zwei – 2", "три"].map((message) => ({ application, message, fields: { k: message } }));
    await expect(client().writeLogs({ entries })).resolves.toMatchObject({ accepted: 3n, rejected: [] });
    const { applications } = await client().listApplications({});
    expect(applications.find((each) => each.application === application)).toMatchObject({ entries: 3n });
    const read = (await collect(client().streamLogs({ application }))).filter(isEntry);
    expect(read.map(({ message, fields }) => [message, fields["k"]])).toEqual(
      entries.map(({ message }) => [message, message]),
    );
  });

  test("it follows: history, then what comes, until it has enough", async () => {
    const application = `${name}/follow`;
    await client().writeLogs({ entries: [{ application, message: "before" }] });
    const stop = new AbortController();
    const seen: string[] = [];
    const follow = (async () => {
      for await (const entry of client().streamLogs({ application, follow: true }, { signal: stop.signal })) {
        seen.push(entry.control?.kind.case ?? entry.message);
        if (entry.message === "after") stop.abort();
      }
    })();
    const ended = expect(follow).rejects.toMatchObject({ code: Code.Canceled });
    await expect.poll(() => seen, { timeout: 15_000 }).toEqual(["before", "sync"]);
    await client().writeLogs({ entries: [{ application, message: "after" }] });
    await ended;
    expect(seen).toEqual(["before", "sync", "after"]);
  });

  test("its deadline ends a follow", async () => {
    const follow = collect(client().streamLogs({ application: "nobody", follow: true }, { timeoutMs: 200 }));
    await expect(follow).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("an error has its code, its sentence and its typed details", async () => {
    const error = ConnectError.from(
      await collect(client().streamLogs({ logLevel: "LOUD" })).catch((each: unknown) => each),
    );
    expect(error).toMatchObject({ code: Code.InvalidArgument, rawMessage: expect.stringContaining("TRACE") as string });
    const [detail] = error.findDetails(BadRequestSchema);
    expect(detail?.fieldViolations.map(({ field }) => field)).toEqual(["log_level"]);
  });
});

test.for(ways.filter(({ isDuplex }) => isDuplex))(
  "$name: it writes a stream and gets acknowledgements",
  async ({ name, open }) => {
    const client = createClient(LogService, open());
    const application = `${name}/stream`;
    async function* requests() {
      for (let first = 1; first <= 40; first += 2) {
        const entries = [first, first + 1].map((number) => ({ application, message: String(number) }));
        yield { producer: name, firstProducerSequence: BigInt(first), entries };
      }
    }
    const answers = await collect(client.writeLogStream(requests()));
    expect(answers.at(-1)).toMatchObject({ acknowledged: 40n });
    const read = (await collect(client.streamLogs({ application }))).filter(isEntry);
    expect(read.map(({ message }) => message)).toEqual(Array.from({ length: 40 }, (_, at) => String(at + 1)));
  },
);

test("Connect's own protocol, in JSON and in protobuf, for calls with one answer", async () => {
  for (const useBinaryFormat of [false, true]) {
    const client = createClient(LogService, createConnectTransport({ baseUrl: base(), useBinaryFormat }));
    const application = `connect/${useBinaryFormat}`;
    const entries = [{ application, message: "zwei – 2", timestamp: 1_700_000_000_123_456_789n }];
    await expect(client.writeLogs({ entries })).resolves.toMatchObject({ accepted: 1n, rejected: [] });
    const { applications } = await client.listApplications({});
    expect(applications.find((each) => each.application === application)).toMatchObject({
      entries: 1n,
      firstTimestamp: 1_700_000_000_123_456_789n,
    });
  }
});

test("JSON as curl sends it", async () => {
  const call = async (method: string, body: object) => {
    const url = `${base()}/${LogService.typeName}/${method}`;
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  };
  const entries = [
    { application: "curl", level: "INFO", message: "hi" },
    { application: "curl", control: {} },
  ];
  expect(await call("WriteLogs", { entries })).toMatchObject({
    status: 200,
    body: { accepted: "1", rejected: [{ index: "1" }] },
  });
  expect(await call("ListApplications", { log: "nowhere" })).toMatchObject({
    status: 404,
    body: {
      code: "not_found",
      details: expect.arrayContaining([
        { type: "google.rpc.ResourceInfo", value: expect.any(String) as string },
      ]) as unknown,
    },
  });
});

test("who has no certificate is not let in", async () => {
  const { ca } = nodeOptions;
  const client = createClient(LogService, createGrpcTransport({ baseUrl: secure(), nodeOptions: { ca }, ...idle }));
  await expect(client.listApplications({})).rejects.toBeInstanceOf(ConnectError);
});

test("an answer that is worth it is compressed", async () => {
  const client = createClient(LogService, createGrpcTransport({ baseUrl: base(), ...gzip, ...idle }));
  const names = Array.from({ length: 100 }, (_, at) => `gzip/${at}`);
  await client.writeLogs({ entries: names.map((application) => ({ application, message: "there" })) });
  let encoding: string | null = null;
  const { applications } = await client.listApplications(
    {},
    { onHeader: (headers) => (encoding = headers.get("grpc-encoding")) },
  );
  expect(encoding).toBe("gzip");
  expect(applications.length).toBeGreaterThanOrEqual(100);
});
