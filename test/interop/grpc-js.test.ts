// @grpc/grpc-js with proto-loader, on Node's own HTTP/2: the client that most Node programs have.
import { join } from "node:path";
import {
  Client,
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rootFolder } from "../../scripts/command.ts";
import { useLogServer } from "../support/log-server.ts";

interface Entry {
  readonly application: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly sequence: string;
  readonly control: unknown;
}

const protoFolder = join(rootFolder, "proto");
const definition = loadSync(["seed.proto", "sluice/logs/v1/logs.proto"], {
  includeDirs: [protoFolder],
  longs: String,
  defaults: true,
});

const logs = useLogServer("grpc-js");
let client: Client;

beforeAll(() => {
  client = new Client(logs.address, credentials.createInsecure());
});

afterAll(() => client.close());

/** How proto-loader writes and reads the messages of a method. */
function methodOf(service: string, name: string) {
  const methods = definition[service] as Record<string, MethodShape>;
  const method = methods[name];
  if (method === undefined) throw new Error(`${service} has no method ${name}`);
  return method;
}
interface MethodShape {
  readonly path: string;
  readonly requestSerialize: (value: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => object;
}

function unary(
  service: string,
  name: string,
  request: object,
  metadata = new Metadata(),
  deadlineMs?: number,
): Promise<object> {
  const { path, requestSerialize, responseDeserialize } = methodOf(service, name);
  const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      options,
      (error, response) => (error === null ? resolve(response ?? {}) : reject(error)),
    );
  });
}

function stream(service: string, request: object, options: { deadline?: number } = {}): ClientReadableStream<Entry> {
  const { path, requestSerialize, responseDeserialize } = methodOf(service, "StreamLogs");
  const read = responseDeserialize as (bytes: Buffer) => Entry;
  return client.makeServerStreamRequest(path, requestSerialize, read, request, new Metadata(), options);
}

const write = (...entries: object[]): Promise<object> => unary("sluice.logs.v1.LogService", "WriteLogs", { entries });

async function collect(call: ClientReadableStream<Entry>): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const entry of call) entries.push(entry as Entry);
  return entries;
}

test("the package loads as grpc-js users load it", () => {
  expect(loadPackageDefinition(definition)["LogService"]).toBeTypeOf("function");
});

test("it writes a batch and reads history through both services", async () => {
  expect(
    await write({ application: "js", message: "one", fields: { k: "v" } }, { application: "js", message: "ü" }),
  ).toMatchObject({
    accepted: "2",
  });
  const seed = await collect(stream("LogService", { application: "js" }));
  expect(seed.map(({ message, fields }) => [message, fields])).toEqual([
    ["one", { k: "v" }],
    ["ü", {}],
  ]);
  const versioned = await collect(stream("sluice.logs.v1.LogService", { application: "js" }));
  expect(versioned.filter(({ control }) => control === null).map(({ message }) => message)).toEqual(["one", "ü"]);
});

test("it follows and cancels", async () => {
  const call = stream("LogService", { application: "js-live", follow: true });
  const seen: string[] = [];
  const ended = new Promise<ServiceError>((resolve) => call.once("error", resolve));
  call.on("data", (entry: Entry) => {
    seen.push(entry.message);
    if (seen.length === 3) call.cancel();
  });
  await new Promise((resolve) => call.once("metadata", resolve)); // the subscription is open before anything is logged
  for (const message of ["a", "b", "c"]) await write({ application: "js-live", message });
  expect((await ended).code).toBe(status.CANCELLED);
  expect(seen).toEqual(["a", "b", "c"]);
});

test("its deadline ends a follow", async () => {
  const call = stream("LogService", { application: "nobody", follow: true }, { deadline: Date.now() + 200 });
  await expect(collect(call)).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
});

test("it writes a stream and gets acknowledgements", async () => {
  const { path, requestSerialize, responseDeserialize } = methodOf("sluice.logs.v1.LogService", "WriteLogStream");
  const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, new Metadata(), {});
  for (let i = 0; i < 50; i++) {
    call.write({
      producer: "grpc-js",
      firstProducerSequence: 1 + 2 * i,
      entries: [
        { application: "js-stream", message: `${i}a` },
        { application: "js-stream", message: `${i}b` },
      ],
    });
  }
  call.end();
  let acknowledged = "0";
  for await (const response of call)
    acknowledged = (response as { acknowledged?: string }).acknowledged ?? acknowledged;
  expect(acknowledged).toBe("100");
  const entries = await collect(stream("LogService", { application: "js-stream" }));
  expect(entries.map(({ message }) => message)).toEqual(
    Array.from({ length: 50 }, (_, i) => [`${i}a`, `${i}b`]).flat(),
  );
});

test("an error has its code, its sentence and its details", async () => {
  const error = await collect(stream("LogService", { log_level: "LOUD", logLevel: "LOUD" })).catch(
    (each: unknown) => each as ServiceError,
  );
  expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, details: expect.stringContaining("TRACE") as string });
  const [details] = (error as ServiceError).metadata.get("grpc-status-details-bin");
  expect(details?.toString("latin1")).toContain("type.googleapis.com/google.rpc.BadRequest");
});

test("an unknown method is UNIMPLEMENTED", async () => {
  const call = client.makeUnaryRequest.bind(
    client,
    "/LogService/Nothing",
    () => Buffer.alloc(0),
    (bytes: Buffer) => bytes,
    {},
  );
  const error = await new Promise((resolve) => call((failure: unknown) => resolve(failure)));
  expect(error).toMatchObject({ code: status.UNIMPLEMENTED });
});
