// What tests of a format on disk have in common: a reader in Python that was written from the description alone, and folders that
// must be the same.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, type TestContext } from "vitest";
import { runCommand } from "../../scripts/command.ts";

/** The objects of a text with one a line. */
export function parseLines(text: string): unknown[] {
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
}

/** What a reader says of a folder; the test is skipped where there is no Python. */
export async function readByDescription(
  { skip }: TestContext,
  { reader, folder }: { readonly reader: string; readonly folder: string },
): Promise<{ code: number | null; stdout: string; output: string }> {
  return runCommand(["python3", reader, folder]).catch((error: unknown) =>
    skip(`there is no python3: ${String(error)}`),
  );
}

/** Every file of both, byte for byte. */
export async function expectSameFiles(made: string, golden: string): Promise<void> {
  const names = (await readdir(golden)).toSorted();
  expect((await readdir(made)).toSorted()).toEqual(names);
  for (const name of names) {
    const written = await readFile(join(made, name));
    expect(written.equals(await readFile(join(golden, name))), name).toBe(true);
  }
}
