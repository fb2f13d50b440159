import { readFile, readdir, writeFile } from "node:fs/promises";
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
  const path = `${place.logFolder}/${second}`;
  const bytes = await readFile(path);
  bytes[5 + bytes.readUInt32BE(1) + 60]! ^= 0xff;
  await writeFile(path, bytes);
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
  for (const name of names.slice(0, -1)) {
    const bytes = await readFile(`${place.logFolder}/${name}`);
    bytes[60]! ^= 0xff;
    await writeFile(`${place.logFolder}/${name}`, bytes);
  }
  place.clock.advance(60_000);
  await expect.poll(() => log.state.damage.length).toBe(1);
  // A segment of 4 KiB takes a second at 4 KiB/s; less than that has passed.
  await pass(place, 500);
  expect(log.state.damage.length).toBe(1);
  await pass(place, 1000);
  await expect.poll(() => log.state.damage.length).toBe(2);
});
