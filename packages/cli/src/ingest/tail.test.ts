import {
  appendFile,
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  rename,
  rm,
  stat,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@sluice/client";
import { expect, onTestFinished, test } from "vitest";
import { LINE_BYTES_MAX } from "./line-splitter.ts";
import { nearEnd, tailFile, type TailOptions } from "./tail.ts";

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-tail-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

/** Tails in the background, looking every 2 ms. */
function startTail(path: string, options: Partial<TailOptions> = {}) {
  const stop = new AbortController();
  const seen: string[] = [];
  const lines: string[] = [];
  const finished = (async () => {
    const tail = tailFile(path, {
      follow: true,
      clock: systemClock,
      signal: stop.signal,
      pollMs: 2,
      drainMs: 0,
      ...options,
    });
    for await (const event of tail) {
      if (event.kind === "quiet") continue;
      if (event.kind === "piece") lines.push(Buffer.from(event.piece.bytes).toString());
      seen.push(event.kind === "piece" ? (lines.at(-1) ?? "") : event.kind === "closed" ? event.reason : event.kind);
    }
  })();
  const end = async (): Promise<void> => {
    stop.abort();
    await finished;
  };
  onTestFinished(end);
  const isIdle = async (): Promise<void> => {
    await expect.poll(() => seen.at(-1)).toBe("idle");
  };
  return { seen, lines, end, finished, isIdle };
}

test("without following, a file is read to its end, the last line also without a newline", async () => {
  const path = join(await makeFolder(), "a.log");
  await writeFile(path, "one\ntwo\r\n\nthree");
  const { seen, finished } = startTail(path, { follow: false });
  await finished;
  expect(seen).toEqual(["opened", "one", "two", "", "idle", "three", "end"]);
});

test("a missing file is an error without following, and waited for with it", async () => {
  const path = join(await makeFolder(), "later.log");
  const stop = new AbortController();
  const once = tailFile(path, { follow: false, clock: systemClock, signal: stop.signal });
  await expect(once.next()).rejects.toThrow(`Cannot read ${path}: there is no such file`);

  const { seen, lines, isIdle } = startTail(path);
  await isIdle();
  await writeFile(path, "hello\n");
  await expect.poll(() => lines).toEqual(["hello"]);
  expect(seen.slice(0, 2)).toEqual(["idle", "opened"]);
});

test("a file that grows is read on, and a half line waits for its end", async () => {
  const path = join(await makeFolder(), "a.log");
  await writeFile(path, "one\nha");
  const { lines, isIdle, end } = startTail(path);
  await isIdle();
  expect(lines).toEqual(["one"]);
  await appendFile(path, "lf\nrest");
  await expect.poll(() => lines).toEqual(["one", "half"]);
  await end();
  expect(lines).toEqual(["one", "half"]); // T4: "rest" is whole for whoever goes on
});

test("a file that is renamed is read to its end before the new one, also what its writer writes late", async () => {
  const path = join(await makeFolder(), "a.log");
  await writeFile(path, "1\n");
  const { seen, lines, isIdle } = startTail(path, { drainMs: 60_000 });
  await isIdle();
  const writer = await open(path, "a");
  await writer.write("2\n");
  await rename(path, `${path}.1`);
  await writer.write("3\n");
  await writeFile(path, "5\n");
  await expect.poll(() => lines.toSorted()).toEqual(["1", "2", "3", "5"]);
  expect(lines).toEqual(["1", "2", "3", "5"]);
  await writer.write("4\n");
  await writer.close();
  await expect.poll(() => lines.at(-1)).toBe("4");
  expect(seen).not.toContain("rotated");
});

test("a file that lost its name is closed when nothing more comes, its unfinished line included", async () => {
  const path = join(await makeFolder(), "a.log");
  await writeFile(path, "1\nun");
  const { seen, isIdle } = startTail(path);
  await isIdle();
  await unlink(path);
  await expect.poll(() => seen).toEqual(["opened", "1", "idle", "un", "rotated", "idle"]);
  await writeFile(path, "2\n");
  await expect.poll(() => seen.slice(6)).toEqual(["opened", "2", "idle"]);
});

test.runIf(process.platform === "linux")("several rotations while the reader is busy lose nothing", async () => {
  const path = join(await makeFolder(), "a.log");
  await writeFile(path, "0\n");
  const stop = new AbortController();
  const tail = tailFile(path, { follow: true, clock: systemClock, signal: stop.signal, pollMs: 2, drainMs: 0 });
  onTestFinished(() => stop.abort());
  expect((await tail.next()).value).toMatchObject({ kind: "opened" });
  // Nobody pulls now; the name is watched all the same: a file that was seen keeps its inode, so it shows in /proc/self/fd.
  for (const n of [1, 2, 3]) {
    await rename(path, `${path}.${n}`);
    await writeFile(path, `${n}\n`);
    const { ino } = await stat(path);
    await expect.poll(() => isOpen(ino)).toBe(true);
  }
  const lines: string[] = [];
  for await (const event of tail) {
    if (event.kind === "piece") lines.push(Buffer.from(event.piece.bytes).toString());
    if (lines.length === 4) break;
  }
  expect(lines).toEqual(["0", "1", "2", "3"]);
});

test("a file that was copied and truncated begins anew", async () => {
  const path = join(await makeFolder(), "a.log");
  await writeFile(path, "one\ntwo\n");
  const { seen, isIdle } = startTail(path);
  await isIdle();
  await copyFile(path, `${path}.1`);
  await truncate(path);
  await expect.poll(() => seen.slice(4)).toEqual(["truncated", "opened", "idle"]);
  await appendFile(path, "three\n");
  await expect.poll(() => seen.slice(7)).toEqual(["three", "idle"]);
});

test("a file that was truncated and has grown past the old place is noticed", async () => {
  const path = join(await makeFolder(), "a.log");
  await writeFile(path, "one\nhal");
  const { lines, seen, isIdle } = startTail(path);
  await isIdle();
  await writeFile(path, "a new and longer beginning\nand more\n"); // in place: the same inode
  await expect.poll(() => lines).toEqual(["one", "a new and longer beginning", "and more"]);
  expect(seen).toContain("truncated");
});

test("reading can begin near the end, at a line", async () => {
  const path = join(await makeFolder(), "a.log");
  await writeFile(path, "first\nsecond\nthird\n");
  const from = async (byteCount: number): Promise<string[]> => {
    const { lines, finished } = startTail(path, { follow: false, startOf: nearEnd(byteCount) });
    await finished;
    return lines;
  };
  expect(await from(1000)).toEqual(["first", "second", "third"]);
  expect(await from(6)).toEqual(["third"]);
  expect(await from(7)).toEqual(["third"]);
  expect(await from(13)).toEqual(["second", "third"]);
  expect(await from(0)).toEqual([]);
});

test("a large file comes through whole", async () => {
  const path = join(await makeFolder(), "a.log");
  const expected = Array.from({ length: 20_000 }, (_, i) => `line ${i} ${"x".repeat(i % 200)}`);
  await writeFile(path, `${expected.join("\n")}\n${"y".repeat(LINE_BYTES_MAX + 5)}\n`);
  const { lines, finished } = startTail(path, { follow: false });
  await finished;
  expect(lines).toEqual([...expected, "y".repeat(LINE_BYTES_MAX), "yyyyy"]);
});

/** Whether this process holds a file with this inode open. */
async function isOpen(ino: number): Promise<boolean> {
  for (const fd of await readdir("/proc/self/fd")) {
    const found = await stat(`/proc/self/fd/${fd}`).catch(() => undefined);
    if (found?.ino === ino && found.isFile()) return true;
  }
  return false;
}

test("one of a set is over when no file has its name any more and it was read to its end", async () => {
  const path = join(await makeFolder(), "a.log");
  await writeFile(path, "one\n");
  const { lines, finished, isIdle } = startTail(path, { endsWhenGone: true });
  await isIdle();
  await appendFile(path, "two\n");
  await rm(path);
  await finished;
  expect(lines).toEqual(["one", "two"]);
});

test("a name that cannot be looked at for long ends it, with the reason", async () => {
  const folder = join(await makeFolder(), "logs");
  await mkdir(folder);
  await writeFile(join(folder, "a.log"), "one\n");
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const options = { follow: true, clock: systemClock, signal: stop.signal, pollMs: 2, drainMs: 0 };
  const failing = (async () => {
    for await (const { kind } of tailFile(join(folder, "a.log"), options)) {
      if (kind !== "idle") continue;
      // Another thing has the folder's name now.
      await rm(folder, { recursive: true });
      await writeFile(folder, "");
    }
  })();
  await expect(failing).rejects.toThrow(/Cannot watch .*a\.log: ENOTDIR/u);
});
