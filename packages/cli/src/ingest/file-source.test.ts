import { mkdtemp, open, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { factsOf, FileSource, type StartPlace } from "./file-source.ts";

async function openSource(text: string, start?: StartPlace): Promise<{ source: FileSource; path: string }> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-source-"));
  const path = join(folder, "a.log");
  await writeFile(path, text);
  const handle = await open(path, "r");
  const source = await FileSource.open(handle, (await factsOf(handle)).key, start);
  onTestFinished(async () => {
    await source.close();
    await rm(folder, { recursive: true });
  });
  return { source, path };
}

async function read(source: FileSource): Promise<unknown> {
  const result = await source.read();
  return result.kind === "pieces" ? result.pieces.map(({ bytes }) => Buffer.from(bytes).toString()) : result.kind;
}

test("a file that was cut off below its place, before anything of it was read, is told", async () => {
  const { source, path } = await openSource("one\ntwo\nthree\n", { offset: 8, part: 0 });
  await truncate(path, 4);
  expect(await read(source)).toBe("truncated");
});

test("at its end a file that is as long as it was is no news", async () => {
  const { source } = await openSource("one\n");
  expect([await read(source), await read(source), await read(source)]).toEqual([["one"], "end", "end"]);
});

test("where an earlier run made cuts, lines end, and it is said; those behind the start alone count", async () => {
  const { source } = await openSource("one\ntwo\nthree\nfour", { offset: 4, part: 0, cuts: [4, 6, 8, 14] });
  const seen: unknown[] = [];
  for (let i = 0; i < 9; i++) seen.push(await read(source));
  // A cut in the middle of a line makes two of it, one at a line's end none more.
  expect(seen).toEqual([[], ["tw"], "cut", ["o"], "cut", ["three"], "cut", [], "end"]);
  expect(source.takeRest()?.bytes).toEqual(Buffer.from("four"));
});
