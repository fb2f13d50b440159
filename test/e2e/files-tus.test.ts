// Uploads by tus against a real server, over each kind of connection, from a client that does only what the protocol says.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHttpClient, type HttpClient, type HttpFields } from "../support/http-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { tlsSettings } from "../support/tls-fixtures.ts";

const VERSION = { "tus-resumable": "1.0.0" };
const BODY = { ...VERSION, "content-type": "application/offset+octet-stream" };
const base64 = (text: string): string => Buffer.from(text).toString("base64");

describe.each([
  { name: "HTTP/1.1", way: { version: 1 }, words: [] },
  { name: "HTTP/2", way: { version: 2 }, words: [] },
  { name: "HTTP/1.1 and TLS", way: { version: 1, tls: true }, words: tlsSettings },
  { name: "HTTP/2 and TLS", way: { version: 2, tls: true }, words: tlsSettings },
] as const)("over $name", ({ way, words }) => {
  const resources = new AsyncDisposableStack();
  let folder: string;
  let server: ServerProcess;
  let http: HttpClient;

  beforeAll(async () => {
    folder = resources.use(await openTemporaryFolder("tus")).path;
    await mkdir(join(folder, "shared"));
    await start();
  });
  afterAll(() => resources.disposeAsync());

  async function start(more: readonly string[] = []): Promise<void> {
    server = resources.use(await startServer(["--files", "shared:rw", ...words, ...more], { folder }));
    http = createHttpClient(server.address, way);
  }

  async function create(path: string, size: number): Promise<string> {
    const headers = { ...VERSION, "upload-length": String(size), "upload-metadata": `path ${base64(path)}` };
    const { status, headers: answered } = await http.ask("POST", "/uploads", headers);
    expect(status).toBe(201);
    return answered["location"]!;
  }

  const offsetOf = async (upload: string): Promise<number> =>
    Number((await http.ask("HEAD", upload, VERSION)).headers["upload-offset"]);
  const fileOf = (path: string): Promise<Buffer> => readFile(join(folder, "shared", path));

  test("a file is sent in pieces, and is there with the last one", async () => {
    const bytes = randomBytes(5_000_000);
    const upload = await create("pieces.bin", bytes.length);
    for (let at = 0; at < bytes.length; at += 2_000_000) {
      const piece = bytes.subarray(at, at + 2_000_000);
      const checksum = `sha256 ${createHash("sha256").update(piece).digest("base64")}`;
      const headers: HttpFields = { ...BODY, "upload-offset": String(at), "upload-checksum": checksum };
      const { status, headers: answered } = await http.ask("PATCH", upload, headers, piece);
      expect([status, answered["upload-offset"], answered["tus-resumable"]]).toEqual([
        204,
        String(at + piece.length),
        "1.0.0",
      ]);
    }
    expect((await fileOf("pieces.bin")).equals(bytes)).toBe(true);
  });

  test("whatever cuts it, it goes on from what is durable: the client's end, the server's", async () => {
    const bytes = randomBytes(12_000_000);
    const upload = await create("cut.bin", bytes.length);
    let offset = 0;
    for (const isCrash of [false, true]) {
      const request = http.open("PATCH", upload, { ...BODY, "upload-offset": String(offset) });
      await request.write(bytes.subarray(offset, offset + 2_500_000));
      // It does not end: what is durable of it is what HEAD says while it goes on.
      await expect.poll(() => offsetOf(upload)).toBeGreaterThan(offset);
      if (isCrash) {
        const { address } = server;
        server.kill("SIGKILL");
        await server.ended();
        await start(["--listen", address]);
      }
      request.cut();
      const durable = await offsetOf(upload);
      expect(durable).toBeGreaterThan(offset);
      expect(durable).toBeLessThanOrEqual(offset + 2_500_000);
      offset = durable;
    }
    const rest = await http.ask("PATCH", upload, { ...BODY, "upload-offset": String(offset) }, bytes.subarray(offset));
    expect([rest.status, rest.headers["upload-offset"]]).toEqual([204, String(bytes.length)]);
    expect((await fileOf("cut.bin")).equals(bytes)).toBe(true);
  });

  test("a large body that is refused gets its answer all the same", async () => {
    const upload = await create("refused.bin", 9_000_000);
    const bytes = new Uint8Array(9_000_000);
    const refused = await http.ask("PATCH", upload, { ...BODY, "upload-offset": "5" }, bytes);
    expect([refused.status, refused.headers["upload-offset"]]).toEqual([409, "0"]);
    expect(refused.body.toString()).toMatch(/^Cannot take bytes at 5: .*go on there\n$/u);
    const { status } = await http.ask("PATCH", upload, { ...BODY, "upload-offset": "0" }, bytes);
    expect(status).toBe(204);
  });
});

test("a body of 1 GiB passes through memory that it does not fit into", async (context) => {
  if (process.platform !== "linux") context.skip("only Linux says how much memory a process has had");
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await openTemporaryFolder("tus-memory")).path;
  await mkdir(join(folder, "shared"));
  const { address, child } = resources.use(await startServer(["--files", "shared:rw"], { folder }));
  const peakBytes = async (): Promise<number> => {
    const status = await readFile(`/proc/${child.pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB$/mu.exec(status)![1]) * 1024;
  };
  const http = createHttpClient(address, { version: 1 });
  const headers = { ...VERSION, "upload-length": String(1024 ** 3), "upload-metadata": `path ${base64("large")}` };
  const upload = (await http.ask("POST", "/uploads/", headers)).headers["location"]!;
  const before = await peakBytes();
  const request = http.open("PATCH", upload, { ...BODY, "upload-offset": "0" });
  const piece = randomBytes(1024 ** 2);
  for (let count = 0; count < 1024; count++) await request.write(piece);
  const { status } = await request.end();
  expect(status).toBe(204);
  expect((await stat(join(folder, "shared", "large"))).size).toBe(1024 ** 3);
  expect((await peakBytes()) - before).toBeLessThan(256 * 1024 ** 2);
});
