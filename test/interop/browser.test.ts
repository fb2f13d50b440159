// A real browser reads logs by gRPC-Web from the server's one port: over HTTP/1.1, and over TLS with HTTP/2; by Connect's
// client and by `fetch` alone; from a page of another origin, which the server has to list.
import { createHash, X509Certificate } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { rootFolder } from "../../scripts/command.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { tlsFixture, tlsSettings } from "../support/tls-fixtures.ts";
import { findChromium } from "../tools/chromium.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";
import { type Browser, openBrowser, type Page } from "./browser/devtools.ts";
import { type PageServer, startPageServer } from "./browser/page-server.ts";

// Over HTTP/1.1 each stream takes one of the six connections that a browser opens to a server; one is left to write by.
const ways = [
  { name: "HTTP/1.1", words: [], scheme: "http", protocol: "http/1.1", streamsMax: 5 },
  { name: "TLS and HTTP/2", words: tlsSettings, scheme: "https", protocol: "h2", streamsMax: 20 },
] as const;
const clients = ["connect", "fetch"] as const;
/** A browser on a busy machine takes its time. */
const patient = { timeout: 30_000 };

const resources = new AsyncDisposableStack();
let tool: Tool;
let browser: Browser;
let pages: PageServer;

beforeAll(async () => {
  tool = await findChromium({ mayFetch });
  if (tool.kind === "missing") return;
  await mkdir(join(rootFolder, ".cache"), { recursive: true });
  pages = resources.use(await startPageServer());
  browser = resources.use(await openBrowser(tool.path, { trustedKeys: [await keyHash(tlsFixture("localhost.crt"))] }));
}, 400_000);
afterAll(() => resources.disposeAsync());

/** As `--ignore-certificate-errors-spki-list` takes it. */
async function keyHash(path: string): Promise<string> {
  const { publicKey } = new X509Certificate(await readFile(path));
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("base64");
}

/** What a page is told to do: a function of page.ts with its arguments. */
async function tell<T>(page: Page, what: string, ...words: readonly unknown[]): Promise<T> {
  return (await page.evaluate(`page.${what}(${words.map((word) => JSON.stringify(word)).join(", ")})`)) as T;
}

interface Stream {
  readonly messages: readonly string[];
  readonly isLive: boolean;
  readonly end?: { readonly code: string; readonly message: string; readonly fields: readonly string[] };
}

