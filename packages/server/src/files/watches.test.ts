// What all watches share: how many there may be, what they may hold, when they end.
import { writeFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Draining, LimitExceeded, type SluiceError } from "../errors.ts";
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

/** A watch that has had its sync. */
async function synced(query: Parameters<OpenedService["watch"]>[0]): Promise<Watcher> {
  const { watcher } = await files.watch(query);
  await expect.poll(() => watcher.told).toContain("sync");
  return watcher;
}

describe("bounds", () => {
  test("so many watches, and no more; when one has ended there is room", async () => {
    await using small = await OpenedService.open({ limits: { watchesMax: 2 } });
    const { call } = await small.watch({});
    await small.watch({ path: "named" });
    await expect(small.watch({})).rejects.toThrow(LimitExceeded);
    await expect(small.watch({})).rejects.toMatchObject({
      facts: { quota: { subject: "watches" }, retryAfterMs: 5000 },
    });
    call.end();
    await small.watch({});
    expect(small.service.watches).toBe(2);
  });

  test("so many files, of all that is watched or was lately; a folder at rest gives way", async () => {
    await using small = await OpenedService.open({ limits: { watchEntriesMax: 6 } });
    for (const name of ["a/1", "a/2", "a/3", "b/1", "b/2", "b/3", "b/4"]) await put(name, name, small.home);
    const first = await small.watch({ path: "a", includeExisting: true });
    await expect.poll(() => first.watcher.told.length).toBe(4);
    const refused = await small.watch({ path: "b", includeExisting: true });
    await expect.poll(() => refused.watcher.isOpen).toBe(false);
    expect(refused.watcher.error).toBeInstanceOf(LimitExceeded);
    expect((refused.watcher.error as SluiceError).facts.quota).toMatchObject({ subject: "watched files" });
    expect(first.watcher.isOpen).toBe(true);
    first.call.end();
    const second = await small.watch({ path: "b", includeExisting: true });
    await expect.poll(() => second.watcher.told.at(-1)).toBe("sync");
    // What gave way is of another generation when it comes back.
    second.call.end();
    const again = await small.watch({ path: "a", includeExisting: true, resumeToken: first.watcher.token });
    await expect.poll(() => again.watcher.told[0]).toBe("resync GENERATION_UNKNOWN");
  });

  test("what was removed gives way to what is there", async () => {
    await using small = await OpenedService.open({ limits: { watchEntriesMax: 2 } });
    const { watcher } = await small.watch({ path: "named" });
    await expect.poll(() => watcher.told).toEqual(["sync"]);
    for (const name of "abcd") {
      await put(name, name, small.named);
      await expect.poll(() => watcher.paths).toEqual([`named/${name}`]);
      await rm(join(small.named, name));
      await expect.poll(() => watcher.paths).toEqual([]);
    }
    expect(watcher.isOpen).toBe(true);
  });

  test("folders that the system does not watch are looked at every few seconds", async () => {
    const clock = new ManualClock();
    await using slow = await OpenedService.open({ clock, limits: { watchHintsMax: 0 } });
    const { watcher } = await slow.watch({ recursive: true });
    await expect.poll(() => (clock.advance(0), watcher.told)).toEqual(["sync"]);
    await put("a/b", "b", slow.home);
    await clock.advanceInTurns(1_900);
    expect(watcher.told).toEqual(["sync"]);
    await expect.poll(() => (clock.advance(100), watcher.paths)).toEqual(["a", "a/b"]);
    // One look sees that the folder is gone, and a file in its place.
    await rm(join(slow.home, "a"), { recursive: true });
    await put("a", "a", slow.home);
    await expect.poll(() => (clock.advance(2_000), watcher.paths)).toEqual(["a"]);
    expect(watcher.told.slice(3)).toEqual(["removed a/b", "changed a"]);
  });

  test("who comes later is told of all that happened before, whether the system hints at it or not", async () => {
    const clock = new ManualClock();
    await using slow = await OpenedService.open({ clock, limits: { watchHintsMax: 0 } });
    const first = await slow.watch({ path: "named" });
    await expect.poll(() => (clock.advance(0), first.watcher.told)).toEqual(["sync"]);
    await put("a", "a", slow.named);
    const second = await slow.watch({ path: "named", includeExisting: true });
    await expect.poll(() => (clock.advance(0), second.watcher.told)).toEqual(["exists named/a", "sync"]);

    await synced({ path: "named" });
    for (const name of "abcde") {
      writeFileSync(join(files.named, name), name);
      const { watcher } = await files.watch({ path: "named", includeExisting: true });
      await expect.poll(() => watcher.told.at(-1)).toBe("sync");
      expect(watcher.paths).toContain(`named/${name}`);
    }
  });

  test("a folder that nobody watches is let go of in the end", async () => {
    const clock = new ManualClock();
    await using quiet = await OpenedService.open({ clock });
    const timers = clock.timers;
    const { watcher, call } = await quiet.watch({ includeExisting: true });
    await expect.poll(() => (clock.advance(0), watcher.told)).toContain("sync");
    call.end();
    expect(clock.timers).toBe(timers + 1);
    clock.advance(10 * 60_000);
    expect(clock.timers).toBe(timers);
    const again = await quiet.watch({ resumeToken: watcher.token });
    await expect.poll(() => (clock.advance(0), again.watcher.told[0])).toBe("resync GENERATION_UNKNOWN");
  });
});

test("who wants few of many files has them without waiting for the next look", async () => {
  const clock = new ManualClock();
  await using large = await OpenedService.open({ clock });
  await Promise.all(Array.from({ length: 4200 }, (_, i) => writeFile(join(large.named, `f${i}`), "")));
  await writeFile(join(large.named, "wanted"), "");
  // The second has all of them before it at once.
  for (let times = 0; times < 2; times++) {
    const { watcher } = await large.watch({ path: "named", globs: ["wanted"], includeExisting: true });
    await expect.poll(() => (clock.advance(0), watcher.told)).toEqual(["exists named/wanted", "sync"]);
  }
});

describe("between changes", () => {
  test("heartbeats say that the stream lives, as often as is asked for", async () => {
    const clock = new ManualClock();
    await using beating = await OpenedService.open({ clock });
    const often = (await beating.watch({ heartbeatMs: 1000 })).watcher;
    const byDefault = (await beating.watch({})).watcher;
    const never = (await beating.watch({ heartbeatMs: 0 })).watcher;
    await expect.poll(() => (clock.advance(0), often.told)).toEqual(["sync"]);
    await clock.advanceInTurns(30_000);
    const beats = ({ told }: Watcher): number => told.filter((each) => each === "heartbeat").length;
    expect([beats(often), beats(byDefault), beats(never)]).toEqual([30, 1, 0]);
    const { kind } = often.messages.at(-1)!.control!;
    expect(kind).toMatchObject({ case: "heartbeat", value: { headCursor: often.token, lagEntries: 0n } });
  });

  test("a drain ends all watches with the place to go on at, and takes no more", async () => {
    const watcher = await synced({});
    files.service.drain();
    expect(watcher.isOpen).toBe(false);
    expect(watcher.error).toMatchObject({ kind: "unavailable", facts: { metadata: { cursor: watcher.token } } });
    expect(files.service.watches).toBe(0);
    await expect(files.watch({})).rejects.toThrow(Draining);
  });
});
