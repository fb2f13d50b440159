// Queues whose process ends at any operation of the disk: of a journal that appends, seals, cleans and drops, of an engine on
// such a journal, and of the catalog that makes and removes queues.
import { describe, expect, test } from "vitest";
import { crashCatalog, crashJournal } from "../support/queue-crashes.ts";
import type { Death, Outcome } from "../support/queue-disk.ts";
import { crashEngine } from "../support/queue-engine-crashes.ts";

const NEVER = Number.MAX_SAFE_INTEGER;
const HOWS = ["killed", "nothing-unsynced", "any-part-unsynced"] as const;

/** Each operation of the story in turn is the last one; each in one of the ways. */
function* deaths(operations: number): Generator<Death> {
  for (let at = 1; at <= operations; at++) yield { at, isWithin: at % 2 === 0, how: HOWS[at % 3]! };
}

const endsWell: Death = { at: NEVER, isWithin: false, how: "killed" };

async function findViolations(crash: (death: Death) => Promise<Outcome>, all: Iterable<Death>): Promise<string[]> {
  for (const death of all) {
    const { violations } = await crash(death);
    if (violations.length > 0) return [`${death.how} at ${death.at}`, ...violations];
  }
  return [];
}

const STORIES = [
  {
    name: "a journal",
    crash: crashJournal,
    // Those of its folder's upkeep are the store's: syncs.test.ts.
    syncs: [
      "sync append",
      "sync writeAtomically EPOCHS.part",
      "sync-folder createSegmentFile",
      "sync-folder makeFolderIn /data/queues",
    ],
  },
  { name: "an engine on its journal", crash: crashEngine, syncs: ["sync append", "sync-folder createSegmentFile"] },
  {
    name: "the catalog of queues",
    crash: crashCatalog,
    syncs: ["sync-folder makeFolderIn /data", "sync-folder makeFolderIn /data/queues", "sync-folder #rename"],
  },
];

for (const { name, crash, syncs } of STORIES) {
  describe(`${name}`, () => {
    test("keeps its word when it dies at any operation", async () => {
      const { operations, violations } = await crash(endsWell);
      expect(violations).toEqual([]);
      expect(operations).toBeGreaterThan(150);
      expect(await findViolations(crash, deaths(operations))).toEqual([]);
    });

    for (const site of syncs) {
      test(`does not without ${site}`, async () => {
        const { operations, sites } = await crash(endsWell);
        expect(sites).toContain(site);
        expect(await findViolations(crash, powerCuts(operations, site))).not.toEqual([]);
      });
    }
  });
}

/** Only a power cut shows what a sync is for. */
function* powerCuts(operations: number, ignoredSite: string): Generator<Death> {
  for (let at = 1; at <= operations; at++) {
    yield { at, isWithin: at % 2 === 0, how: at % 4 < 2 ? "nothing-unsynced" : "any-part-unsynced", ignoredSite };
  }
}

test("a journal on a disk that fails once keeps its word, whichever operation fails", async () => {
  const { operations } = await crashJournal(endsWell);
  for (let at = 1; at <= operations; at++) {
    const fault = { at, code: at % 2 === 0 ? "EIO" : "ENOSPC" } as const;
    const { violations } = await crashJournal({ ...endsWell, fault });
    expect(violations, `${fault.code} at ${at}`).toEqual([]);
  }
});
