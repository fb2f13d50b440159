// Uploads by clients of tus that we did not write: tus-js-client in Node and in a browser, and curl by hand.
import { createHash, randomBytes, X509Certificate } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { Upload, type UploadOptions } from "tus-js-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { tlsFixture, tlsSettings } from "../support/tls-fixtures.ts";
import { findChromium } from "../tools/chromium.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";
import { type Browser, openBrowser } from "./browser/devtools.ts";
import { type PageServer, startPageServer } from "./browser/page-server.ts";

const LARGE_BYTES = 200_000_000;
const resources = new AsyncDisposableStack();
let folder: string;
let server: ServerProcess;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("tus-interop")).path;
  await mkdir(join(folder, "shared"));
  server = resources.use(await startServer(["--files", "shared:rw"], { folder }));
});
afterAll(() => resources.disposeAsync());

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

describe("tus-js-client", () => {
  test("goes on by itself when the server was killed under it", async () => {
    const bytes = randomBytes(LARGE_BYTES);
    const offsets: number[] = [];
    let isKilled = false;
    await new Promise<void>((resolve, reject) => {
      const options: UploadOptions = {
        endpoint: `http://${server.address}/uploads`,
        metadata: { filename: "node.bin" },
        retryDelays: Array.from({ length: 500 }, () => 200),
        onError: reject,
        onSuccess: () => resolve(),
        onProgress(sent) {
          if (isKilled || sent < LARGE_BYTES / 2) return;
          isKilled = true;
          restart().catch(reject);
        },
        onAfterResponse(request, response) {
          if (request.getMethod() === "HEAD") offsets.push(Number(response.getHeader("upload-offset")));
        },
      };
      new Upload(bytes, options).start();
    });
    expect(isKilled).toBe(true);
    // What was durable before it was killed is not sent again.
    expect(offsets.at(-1)).toBeGreaterThan(LARGE_BYTES / 4);
    expect(await sha256Of(join(folder, "shared", "node.bin"))).toBe(createHash("sha256").update(bytes).digest("hex"));
  });

  async function restart(): Promise<void> {
    const { address } = server;
    server.kill("SIGKILL");
    await server.ended();
    server = resources.use(await startServer(["--files", "shared:rw", "--listen", address], { folder }));
  }

  test.each([
    ["with the first bytes in its first request", { uploadDataDuringCreation: true, chunkSize: 1_000_000 }],
    ["in pieces, of a length that it says last", { uploadLengthDeferred: true, chunkSize: 1_000_000 }],
    ["by POST alone", { overridePatchMethod: true }],
  ])("uploads %s", async (how, options) => {
    const bytes = randomBytes(2_500_000);
    const path = `${how}.bin`;
    await new Promise<void>((resolve, reject) => {
      new Upload(bytes, {
        endpoint: `http://${server.address}/uploads/`,
        metadata: { path },
        retryDelays: null,
        ...options,
        onError: reject,
        onSuccess: () => resolve(),
      }).start();
    });
    expect((await readFile(join(folder, "shared", path))).equals(bytes)).toBe(true);
  });

  test("gives an upload up", async () => {
    const url = await new Promise<string>((resolve, reject) => {
      const upload = new Upload(randomBytes(3_000_000), {
        endpoint: `http://${server.address}/uploads/`,
        metadata: { filename: "given-up" },
        chunkSize: 1_000_000,
        onError: reject,
        onChunkComplete: () => void upload.abort(true).then(() => resolve(upload.url ?? ""), reject),
      });
      upload.start();
    });
    const { status } = await fetch(url, { method: "HEAD", headers: { "tus-resumable": "1.0.0" } });
    expect(status).toBe(404);
  });
});

