// Every sync in the store is there for a reason: with any one of them taken out, a crash breaks a promise.
import { readdir, readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import type { Scenario } from "../support/crash-scenarios.ts";
import {
  backedUpThenPowerCut,
  backupAheadOfItsLog,
  compressionInterrupted,
  idleProducerRetired,
  laterBackupInterrupted,
  manySegmentsRetired,
  newEpochInterrupted,
  newEpochThenPowerCut,
} from "../support/crash-scenarios.ts";
import { simulate } from "../support/crash-simulation.ts";

/** The store's source. */
const STORE = new URL("../../packages/server/src/store/", import.meta.url);

const plain: Scenario = (seed, ignoredSite) =>
  simulate({
    seed,
    lives: 8,
    allowances: { retention: false, loss: false },
    ...(ignoredSite === undefined ? {} : { ignoredSite }),
  });

/** Each sync, and a history that needs it. The name says what is synced, by which function, and of what. */
const SYNCS: readonly { readonly site: string; readonly scenario: Scenario }[] = [
  { site: "sync append", scenario: plain },
  { site: "sync seal", scenario: plain },
  { site: "sync openLast", scenario: plain },
  { site: "sync #append", scenario: plain },
  { site: "sync-folder #beginFile", scenario: plain },
  { site: "sync writeAtomically FORMAT.part", scenario: plain },
  { site: "sync writeAtomically EPOCHS.part", scenario: plain },
  { site: "sync writeAtomically .producers.part", scenario: idleProducerRetired },
  { site: "sync writeAtomically .dictionary.part", scenario: plain },
  { site: "sync-folder writeAtomically", scenario: newEpochThenPowerCut },
  { site: "sync-folder takeStock", scenario: newEpochInterrupted },
  { site: "sync-folder createSegmentFile", scenario: plain },
  { site: "sync-folder removeSegment", scenario: manySegmentsRetired },
  { site: "sync #writeCompressed", scenario: compressionInterrupted },
  { site: "sync-folder #replacePlain", scenario: compressionInterrupted },
  { site: "sync-folder makeFolderIn /", scenario: plain },
  { site: "sync-folder makeFolderIn /data", scenario: plain },
  { site: "sync-folder makeFolderIn /data/logs", scenario: plain },
];

/** The same of a backup and what is made of it. */
const COPY_SYNCS: typeof SYNCS = [
  { site: "sync copyFile", scenario: backedUpThenPowerCut },
  { site: "sync-folder copyFile", scenario: laterBackupInterrupted },
  { site: "sync #tryCopyOpen", scenario: backupAheadOfItsLog },
  { site: "sync-folder makeFolderIn /backup", scenario: backedUpThenPowerCut },
  { site: "sync-folder makeFolderIn /backup/logs", scenario: backedUpThenPowerCut },
  { site: "sync-folder makeFolderIn /restored/logs", scenario: backedUpThenPowerCut },
];

const HISTORIES = {
  backedUpThenPowerCut,
  backupAheadOfItsLog,
  laterBackupInterrupted,
  compressionInterrupted,
  manySegmentsRetired,
  idleProducerRetired,
  newEpochInterrupted,
  newEpochThenPowerCut,
};

/** Seeds are tried until one shows it. */
const SEEDS_MAX = 300;

describe("with every sync in place", () => {
  for (const [name, scenario] of Object.entries(HISTORIES)) {
    test(`${name} keeps every promise`, async () => {
      for (let seed = 1; seed <= 40; seed++) {
        expect(await scenario(seed, undefined), `seed ${seed}`).toEqual([]);
      }
    });
  }
});

describe("without", () => {
  for (const { site, scenario } of [...SYNCS, ...COPY_SYNCS]) {
    test(`${site}, a promise is broken`, async () => {
      let violations: string[] = [];
      for (let seed = 1; seed <= SEEDS_MAX && violations.length === 0; seed++) {
        violations = await scenario(seed, site);
      }
      expect(violations).not.toEqual([]);
    });
  }
});

test("no sync is missing in the list", async () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    await simulate({
      seed,
      lives: 12,
      allowances: { retention: true, loss: false },
      onSync: (site) => seen.add(site),
    });
  }
  expect([...seen].sort()).toEqual(SYNCS.map(({ site }) => site).sort());
});

test("nor one of a backup", async () => {
  // The log that is opened at last does in its folder what it does in any.
  const known = new Set([...SYNCS.map(({ site }) => site), "sync-folder makeFolderIn /restored"]);
  const seen = new Set<string>();
  for (const scenario of [backedUpThenPowerCut, backupAheadOfItsLog])
    await scenario(1, undefined, (site) => seen.add(site));
  const own = [...seen].filter((site) => !known.has(site));
  expect(own.sort()).toEqual(COPY_SYNCS.map(({ site }) => site).sort());
});

test("no sync is in code that is never reached", async () => {
  const files = (await readdir(STORE)).filter((name) => /^(?!file-system).*(?<!\.(test|suite))\.ts$/.test(name));
  const sources = await Promise.all(files.map((name) => readFile(new URL(name, STORE), "utf8")));
  // The files of the writer and of the dictionary sync what is written to them (mode "append").
  const syncs = /\.(sync|syncFolder)\(|(this\.#|open\.)file\.write\(/g;
  const calls = sources.flatMap((source) => source.match(syncs) ?? []);
  const functions = new Set([...SYNCS, ...COPY_SYNCS].map(({ site }) => site.split(" ").slice(0, 2).join(" ")));
  expect(calls).toHaveLength(functions.size);
});
