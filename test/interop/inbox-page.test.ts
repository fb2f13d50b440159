// The example page in a real browser: two tabs of one user, over gRPC-Web.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@sluice/client";
import { afterAll, beforeAll, expect, test, type TestContext } from "vitest";
import { rootFolder } from "../../scripts/command.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";
import { findChromium } from "../tools/chromium.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";
import { type Browser, openBrowser, type Page } from "./browser/devtools.ts";

/** A browser on a busy machine takes its time. */
const patient = { timeout: 30_000 };
const resources = new AsyncDisposableStack();
let tool: Tool;
let browser: Browser;
let pageUrl: string;
let folder: TemporaryFolder;
let server: ServerProcess;

/** The example's own server, on a port that is free. */
async function startPage(): Promise<string> {
  const file = join(rootFolder, "examples/inbox/serve.ts");
  const child = spawn(process.execPath, ["--conditions=sluice-source", file, "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  resources.defer(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return line.toString().trim();
}

beforeAll(async () => {
  tool = await findChromium({ mayFetch });
  if (tool.kind === "missing") return;
  pageUrl = await startPage();
  folder = resources.use(await openTemporaryFolder("inbox-page"));
  server = await startServer(["--web-origins", new URL(pageUrl).origin], { folder: folder.path });
  browser = resources.use(await openBrowser(tool.path, { trustedKeys: [] }));
}, 400_000);
afterAll(async () => {
  await resources.disposeAsync();
  if (tool.kind === "ready") await server[Symbol.asyncDispose]();
});

/** What a tab shows. */
const look = (page: Page) => async () =>
  (await page.evaluate(`({
    unread: document.querySelector("#unread").textContent,
    status: document.querySelector("#status").textContent,
    rows: [...document.querySelectorAll("#items li")].map((row) => [row.textContent.split("  ").at(-1), row.className.trim()]),
  })`)) as { unread: string; status: string; rows: [string, string][] };

async function openTabs({ skip }: TestContext): Promise<[Page, Page]> {
  if (tool.kind === "missing") return skip(tool.reason);
  const url = `${pageUrl}?user=ann&server=http://${server.address}`;
  return [await browser.openPage(url), await browser.openPage(url)];
}

test(
  "reading in one tab marks it in the other; after a lost connection nothing is missing, and nothing twice",
  { timeout: 180_000 },
  async (context) => {
    const [first, second] = await openTabs(context);
    await using _one = first;
    await using _two = second;
    for (const tab of [first, second])
      await expect.poll(look(tab), patient).toEqual({ unread: "0", status: "live", rows: [] });

    await using client = connect(server.address);
    await client.notifications.publish([
      { userIds: ["ann"], title: "Hello" },
      { userIds: ["ann"], title: "Now", message: "<b>urgent</b>", priority: 7 },
      { userIds: ["bob"], title: "not hers" },
    ]);
    const unread = [
      ["Now: <b>urgent</b>", "unread urgent"],
      ["Hello", "unread"],
    ];
    for (const tab of [first, second])
      await expect.poll(look(tab), patient).toEqual({ unread: "2", status: "live", rows: unread });
    await mkdir(join(rootFolder, ".cache"), { recursive: true });
    await writeFile(join(rootFolder, ".cache", "inbox-page.png"), await first.screenshot()); // to be looked at

    await first.evaluate(`document.querySelector("#items li").click()`);
    const half = [["Now: <b>urgent</b>", "read urgent"], unread[1]];
    for (const tab of [second, first])
      await expect.poll(look(tab), patient).toEqual({ unread: "1", status: "live", rows: half });

    // The server goes away and comes back where it was.
    const { address } = server;
    server.kill("SIGKILL");
    await server.ended();
    await expect.poll(async () => (await look(second)()).status, patient).toMatch(/^connection lost/u);
    const origin = new URL(pageUrl).origin;
    server = await startServer(["--web-origins", origin, "--listen", address], { folder: folder.path });
    await client.notifications.publish({ userIds: ["ann"], title: "Back" });
    for (const tab of [first, second]) {
      await expect
        .poll(look(tab), patient)
        .toEqual({ unread: "2", status: "live", rows: [["Back", "unread"], ...half] });
    }

    await second.evaluate(`document.querySelector("#read-all").click()`);
    for (const tab of [first, second]) {
      const rows = [["Back", "read"], half[0], ["Hello", "read"]];
      await expect.poll(look(tab), patient).toEqual({ unread: "0", status: "live", rows });
    }
  },
);
