import { mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { fingerprintOf, isFileOf, type Place, PlaceFile, tailFingerprint } from "./places.ts";

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-places-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

function placeOf(producer: string, more: Partial<Place> = {}): Place {
  const head = fingerprintOf(Buffer.from("one\n"), 0);
  return {
    key: "1:2",
    offset: 4,
    part: 0,
    head,
    producer,
    nextSequence: 2,
    isDone: false,
    way: "1 auto none",
    ...more,
  };
}
const name = { target: "127.0.0.1:1", path: "/var/log/a.log" };

test("places are there again, in their order; a newer one of the same producer takes its place", async () => {
  const folder = await makeFolder();
  const places = await PlaceFile.open(folder, name);
  await places.store(placeOf("a"));
  await places.store(placeOf("b"));
  await places.store(placeOf("a", { offset: 8, nextSequence: 3 }));
  const again = await PlaceFile.open(folder, name);
  expect(again.places).toEqual([placeOf("a", { offset: 8, nextSequence: 3 }), placeOf("b")]);
  const other = await PlaceFile.open(folder, { ...name, target: "127.0.0.1:2" });
  expect(other.places).toEqual([]);
});

test("stores at the same time do not mix, and leave one file", async () => {
  const folder = await makeFolder();
  const places = await PlaceFile.open(folder, name);
  await Promise.all(Array.from({ length: 30 }, (_, i) => places.store(placeOf("a", { offset: i }))));
  expect((await PlaceFile.open(folder, name)).places).toEqual([placeOf("a", { offset: 29 })]);
  expect(await readdir(folder)).toHaveLength(1);
});

test("only the newest files of a name are remembered", async () => {
  const places = await PlaceFile.open(await makeFolder(), name);
  for (let i = 0; i < 10; i++) await places.store(placeOf(`p${i}`));
  expect(places.places.map(({ producer }) => producer)).toEqual(["p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"]);
  await places.clear();
  expect(places.places).toEqual([]);
});

test.each(["{", '{"format":99,"places":[]}', "[]"])("a file of another format is refused: %s", async (text) => {
  const folder = await makeFolder();
  await (await PlaceFile.open(folder, name)).clear();
  const [file = ""] = await readdir(folder);
  await writeFile(join(folder, file), text);
  await expect(PlaceFile.open(folder, name)).rejects.toThrow("they are in another format");
  expect(await readFile(join(folder, file), "utf8")).toBe(text);
});

test("a file is recognised by its beginning and by the line before the place", async () => {
  const folder = await makeFolder();
  const matches = async (content: string, place: Place): Promise<boolean> => {
    const file = join(folder, "a.log");
    await writeFile(file, content);
    const handle = await open(file, "r");
    try {
      return await isFileOf(place, handle);
    } finally {
      await handle.close();
    }
  };
  const tail = tailFingerprint(Buffer.from("two"), 7);
  const place = placeOf("a", { offset: 8, tail });
  expect(await matches("one\ntwo\nthree\n", place)).toBe(true);
  expect(await matches("one\ntwo\n", place)).toBe(true);
  expect(await matches("one\ntWo\n", place)).toBe(false);
  expect(await matches("One\ntwo\n", place)).toBe(false);
  expect(await matches("one\n", place)).toBe(false);
  expect(await matches("", place)).toBe(false);
});

test("of a long line the end is remembered", () => {
  const line = Buffer.from("x".repeat(1000));
  expect(tailFingerprint(line, 5000)).toEqual(fingerprintOf(line.subarray(0, 256), 4744));
});
