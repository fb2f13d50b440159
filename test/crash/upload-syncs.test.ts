// Uploads on a disk that keeps its promises to the letter: what was acknowledged survives any end of the process and of the
// power, and every sync is there for a reason: with any one of them taken out, a promise is broken.
import { readdir, readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { simulateUploads } from "../support/upload-simulation.ts";

const UPLOADS = new URL("../../packages/server/src/files/uploads/", import.meta.url);
const FIRST_SEED = Number(process.env["SLUICE_CRASH_SEED"] ?? 1);
const HISTORIES = 300 * Number(process.env["SLUICE_CRASH_ROUNDS"] ?? 1);
const LIVES = 10;
/** Seeds are tried until one shows it. */
const SEEDS_MAX = 1500;

/** Each sync, by the function that asks for it, with a seed near one that needs it: the rarer it is, the longer the search. */
const SYNCS: readonly { readonly site: string; readonly from?: number }[] = [
  { site: "sync-folder #create" },
  { site: "sync writeAtomically, starting" },
  { site: "sync-folder writeAtomically, starting" },
  { site: "sync #count" },
  { site: "sync appendMark" },
  { site: "sync clearMark, writing", from: 555 },
  { site: "sync clearMark, committing", from: 420 },
  { site: "sync place" },
  { site: "sync writeAtomically, committing" },
  { site: "sync-folder writeAtomically, committing" },
  { site: "sync-folder syncPlace" },
  { site: "sync-folder confirm, committing", from: 365 },
  { site: "sync-folder remove" },
  { site: "sync-folder #load", from: 390 },
  { site: "sync writeMarks" },
  { site: "sync-folder confirm, at the start", from: 30 },
];

test(`every promise is kept, in ${HISTORIES} histories`, async () => {
  const seen = new Set<string>();
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES; seed++) {
    const violations = await simulateUploads({ seed, lives: LIVES, onSync: (site) => seen.add(site) });
    expect(violations, `seed ${seed}`).toEqual([]);
  }
  // No sync is missing in the list.
  expect([...seen].toSorted()).toEqual(SYNCS.map(({ site }) => site).toSorted());
});

describe("without", () => {
  for (const { site, from = 1 } of SYNCS) {
    test(`${site}, a promise is broken`, async () => {
      let violations: string[] = [];
      for (let seed = from; seed < from + SEEDS_MAX && violations.length === 0; seed++) {
        violations = await simulateUploads({ seed, lives: LIVES, ignoredSite: site });
      }
      expect(violations).not.toEqual([]);
    });
  }
});

test("no sync is in code that is never reached", async () => {
  const files = (await readdir(UPLOADS)).filter((name) => /^.*(?<!\.test)\.ts$/u.test(name));
  const sources = await Promise.all(files.map((name) => readFile(new URL(name, UPLOADS), "utf8")));
  // What is written to the marks is synced by that (mode "append").
  const syncs = /\.(?:sync|syncFolder)\(|file\.write\(|writeAtomically\(/gu;
  const calls = sources.flatMap((source) => source.match(syncs) ?? []);
  const functions = new Set(SYNCS.map(({ site }) => site.replace(/,.*/u, "").replace(/^sync(?:-folder)? /u, "")));
  // These two are of change.ts; its own test says when they are called.
  expect(calls).toHaveLength(functions.size - ["syncPlace", "confirm"].length);
});
