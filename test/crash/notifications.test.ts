// A store of notifications whose process ends at any operation of the disk: while it publishes, reads and deletes, and while its
// journal seals, cleans and drops.
import { expect, test } from "vitest";
import { crashNotifications } from "../support/notification-crashes.ts";
import type { Death } from "../support/queue-disk.ts";

const HOWS = ["killed", "nothing-unsynced", "any-part-unsynced"] as const;
const endsWell: Death = { at: Number.MAX_SAFE_INTEGER, isWithin: false, how: "killed" };

test("every acknowledged publish is there after a death at any operation, and counts are exact", async () => {
  const { operations, violations } = await crashNotifications(endsWell);
  expect(violations).toEqual([]);
  expect(operations).toBeGreaterThan(150);
  for (let at = 1; at <= operations; at++) {
    const death = { at, isWithin: at % 2 === 0, how: HOWS[at % 3]! };
    expect((await crashNotifications(death)).violations, `${death.how} at ${at}`).toEqual([]);
  }
});

for (const site of ["sync append", "sync-folder createSegmentFile"]) {
  test(`not so without ${site}`, async () => {
    const { operations, sites } = await crashNotifications(endsWell);
    expect(sites).toContain(site);
    const found: string[] = [];
    for (let at = 1; at <= operations && found.length === 0; at++) {
      const how = at % 4 < 2 ? "nothing-unsynced" : "any-part-unsynced";
      found.push(...(await crashNotifications({ at, isWithin: at % 2 === 0, how, ignoredSite: site })).violations);
    }
    expect(found).not.toEqual([]);
  });
}

test("on a disk that fails once, too, whichever operation fails", async () => {
  const { operations } = await crashNotifications(endsWell);
  for (let at = 1; at <= operations; at++) {
    const fault = { at, code: at % 2 === 0 ? "EIO" : "ENOSPC" } as const;
    expect((await crashNotifications({ ...endsWell, fault })).violations, `${fault.code} at ${at}`).toEqual([]);
  }
});