describe.each(ways)("by $name", ({ words, scheme, protocol, streamsMax }) => {
  const own = new AsyncDisposableStack();
  let server: ServerProcess;
  let baseUrl: string;

  beforeAll(async () => {
    if (tool.kind === "missing") return;
    const folder = own.use(await openTemporaryFolder("browser"));
    const origin = `http://127.0.0.1:${pages.port}`;
    const settings = ["--web-origins", origin, "--log-level", "debug", ...words];
    server = own.use(await startServer(settings, { folder: folder.path }));
    baseUrl = `${scheme}://${server.address}`;
  }, 60_000);
  afterAll(() => own.disposeAsync());

  /** A tab with the test's page; the end of the test where there is no browser. */
  async function open({ skip }: TestContext, host = "127.0.0.1"): Promise<Page> {
    if (tool.kind === "missing") return skip(tool.reason);
    return browser.openPage(`http://${host}:${pages.port}/`);
  }

  /** How many streams of logs have ended at the server. */
  const endedStreams = (code: string): number =>
    server.stderr().match(new RegExp(`method=sluice\\.logs\\.v1\\.LogService/StreamLogs peer=\\S+ code=${code}`, "gu"))
      ?.length ?? 0;

  const streamOf = (page: Page, id: number) => () => tell<Stream>(page, "look", id);

  test.for(clients)("%s: history, then what comes; leaving it ends the call at the server", async (how, context) => {
    await using page = await open(context);
    const application = `${how}-follow`;
    await expect(tell(page, "write", "gRPC-Web", baseUrl, application, ["one", "zwei – 2", "три"])).resolves.toBe(3);
    const id = await tell<number>(page, "follow", how, baseUrl, { application, follow: true });
    const look = streamOf(page, id);
    await expect.poll(look, patient).toEqual({ messages: ["one", "zwei – 2", "три"], isLive: true });
    await tell(page, "write", "JSON", baseUrl, application, ["live"]);
    await expect.poll(look, patient).toEqual({ messages: ["one", "zwei – 2", "три", "live"], isLive: true });
    // The browser tells of its network beside what the page tells of itself, and of a preflight maybe later.
    const calls = () => page.responses.filter(({ url, isPreflight }) => url.endsWith("/StreamLogs") && !isPreflight);
    await expect.poll(calls, patient).toMatchObject([{ status: 200, protocol }]);
    expect(await page.evaluate("document.querySelector('#entries').rows.length")).toBe(4);
    // To be looked at.
    await writeFile(join(rootFolder, ".cache", `browser-${scheme}-${how}.png`), await page.screenshot());

    const endedBefore = endedStreams("CANCELLED");
    await tell(page, "cancel", id);
    await expect.poll(async () => (await look()).end?.code, patient).toMatch(/^(?:Canceled|AbortError)$/u);
    await expect.poll(() => endedStreams("CANCELLED"), patient).toBe(endedBefore + 1);
  });

  test.for(clients)("%s: an error has its code, its sentence and its typed details", async (how, context) => {
    await using page = await open(context);
    const look = streamOf(page, await tell<number>(page, "follow", how, baseUrl, { logLevel: "LOUD" }));
    await expect.poll(look, patient).toMatchObject({ end: { code: "InvalidArgument", fields: ["log_level"] } });
    expect((await look()).end?.message).toContain("TRACE");
  });

  test("a tab that is closed ends its calls at the server", async (context) => {
    let endedBefore = 0;
    {
      await using page = await open(context);
      endedBefore = endedStreams("CANCELLED");
      await tell(page, "write", "gRPC-Web", baseUrl, "closed", ["seen"]);
      for (const how of clients) {
        const look = streamOf(
          page,
          await tell<number>(page, "follow", how, baseUrl, { application: "closed", follow: true }),
        );
        await expect.poll(look, patient).toMatchObject({ messages: ["seen"], isLive: true });
      }
    }
    await expect.poll(() => endedStreams("CANCELLED"), patient).toBe(endedBefore + 2);
  });

  test("a page of an origin that is not listed reads nothing and writes nothing", async (context) => {
    await using stranger = await open(context, "localhost");
    for (const how of clients) {
      const look = streamOf(stranger, await tell<number>(stranger, "follow", how, baseUrl, {}));
      await expect
        .poll(look, patient)
        .toMatchObject({ messages: [], end: { message: expect.stringContaining("Failed to fetch") as string } });
    }
    for (const protocol of ["gRPC-Web", "JSON"]) {
      const written = tell(stranger, "write", protocol, baseUrl, "stranger", ["no"]);
      await expect(written).rejects.toThrow("Failed to fetch");
    }
    await using page = await open(context);
    const look = streamOf(page, await tell<number>(page, "follow", "connect", baseUrl, { application: "stranger" }));
    await expect.poll(look, patient).toMatchObject({ messages: [], end: { code: "OK" } });
  });

  test(`${streamsMax} streams at once from one page`, async (context) => {
    await using page = await open(context);
    const request = { application: "many", follow: true };
    const looks: (() => Promise<Stream>)[] = [];
    while (looks.length < streamsMax) {
      looks.push(streamOf(page, await tell<number>(page, "follow", "fetch", baseUrl, request)));
    }
    for (const look of looks) await expect.poll(look, patient).toMatchObject({ isLive: true });
    await tell(page, "write", "gRPC-Web", baseUrl, "many", ["to all"]);
    for (const look of looks) await expect.poll(look, patient).toMatchObject({ messages: ["to all"] });
  });
});
