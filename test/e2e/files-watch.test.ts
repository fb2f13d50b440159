// Watches of a real server's folders: by the SDK, over connections that break and a server that is restarted, and by
// `sluice files watch`.
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect, type FileWatch, type FileWatchEvent, type SluiceClient } from "@sluice/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

/** What takes a second on a quiet machine takes many on one that is busy. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
const SOON = { timeout: 60_000 };
const RETRY = { retry: { initialMs: 20, maxMs: 200 } };

let resources: AsyncDisposableStack;
let folder: string;
let shared: string;
let server: ServerProcess;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  folder = resources.use(await openTemporaryFolder("files-watch")).path;
  shared = join(folder, "shared");
  await mkdir(shared);
  server = resources.use(await startServer(["--files", "shared"], { folder }));
});
afterEach(() => resources.disposeAsync());

function open(address: string): SluiceClient {
  return resources.use(connect(address));
}

/** Reads a watch, and knows what is there as far as it was told. */
class Following {
  readonly watch: FileWatch;
  readonly said: string[] = [];
  readonly known = new Set<string>();
  readonly #events: AsyncIterableIterator<FileWatchEvent>;
  readonly #ended: Promise<void>;

  constructor(watch: FileWatch, known: Iterable<string> = []) {
    this.watch = watch;
    for (const path of known) this.known.add(path);
    this.#events = watch[Symbol.asyncIterator]();
    this.#ended = this.#read();
  }

  get paths(): string[] {
    return [...this.known].toSorted();
  }

  /** Resolves when it has come to an end. */
  async end(): Promise<void> {
    await this.#events.return?.();
    await this.#ended;
  }

  async #read(): Promise<void> {
    for await (const event of this.#events) {
      if (event.kind === "resync") this.known.clear();
      if (event.kind === "removed") this.known.delete(event.path);
      if ("file" in event) this.known.add(event.file.filePath);
      const path = "file" in event ? event.file.filePath : event.kind === "removed" ? event.path : "";
      this.said.push(event.kind === "resync" ? `resync ${event.reason}` : `${event.kind} ${path}`.trim());
    }
  }
}

const put = (name: string, text = name): Promise<void> => writeFile(join(shared, name), text);

test("what happens to files is told: renamed, removed and made anew, a folder moved in, a link swapped in", async () => {
  await put("a");
  await mkdir(join(folder, "outside", "deep"), { recursive: true });
  await writeFile(join(folder, "outside", "deep", "secret"), "");
  const client = open(server.address);
  const following = new Following(client.watchFiles({ isRecursive: true, includeExisting: true }));
  await expect.poll(() => following.said, SOON).toEqual(["exists a", "sync"]);
  await rename(join(shared, "a"), join(shared, "b"));
  await expect.poll(() => following.said.slice(2).toSorted(), SOON).toEqual(["created b", "removed a"]);
  await rm(join(shared, "b"));
  await put("b", "another");
  await expect.poll(() => following.said.slice(4).at(-1), SOON).toMatch(/^(?:created|changed) b$/u);
  await mkdir(join(folder, "in/x"), { recursive: true });
  await writeFile(join(folder, "in/x/y"), "y");
  await rename(join(folder, "in"), join(shared, "in"));
  await expect.poll(() => following.paths, SOON).toEqual(["b", "in", "in/x", "in/x/y"]);
  await rename(join(shared, "in"), join(folder, "out"));
  await symlink(join(folder, "outside"), join(shared, "in"));
  await expect.poll(() => following.paths, SOON).toEqual(["b"]);
  await put("last");
  await expect.poll(() => following.paths, SOON).toEqual(["b", "last"]);
  expect(following.said.filter((each) => each.includes("secret") || each.includes("deep"))).toEqual([]);
  await following.end();
});