test("curl, by the commands of the protocol", async (context) => {
  if ((await runCommand(["curl", "--version"]).catch(() => undefined))?.code !== 0)
    context.skip("there is no curl here");
  const url = `http://${server.address}`;
  const bytes = randomBytes(3_000_000);
  const curl = async (...words: readonly string[]): Promise<string> => {
    const { code, stdout } = await runCommand(["curl", "-sS", "-i", "-H", "Tus-Resumable: 1.0.0", ...words]);
    expect(code).toBe(0);
    return stdout;
  };
  const field = (answer: string, name: string): string =>
    new RegExp(`^${name}: (.*?)\\r?$`, "imu").exec(answer)?.[1] ?? `no ${name}`;
  const metadata = `filename ${Buffer.from("by-curl.bin").toString("base64")}`;
  const created = await curl(
    "-X",
    "POST",
    "-H",
    "Upload-Length: 3000000",
    "-H",
    `Upload-Metadata: ${metadata}`,
    `${url}/uploads/`,
  );
  const upload = `${url}${field(created, "location")}`;
  for (const [from, to] of [
    [0, 1_200_000],
    [1_200_000, 3_000_000],
  ] as const) {
    expect(field(await curl("-I", upload), "upload-offset")).toBe(String(from));
    const piece = join(folder, "piece");
    await writeFile(piece, bytes.subarray(from, to));
    const sha1 = createHash("sha1").update(bytes.subarray(from, to)).digest("base64");
    const fields = [
      "Content-Type: application/offset+octet-stream",
      `Upload-Offset: ${from}`,
      `Upload-Checksum: sha1 ${sha1}`,
    ];
    const answer = await curl(
      "-X",
      "PATCH",
      ...fields.flatMap((each) => ["-H", each]),
      "--data-binary",
      `@${piece}`,
      upload,
    );
    expect([/^HTTP\/1\.1 204/mu.test(answer), field(answer, "upload-offset")]).toEqual([true, String(to)]);
  }
  expect((await readFile(join(folder, "shared", "by-curl.bin"))).equals(bytes)).toBe(true);
});

describe("a browser, from a page of another origin", () => {
  let tool: Tool;
  let browser: Browser;
  let pages: PageServer;

  beforeAll(async () => {
    tool = await findChromium({ mayFetch });
    if (tool.kind === "missing") return;
    pages = resources.use(await startPageServer());
    const { publicKey } = new X509Certificate(await readFile(tlsFixture("localhost.crt")));
    const spki = publicKey.export({ type: "spki", format: "der" });
    const trustedKeys = [createHash("sha256").update(spki).digest("base64")];
    browser = resources.use(await openBrowser(tool.path, { trustedKeys }));
  }, 400_000);

  test.for([
    { name: "HTTP/1.1", words: [], scheme: "http", protocol: "http/1.1", byteCount: LARGE_BYTES },
    { name: "HTTP/2 and TLS", words: tlsSettings, scheme: "https", protocol: "h2", byteCount: 50_000_000 },
  ])(
    "uploads, breaks off, goes on, and reads it back, over $name",
    async ({ words, scheme, protocol, byteCount }, { skip }) => {
      if (tool.kind === "missing") return skip(tool.reason);
      await using own = new AsyncDisposableStack();
      const origin = `http://127.0.0.1:${pages.port}`;
      const { path } = own.use(await openTemporaryFolder("tus-browser"));
      await mkdir(join(path, "shared"));
      const settings = ["--files", "shared:rw", "--web-origins", origin, ...words];
      const { address } = own.use(await startServer(settings, { folder: path }));
      const page = own.use(await browser.openPage(`${origin}/test/interop/browser/page/files.html`));
      const tell = async (what: string, ...with_: readonly unknown[]): Promise<unknown> =>
        await page.evaluate(`page.${what}(${with_.map((word) => JSON.stringify(word)).join(", ")})`);
      const url = `${scheme}://${address}`;

      // A page may read why not.
      await expect(tell("upload", `${url}/uploads/`, "../page.bin", 1)).rejects.toThrow(
        "403, response text: Cannot do this",
      );
      const { sha256, resumedAt } = (await tell("upload", `${url}/uploads/`, "page.bin", byteCount)) as {
        sha256: string;
        resumedAt: number;
      };
      expect(resumedAt).toBeGreaterThan(0);
      expect(await sha256Of(join(path, "shared", "page.bin"))).toBe(sha256);
      expect(
        page.responses.filter((each) => each.url.includes("/uploads/")).every((each) => each.protocol === protocol),
      ).toBe(true);
      expect(await tell("download", `${url}/files/page.bin`)).toEqual({ length: byteCount, sha256 });

      await writeFile(join(path, "shared", "digits.txt"), "0123456789");
      expect(await tell("fetchRange", `${url}/files/digits.txt`, "bytes=2-4")).toMatchObject({
        status: 206,
        text: "234",
        fields: {
          "content-range": "bytes 2-4/10",
          "accept-ranges": "bytes",
          "content-digest": `sha-256=:${createHash("sha256").update("234").digest("base64")}:`,
          "content-disposition": expect.stringMatching(/^inline; filename="digits.txt"/u) as string,
          etag: expect.stringMatching(/^"[\w-]{22}"$/u) as string,
        },
      });
    },
  );
});
