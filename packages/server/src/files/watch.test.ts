// Watches of real folders. Where nothing depends on the system's hints, time stands still until the test moves it.
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PermissionDenied } from "../errors.ts";
import { OpenedService } from "./testing/opened-service.ts";
import type { Watcher } from "./testing/watcher.ts";

let files: OpenedService;
beforeEach(async () => {
  files = await OpenedService.open();
});
afterEach(() => files[Symbol.asyncDispose]());

async function put(name: string, text = name, folder = files.home): Promise<void> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

const remove = (name: string): Promise<void> => rm(join(files.home, name), { recursive: true });
const move = (from: string, to: string): Promise<void> => rename(join(files.home, from), join(files.home, to));

/** A watch that has had its sync. */
async function synced(query: Parameters<OpenedService["watch"]>[0]): Promise<Watcher> {
  const { watcher } = await files.watch(query);
  await expect.poll(() => watcher.told).toContain("sync");
  return watcher;
}

/** For clocks that the poll itself moves. */
const FAST = { interval: 10 };

const behind = ({ told }: Watcher): string[] => told.slice(told.lastIndexOf("sync") + 1);

describe("with the system's hints", () => {
  test("first what is there, then a sync, then what becomes of it", async () => {
    await put("a");
    await put("sub/b");
    await put(".hidden");
    await symlink(files.outside, join(files.home, "link"));
    const watcher = await synced({ recursive: true, includeExisting: true });
    expect(watcher.told).toEqual(["exists a", "exists named/", "exists sub/", "exists sub/b", "sync"]);
    expect(watcher.known.get("a")).toMatchObject((await files.list({}))[0]!.files[0]!);

    await put("new/deep/c", "c");
    await expect.poll(() => watcher.paths).toContain("new/deep/c");
    await put("a", "changed");
    await expect.poll(() => watcher.known.get("a")?.size).toBe(7n);
    await put(".hidden", "changed");
    await put("new/.hidden");
    await remove("sub");
    await expect.poll(() => watcher.paths).toEqual(["a", "named", "new", "new/deep", "new/deep/c"]);
    expect(behind(watcher).filter((each) => !each.startsWith("changed new/deep/c"))).toEqual([
      "created new/",
      "created new/deep/",
      "created new/deep/c",
      "changed a",
      "removed sub/b",
      "removed sub/",
    ]);
  });

  test("renamed, removed and made again, moved in, replaced", async () => {
    await put("a");
    await put("b");
    await put("outside/x/y", "y", files.outside);
    const watcher = await synced({ recursive: true });
    expect(watcher.told).toEqual(["sync"]);
    await move("a", "c");
    await expect.poll(() => behind(watcher)).toEqual(expect.arrayContaining(["removed a", "created c"]));
    await rename(join(files.outside, "outside"), join(files.home, "in"));
    await expect
      .poll(() => behind(watcher))
      .toEqual(expect.arrayContaining(["created in/", "created in/x/", "created in/x/y"]));
    // A folder that was moved in is watched, too.
    await put("in/x/z");
    await expect.poll(() => behind(watcher)).toContain("created in/x/z");
    await remove("b");
    await put("b", "again");
    await expect.poll(() => watcher.known.get("b")?.size).toBe(5n);
    await put("new-c");
    await move("new-c", "c");
    await expect.poll(() => behind(watcher)).toContain("changed c");
    // A file where a folder was: what was in it goes.
    await remove("in");
    await put("in", "file");
    await expect.poll(() => [watcher.known.get("in")?.isDirectory, watcher.paths]).toEqual([false, ["b", "c", "in"]]);
  });

  test("only what the globs take, and of one folder only where that is asked for", async () => {
    const flat = await synced({ path: ".", globs: ["*.txt", "sub"] });
    const deep = await synced({ recursive: true, globs: ["sub/**/*.txt"] });
    const named = await synced({ path: "named", recursive: true });
    await put("sub/a.txt");
    await put("sub/b.md");
    await put("c.txt");
    await put("d/e", "e", files.named);
    await expect.poll(() => flat.paths).toEqual(["c.txt", "sub"]);
    await expect.poll(() => deep.paths).toEqual(["sub/a.txt"]);
    await expect.poll(() => named.paths).toEqual(["named/d", "named/d/e"]);
  });

  test("a burst is told whole, in messages of a bounded size, each path once", async () => {
    const watcher = await synced({ recursive: true });
    await mkdir(join(files.home, "many"));
    await Promise.all(Array.from({ length: 1000 }, (_, i) => writeFile(join(files.home, "many", `f${i}`), "")));
    await expect.poll(() => watcher.known.size).toBe(1001);
    expect(watcher.messages.every(({ changes }) => changes.length <= 256)).toBe(true);
    expect(watcher.told.filter((each) => each.startsWith("created")).length).toBe(1001);
    await remove("many");
    await expect.poll(() => watcher.known.size).toBe(0);
  });

  test("a link that is swapped in is as if nothing were there, and what lies behind it is never told", async () => {
    const clock = new ManualClock();
    await using swapped = await OpenedService.open({ clock });
    const moveHere = (from: string, to: string): Promise<void> =>
      rename(join(swapped.home, from), join(swapped.home, to));
    const look = (watcher: Watcher) => (): string[] => (clock.advance(100), watcher.paths);
    await put("a/b/c", "c", swapped.home);
    await put("secret/b/stolen", "s", swapped.outside);
    const { watcher: whole } = await swapped.watch({ recursive: true, includeExisting: true });
    const { watcher: below } = await swapped.watch({ path: "a/b", recursive: true, includeExisting: true });
    await expect.poll(look(whole), FAST).toEqual(["a", "a/b", "a/b/c", "named"]);
    await expect.poll(look(below), FAST).toEqual(["a/b/c"]);
    await moveHere("a", "elsewhere");
    await symlink(join(swapped.outside, "secret"), join(swapped.home, "a"));
    await expect.poll(look(whole), FAST).toEqual(["elsewhere", "elsewhere/b", "elsewhere/b/c", "named"]);
    await expect.poll(look(below), FAST).toEqual([]);
    await put("secret/b/more", "s", swapped.outside);
    await put("elsewhere/b/d", "d", swapped.home);
    await expect.poll(look(whole), FAST).toContain("elsewhere/b/d");
    // The folder comes back, and the watch with it.
    await rm(join(swapped.home, "a"));
    await moveHere("elsewhere", "a");
    await expect.poll(look(below), FAST).toEqual(["a/b/c", "a/b/d"]);
    expect([...whole.told, ...below.told].filter((each) => /stolen|more|secret/u.test(each))).toEqual([]);
    // Nobody had to wait until all is looked at.
    expect(clock.passedMs).toBeLessThan(60_000);
  });
});