test("a burst of 10,000 files is told whole, to a reader who stands still meanwhile, too", async () => {
  const client = open(server.address);
  const following = new Following(client.watchFiles({ isRecursive: true }));
  const slow = client.watchFiles({ isRecursive: true })[Symbol.asyncIterator]();
  expect((await slow.next()).value).toEqual({ kind: "sync" });
  await expect.poll(() => following.said, SOON).toEqual(["sync"]);
  await mkdir(join(shared, "many"));
  for (let start = 0; start < 10_000; start += 500) {
    await Promise.all(Array.from({ length: 500 }, (_, i) => put(`many/f${start + i}`, "")));
  }
  await expect.poll(() => following.known.size, SOON).toBe(10_001);
  expect(following.said.filter((each) => each.startsWith("created")).length).toBe(10_001);
  await rm(join(shared, "many"), { recursive: true });
  await expect.poll(() => following.known.size, SOON).toBe(0);
  await put("end");
  // Of what was made and removed while it stood still it hears at most what already was on its way.
  const known = new Set<string>();
  for (let event = await slow.next(); event.done !== true; event = await slow.next()) {
    if (event.value.kind === "removed") known.delete(event.value.path);
    if ("file" in event.value) known.add(event.value.file.filePath);
    if (known.has("end")) break;
  }
  expect([...known]).toEqual(["end"]);
  await slow.return?.();
  await following.end();
});

test("after a lost connection it goes on with what happened meanwhile, and nothing else", async () => {
  await put("a");
  await put("b");
  const proxy = resources.use(await openFaultProxy({ target: () => server.address }));
  const client = open(proxy.address);
  const following = new Following(client.watchFiles({ isRecursive: true, includeExisting: true }, RETRY));
  await expect.poll(() => following.said, SOON).toEqual(["exists a", "exists b", "sync"]);
  proxy.refuse(true);
  proxy.breakAll("reset");
  await expect.poll(() => following.said, SOON).toContain("disconnected");
  await rm(join(shared, "a"));
  await put("c");
  proxy.refuse(false);
  await expect.poll(() => following.paths, SOON).toEqual(["b", "c"]);
  const after = following.said.slice(following.said.indexOf("resumed")).filter((each) => each !== "sync");
  expect(after.toSorted()).toEqual(["created c", "removed a", "resumed"]);
  await following.end();
});

test("after a restart of the server it says that it must begin anew, and does", async () => {
  await put("a");
  await put("b");
  const client = open(server.address);
  const following = new Following(client.watchFiles({ isRecursive: true, includeExisting: true }, RETRY));
  await expect.poll(() => following.said, SOON).toEqual(["exists a", "exists b", "sync"]);
  server.kill("SIGTERM");
  expect((await server.ended()).exitCode).toBe(0);
  await rm(join(shared, "a"));
  await put("c");
  server = resources.use(await startServer(["--files", "shared", "--listen", server.address], { folder }));
  await expect.poll(() => following.paths, SOON).toEqual(["b", "c"]);
  expect(following.said.filter((each) => each !== "disconnected").slice(3)).toEqual([
    "resumed",
    "resync generation-unknown",
    "exists b",
    "exists c",
    "sync",
  ]);
  await following.end();
});

test("sluice files watch prints lines, or objects with the place to go on at; Ctrl-C ends it well", async () => {
  await put("a");
  const words = ["files", "watch", "--recursive", "--server", server.address];
  const text = callCli([...words, "--existing"], { folder });
  await expect.poll(() => text.stdout(), SOON).toBe("exists   a\n");
  await mkdir(join(shared, "sub"));
  await put("sub/b.txt");
  await rm(join(shared, "a"));
  await expect
    .poll(() => text.stdout().trim().split("\n").toSorted(), SOON)
    .toEqual(["created  sub/", "created  sub/b.txt", "exists   a", "removed  a"]);
  text.interrupt();
  expect(await text.ended).toMatchObject({ exitCode: 0, stderr: "" });

  const objects = (call: { stdout(): string }): Record<string, unknown>[] =>
    call
      .stdout()
      .trim()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const json = callCli([...words, "--glob", "**/*.txt", "--existing", "--output", "json"], { folder });
  await expect
    .poll(() => objects(json), SOON)
    .toMatchObject([{ kind: "exists", filePath: "sub/b.txt", size: "9", isDirectory: false }, { kind: "sync" }]);
  const { token } = objects(json)[1]!;
  json.interrupt();
  expect(await json.ended).toMatchObject({ exitCode: 0, stderr: "" });
  await rm(join(shared, "sub"), { recursive: true });
  const again = callCli([...words, "--glob", "**/*.txt", "--output", "json", "--resume-after", String(token)], {
    folder,
  });
  await expect
    .poll(() => objects(again), SOON)
    .toMatchObject([{ kind: "removed", filePath: "sub/b.txt", isDirectory: false }, { kind: "sync" }]);
  again.interrupt();
  await again.ended;
  const refused = await callCli([...words, "no-such-folder"], { folder }).ended;
  expect(refused).toMatchObject({ exitCode: 5 });
});
