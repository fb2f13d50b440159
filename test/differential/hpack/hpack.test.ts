// HPACK against the implementations of others, both ways: with tables that change their size, with fields that are never
// indexed, with and without Huffman code.
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { decodeByNghttp2, encodeByNghttp2 } from "./nghttp2.ts";
import { decodeOurs, encodeOurs, OUR_ENCODERS, type OurEncoder } from "./ours.ts";
import { findGoPeer, findPythonPeer } from "./peers.ts";
import { fieldsOf, randomStories, type Story } from "./story.ts";

const STORIES = join(import.meta.dirname, "stories");
const SEED = Number(process.env["SLUICE_SEED"] ?? 1);
/** Header lists per direction and encoder: 200 × 60. */
const MANY = { seed: SEED, stories: 200, casesPerStory: 60 };
const encoders = Object.keys(OUR_ENCODERS) as OurEncoder[];

function expectSameHeaders(found: readonly Story[], wanted: readonly Story[]): void {
  expect(found.length).toBe(wanted.length);
  for (const [at, story] of found.entries()) {
    expect(story.cases.map(fieldsOf)).toEqual(wanted[at]!.cases.map(fieldsOf));
  }
}

function neverIndexed(stories: readonly Story[]): (readonly number[])[] {
  return stories.flatMap(({ cases }) => cases.map((each) => each.never_indexed ?? []));
}

const files = (await readdir(STORIES, { recursive: true })).filter((name) => name.endsWith(".json")).toSorted();

describe("the stories in the repository", () => {
  test("come from four encoders", () => {
    const folders = new Set(files.map((name) => name.split("/")[0]));
    expect([...folders]).toEqual(["go", "nghttp2", "python", "sluice"]);
  });

  test.each(files)("%s is decoded, encoded and decoded again", async (name) => {
    const story = JSON.parse(await readFile(join(STORIES, name), "utf8")) as Story;
    expect(story.cases.length).toBeGreaterThan(20);
    const decoded = decodeOurs(story);
    expectSameHeaders([decoded], [story]);
    for (const which of encoders) expectSameHeaders([decodeOurs(encodeOurs(decoded, which))], [story]);
  });
});

describe.each([
  ["Go", findGoPeer],
  ["Python", findPythonPeer],
])("%s", (_name, findPeer) => {
  test("encodes 12,000 header lists as we decode them", async ({ skip }) => {
    const found = await findPeer();
    if (found.kind === "missing") return skip(found.reason);
    const stories = randomStories({ ...MANY, of: "bytes" });
    const encoded = await found.peer.encode(stories);
    expectSameHeaders(encoded.map(decodeOurs), stories);
  });

  test.for(encoders)("decodes 12,000 header lists of ours, %s, credentials never indexed", async (which, { skip }) => {
    const found = await findPeer();
    if (found.kind === "missing") return skip(found.reason);
    const encoded = randomStories({ ...MANY, of: "bytes" }).map((story) => encodeOurs(story, which));
    const decoded = await found.peer.decode(encoded);
    expectSameHeaders(decoded, encoded);
    expect(neverIndexed(decoded)).toEqual(neverIndexed(encoded));
  });
});

describe("nghttp2", () => {
  test("encodes 12,000 requests as we decode them", async () => {
    const stories = randomStories({ ...MANY, of: "requests" });
    const encoded: Story[] = [];
    for (const story of stories) encoded.push(await encodeByNghttp2(story));
    expectSameHeaders(encoded.map(decodeOurs), stories);
  });

  test.each(encoders)("decodes 12,000 requests of ours, %s", async (which) => {
    const encoded = randomStories({ ...MANY, of: "requests" }).map((story) => encodeOurs(story, which));
    const decoded: Story[] = [];
    for (const story of encoded) decoded.push(await decodeByNghttp2(story));
    expectSameHeaders(decoded, encoded);
  });
});
