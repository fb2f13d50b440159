import { open, readFile, readdir } from "node:fs/promises";
import { expect, test } from "vitest";
import type { EmbeddedPlace } from "./testing/place.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

const OPTIONS = { segmentBytes: 4096, groupBytesMax: 2048, scrubBytesPerSecond: 4096, scrubRestMs: 60_000 };

async function fill(place: EmbeddedPlace): Promise<void> {
  await using log = await place.open();
  for (const number of range(1, 100)) await append(log.writer, [makeEntry(number, { payload: "x".repeat(80) })]);
}

/** In place: a file that is written anew is empty for a moment, and the scrubber may look at it then. */
async function flip(path: string, at: (bytes: Buffer) => number): Promise<void> {
  const bytes = await readFile(path);
  const place = at(bytes);
  await using file = await open(path, "r+");
  await file.write(Buffer.of(bytes[place]! ^ 0xff), 0, 1, place);
}

/** Lets time pass, and what it starts come to its end. */
async function pass(place: EmbeddedPlace, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    place.clock.advance(500);
    for (const _ of range(1, 5)) await new Promise(setImmediate);
  }
}

test("the scrubber finds damage that nobody has asked for, round after round", async () => {
  await using place = await openEmbeddedPlace(OPTIONS);
  place.isDamaged = true;
  await fill(place);
  await using log = await place.open();
  const found = () => place.events.filter(({ kind }) => kind === "damage-found");
  await pass(place, 120_000);
  expect(found()).toEqual([]);
  const [, second] = (await readdir(place.logFolder)).filter((name) => name.endsWith(".frames")).sort();
  await flip(`${place.logFolder}/${second}`, (bytes) => 5 + bytes.readUInt32BE(1) + 60);
  await expect
    .poll(async () => {
      await pass(place, 10_000);
      return found();
    })
    .toHaveLength(1);
  const sequence = Number(second!.slice(0, 20)) + 1;
  expect(log.state.damage).toEqual([{ first: sequence, last: sequence }]);
});

test("the scrubber reads no faster than it may", async () => {
  await using place = await openEmbeddedPlace(OPTIONS);
  place.isDamaged = true;
  await fill(place);
  await using log = await place.open();
  // Every sealed segment is damaged: how many were found says how far the scrubber came.
  const names = (await readdir(place.logFolder)).filter((name) => name.endsWith(".frames")).sort();
  for (const name of names.slice(0, -1)) await flip(`${place.logFolder}/${name}`, () => 60);
  place.clock.advance(60_000);
  await expect.poll(() => log.state.damage.length).toBe(1);
  // A segment of 4 KiB takes a second at 4 KiB/s; less than that has passed.
  await pass(place, 500);
  expect(log.state.damage.length).toBe(1);
  await pass(place, 1000);
  await expect.poll(() => log.state.damage.length).toBe(2);
});
