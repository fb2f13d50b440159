// gRPC-Web by `fetch`, as a browser has it: answers, streams, statuses with their details, and connections that break.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { NotificationService } from "@sluice/api";
import { BadRequestSchema, Code, createWebClient, RpcError } from "@sluice/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let server: ServerProcess;

beforeAll(async () => {
  folder = await openTemporaryFolder("web-client");
  server = await startServer([], { folder: folder.path });
}, 60_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const open = () => createWebClient(NotificationService, `http://${server.address}`);
const errorOf = async (call: Promise<unknown>): Promise<RpcError> => {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(RpcError);
  return error as RpcError;
};

test("an answer, and a stream that goes on until it is left", async () => {
  const client = open();
  const { outcomes } = await client.publish({ notifications: [{ userIds: ["ann"], title: "größer – 😀" }] });
  expect(outcomes[0]?.error).toBe("");
  const titles: string[] = [];
  for await (const { title, control } of client.subscribeToNotifications({ userId: "ann" })) {
    if (control === undefined) titles.push(title);
    if (titles.length === 1) await client.publish({ notifications: [{ userIds: ["ann"], title: "live" }] });
    if (titles.length === 2) break;
  }
  expect(titles).toEqual(["größer – 😀", "live"]);
});

test("a status has its code, its sentence and its typed details, of a call and of a stream", async () => {
  const client = open();
  const refused = await errorOf(client.getCounts({ userId: "" }));
  expect([refused.code, refused.message]).toEqual([Code.INVALID_ARGUMENT, "user_id: is empty"]);
  expect(refused.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe("user_id");
  const stream = await errorOf(client.subscribeToNotifications({ userId: "ü", priorityLevel: 9 }).next());
  expect(stream.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe("priority_level");
  expect((await errorOf(client.setState({ userId: "ü", ids: ["9"], read: true }))).code).toBe(Code.NOT_FOUND);
});

test("who leaves ends the call with their own reason; a server that is gone is UNAVAILABLE; a deadline is one", async () => {
  const client = open();
  const stop = new AbortController();
  const stream = client.subscribeToNotifications({ userId: "eve" }, { signal: stop.signal });
  await stream.next();
  stop.abort(new Error("enough"));
  await expect((async () => await Array.fromAsync(stream))()).rejects.toThrow("enough");

  const late = client.subscribeToNotifications({ userId: "eve", heartbeatMs: 0 }, { timeoutMs: 300 });
  expect((await errorOf(Array.fromAsync(late))).code).toBe(Code.DEADLINE_EXCEEDED);

  const cut = client.subscribeToNotifications({ userId: "eve" });
  await cut.next();
  server.kill("SIGKILL");
  expect((await errorOf(Array.fromAsync(cut))).code).toBe(Code.UNAVAILABLE);
  expect((await errorOf(client.getCounts({ userId: "eve" }))).code).toBe(Code.UNAVAILABLE);
});

test("a message that is not encoded as it should be hides no status", async () => {
  const text = Buffer.from("grpc-status: 3\r\ngrpc-message: 100% wrong\r\n");
  const head = Buffer.from([0x80, 0, 0, 0, text.length]);
  const other = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "application/grpc-web+proto" }).end(Buffer.concat([head, text]));
  });
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as AddressInfo;
  const refused = await errorOf(createWebClient(NotificationService, `http://127.0.0.1:${port}`).getCounts({}));
  expect([refused.code, refused.message]).toEqual([Code.INVALID_ARGUMENT, "100% wrong"]);
  other.closeAllConnections();
  await new Promise((resolve) => other.close(resolve));
});