describe("going on with a token", () => {
  test("brings what happened meanwhile, and nothing else", async () => {
    await put("a");
    await put("b");
    await put("c");
    const { watcher, call } = await files.watch({ recursive: true, includeExisting: true });
    await expect.poll(() => watcher.told).toContain("sync");
    call.end();
    expect(files.service.watches).toBe(0);
    await remove("a");
    await put("b", "changed");
    await put("d/e");
    await put("f");
    await remove("f");
    const again = await synced({ recursive: true, includeExisting: true, resumeToken: watcher.token });
    expect(again.told.toSorted()).toEqual(["changed b", "created d/", "created d/e", "removed a", "sync"]);
    const idle = await synced({ recursive: true, resumeToken: again.token });
    expect(idle.told).toEqual(["sync"]);
  });

  test("in the middle of what was there before goes on there", async () => {
    for (let i = 0; i < 600; i++) await put(`f${i}`, "");
    const { watcher, call } = await files.watch({ includeExisting: true }, { isStalled: true });
    await expect.poll(() => watcher.take()).toBe(true);
    call.end();
    expect(watcher.known.size).toBe(256);
    const { watcher: again } = await files.watch(
      { includeExisting: true, resumeToken: watcher.token },
      { known: watcher.known },
    );
    await expect.poll(() => again.told.at(-1)).toBe("sync");
    expect(again.told.every((each) => each.startsWith("exists") || each === "sync")).toBe(true);
    expect(again.told.length).toBe(601 - 256 + 1);
    expect(again.known.size).toBe(601);
  });

  test("of another generation is told to start anew, with all that is there, if that is wanted", async () => {
    await put("a");
    const { token } = await synced({ includeExisting: true });
    await using other = await OpenedService.open();
    await put("b", "b", other.home);
    const { watcher } = await other.watch({ includeExisting: true, resumeToken: token });
    await expect.poll(() => watcher.told).toEqual(["resync GENERATION_UNKNOWN", "exists b", "exists named/", "sync"]);
    const { watcher: changes } = await other.watch({ resumeToken: token });
    await expect.poll(() => changes.told).toEqual(["resync GENERATION_UNKNOWN", "sync"]);
    // Of the same folder, but watched another way.
    const { watcher: deep } = await files.watch({ recursive: true, resumeToken: token });
    await expect.poll(() => deep.told).toEqual(["resync GENERATION_UNKNOWN", "sync"]);
  });

  test("that is before the first removal which is remembered is told so", async () => {
    await using small = await OpenedService.open({ limits: { watchRemovalsMax: 3 } });
    for (const name of "abcdefgh") await put(name, name, small.home);
    const first = await small.watch({ includeExisting: true });
    await expect.poll(() => first.watcher.told).toContain("sync");
    first.call.end();
    for (const name of "abc") await rm(join(small.home, name));
    const second = await small.watch({ includeExisting: true, resumeToken: first.watcher.token });
    await expect.poll(() => second.watcher.told).toEqual(["removed a", "removed b", "removed c", "sync"]);
    await rm(join(small.home, "d"));
    await expect.poll(() => second.watcher.told).toContain("removed d");
    second.call.end();
    const { watcher } = await small.watch({ includeExisting: true, resumeToken: first.watcher.token });
    await expect.poll(() => watcher.told.at(-1)).toBe("sync");
    expect(watcher.told[0]).toBe("resync REMOVALS_FORGOTTEN");
    expect(watcher.paths).toEqual(["e", "f", "g", "h", "named"]);
  });
});

