// The format of notifications on disk: the folder of this version is read as it always was, and a program that was written from
// docs/formats/notifications.md alone finds the inboxes that the store finds.
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type GoldenItem, makeGoldenNotifications, readGoldenNotifications } from "../support/golden-notifications.ts";
import { expectSameFiles, parseLines, readByDescription } from "../support/format-folder.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

const GOLDEN = join(import.meta.dirname, "../fixtures/notifications-format-1");
const READER = join(import.meta.dirname, "python/read_notifications_folder.py");

let folder: TemporaryFolder;
let notifications: string;
beforeEach(async () => {
  folder = await openTemporaryFolder("notifications-format");
  notifications = join(folder.path, "golden");
  await cp(join(GOLDEN, "golden"), notifications, { recursive: true });
});
afterEach(() => folder[Symbol.asyncDispose]());

/** Notifications of inboxes, one a line, and the count of records. */
async function expected(): Promise<unknown[]> {
  return parseLines(await readFile(join(GOLDEN, "expected.jsonl"), "utf8"));
}

function sorted(items: readonly GoldenItem[]): GoldenItem[] {
  return items.toSorted((a, b) => (a.user < b.user ? -1 : a.user > b.user ? 1 : a.sequence - b.sequence));
}

describe("the folder of version 1", () => {
  test("is read as it always was, without a checkpoint and with one", async () => {
    const items = (await expected()).slice(0, -1) as GoldenItem[];
    expect(items.length).toBeGreaterThan(50);
    expect(sorted(await readGoldenNotifications(notifications))).toEqual(sorted(items));
    // Opening it has written one.
    expect(await readdir(notifications)).toContain("CHECKPOINT");
    expect(sorted(await readGoldenNotifications(notifications))).toEqual(sorted(items));
  });

  test("is what this version writes, byte for byte", async () => {
    const again = join(folder.path, "again");
    await makeGoldenNotifications(again);
    await expectSameFiles(again, notifications);
  });
});

describe("a reader that was written from the description", () => {
  test("finds the same inboxes", async (context) => {
    const { stdout, code } = await readByDescription(context, { reader: READER, folder: notifications });
    expect({ code, lines: parseLines(stdout) }).toEqual({ code: 0, lines: await expected() });
  });

  test("refuses what Sluice refuses", async (context) => {
    const [first = ""] = (await readdir(notifications)).filter((name) => name.endsWith(".frames")).toSorted();
    const bytes = await readFile(join(notifications, first));
    bytes[700]! ^= 1;
    await writeFile(join(notifications, first), bytes);
    const { code, output } = await readByDescription(context, { reader: READER, folder: notifications });
    expect(code).toBe(1);
    const [, record] = /record (\d+) in \S+ does not prove itself/.exec(output) ?? [];
    await expect(readGoldenNotifications(notifications)).rejects.toThrow(
      `record ${record} in ${notifications}/${first} does not prove itself`,
    );
  });
});
