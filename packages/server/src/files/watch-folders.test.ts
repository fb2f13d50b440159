// Hints of the system, and what happens when they are missing.
import { writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { Watcher } from "./testing/watcher.ts";
import { FolderWatches, type FolderWatching } from "./watch-folders.ts";
import { Watches } from "./watches.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-hints-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("a hint has the name of what may have changed; after the end none comes, and there is room for another folder", async () => {
  const watches = new FolderWatches(1);
  const names: (string | undefined)[] = [];
  const watch = (hint: (name: string | undefined) => void): Disposable | undefined =>
    watches.watch(folder, hint, () => {});
  const first = watch((name) => names.push(name));
  expect(watch(() => {})).toBeUndefined();
  await writeFile(join(folder, "a"), "");
  await expect.poll(() => names).toContain("a");
  first?.[Symbol.dispose]();
  first?.[Symbol.dispose]();
  const heard = names.length;
  using second = watch((name) => names.push(`second ${name}`));
  expect(second).toBeDefined();
  expect(watch(() => {})).toBeUndefined();
  await writeFile(join(folder, "b"), "");
  await expect.poll(() => names.slice(heard)).toContain("second b");
  expect(names.slice(heard).every((name) => name?.startsWith("second "))).toBe(true);
  expect(
    new FolderWatches(1).watch(
      join(folder, "missing"),
      () => {},
      () => {},
    ),
  ).toBeUndefined();
});

test("more hints at once than the system may have kept all of are said to be missing some", async () => {
  const watches = new FolderWatches(1);
  let missing = 0;
  const stop = watches.onMissing(() => missing++);
  let hints = 0;
  using watch = watches.watch(
    folder,
    () => hints++,
    () => {},
  );
  expect(watch).toBeDefined();
  await writeFile(join(folder, "a"), "");
  await expect.poll(() => hints).toBeGreaterThan(0);
  expect(missing).toBe(0);
  // In one turn: nobody reads them meanwhile.
  for (let i = 0; i < 2500; i++) writeFileSync(join(folder, `f${i}`), "x");
  await expect.poll(() => missing).toBe(1);
  stop();
});

test("what was hinted at by nobody is found when it is said that hints are missing", async () => {
  let missing: (() => void) | undefined;
  const silent: FolderWatching = {
    watch: () => ({ [Symbol.dispose]() {} }),
    onMissing(listener) {
      missing = listener;
      return () => {
        missing = undefined;
      };
    },
  };
  const clock = new ManualClock();
  const roots = [{ name: "", folder, isWritable: false }];
  await using watches = new Watches({ roots, watching: silent, clock, limits: DEFAULT_LIMITS });
  const query = {
    folder: undefined,
    isRecursive: true,
    matches: () => true,
    hasState: true,
    after: undefined,
    heartbeatMs: 0,
  };
  const watcher = new Watcher(await watches.open(query));
  await expect.poll(() => (clock.advance(0), watcher.told)).toEqual(["sync"]);
  await writeFile(join(folder, "a"), "");
  // Looks at the folder itself come and go, and see nothing of what is in it.
  await clock.advanceInTurns(10_000);
  expect(watcher.told).toEqual(["sync"]);
  missing?.();
  // A look that came out slow is followed by a rest as long.
  await expect.poll(() => (clock.advance(500), watcher.told)).toEqual(["sync", "created a"]);
  expect(clock.passedMs).toBeLessThan(60_000);
  await writeFile(join(folder, "b"), "");
  await expect.poll(() => (clock.advance(10_000), watcher.paths)).toEqual(["a", "b"]);
});