describe("a reader that stands still", () => {
  test("is told of each path once, as it is then; or that it must start anew", async () => {
    await using small = await OpenedService.open({ limits: { watchRemovalsMax: 5 } });
    await put("a", "a", small.home);
    await put("z", "z", small.home);
    const { watcher } = await small.watch({ includeExisting: true });
    const { watcher: witness } = await small.watch({ includeExisting: true });
    await expect.poll(() => witness.told).toContain("sync");
    await expect.poll(() => watcher.told).toContain("sync");
    watcher.isStalled = true;
    for (const text of ["1", "22", "333", "4444"]) {
      await put("a", text, small.home);
      await put("new", text, small.home);
      await expect.poll(() => witness.known.get("new")?.size).toBe(BigInt(text.length));
      await expect.poll(() => witness.known.get("a")?.size).toBe(BigInt(text.length));
    }
    await rm(join(small.home, "z"));
    await expect.poll(() => witness.paths).toEqual(["a", "named", "new"]);
    watcher.isStalled = false;
    watcher.wake();
    await expect.poll(() => behind(watcher).toSorted()).toEqual(["changed a", "created new", "removed z"]);

    watcher.isStalled = true;
    for (const name of "123456") await put(name, name, small.home);
    await expect.poll(() => witness.paths.length).toBe(9);
    watcher.isStalled = false;
    watcher.wake();
    await expect.poll(() => watcher.paths.length).toBe(9);
    watcher.isStalled = true;
    for (const name of "123456") await rm(join(small.home, name));
    await expect.poll(() => witness.paths).toEqual(["a", "named", "new"]);
    watcher.isStalled = false;
    watcher.wake();
    await expect.poll(() => watcher.paths).toEqual(["a", "named", "new"]);
    expect(watcher.told.filter((each) => each.startsWith("resync"))).toEqual(["resync REMOVALS_FORGOTTEN"]);
  });

  test("is told that a file is gone which it knew, also when that was made again and removed again meanwhile", async () => {
    await put("a");
    const watcher = await synced({ includeExisting: true });
    const witness = await synced({ includeExisting: true });
    watcher.isStalled = true;
    await remove("a");
    await expect.poll(() => witness.paths).toEqual(["named"]);
    for (let times = 0; times < 2; times++) {
      await put("a");
      await put("b");
      await expect.poll(() => witness.paths).toEqual(["a", "b", "named"]);
      await remove("a");
      await remove("b");
      await expect.poll(() => witness.paths).toEqual(["named"]);
    }
    watcher.isStalled = false;
    watcher.wake();
    await expect.poll(() => watcher.paths).toEqual(["named"]);
    expect(behind(watcher)).toEqual(["removed a"]);
  });
});

test.each([
  ["a folder that is not there", { path: "missing" }, new PermissionDenied().message],
  ["a link", { path: "link" }, new PermissionDenied().message],
  ["a hidden folder", { path: ".git" }, new PermissionDenied().message],
  ["what is above", { path: "a/.." }, new PermissionDenied().message],
  ["a file", { path: "a" }, '"a" is a file'],
  ["a bad glob", { globs: ["["] }, "globs[0]"],
  ["a token of somebody else", { resumeToken: "x y" }, "resume_token"],
  ["a negative time", { heartbeatMs: -1 }, "heartbeat_ms"],
])("%s is refused", async (_what, query, said) => {
  await put("a");
  await put(".git/config");
  await symlink(files.outside, join(files.home, "link"));
  await expect(files.watch(query)).rejects.toThrow(said);
  expect(files.service.watches).toBe(0);
});
