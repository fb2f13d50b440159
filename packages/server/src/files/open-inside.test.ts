// No path leads outside of a shared folder.
import { execFileSync } from "node:child_process";
import { mkdir, rename, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PermissionDenied, type SluiceError } from "../errors.ts";
import { OpenedService } from "./testing/opened-service.ts";

let files: OpenedService;
beforeEach(async () => {
  files = await OpenedService.open();
});
afterEach(() => files[Symbol.asyncDispose]());

async function put(name: string, text: string, folder = files.home): Promise<void> {
  await writeFile(join(folder, name), text);
}

const refused = async (filePath: string): Promise<void> => {
  for (const ask of [() => files.start({ filePath }), () => files.info({ filePath })]) {
    const error = await ask().then(
      () => new Error(`${filePath} was opened`),
      (each: unknown) => each,
    );
    expect(error).toBeInstanceOf(PermissionDenied);
    expect((error as SluiceError).message).toBe(new PermissionDenied().message);
  }
};

test("what lies outside, is a link or is no file is found by no path", async () => {
  await put("secret", "outside", files.outside);
  await mkdir(join(files.home, "folder"));
  await put("inside", "inside");
  await put(".hidden", "hidden");
  await symlink(join(files.outside, "secret"), join(files.home, "link-out"));
  await symlink("inside", join(files.home, "link-in"));
  await symlink(files.outside, join(files.home, "folder-link"));
  await symlink("../../outside", join(files.home, "folder", "up"));
  execFileSync("mkfifo", [join(files.home, "fifo")]);
  const socket = createServer().listen(join(files.home, "socket"));
  const paths = [
    "missing",
    "folder/missing",
    "inside/below",
    "../outside/secret",
    "folder/../../outside/secret",
    join(files.outside, "secret"),
    "link-out",
    "link-in",
    "folder-link/secret",
    "folder-link",
    "folder/up/secret",
    "fifo",
    "socket",
    ".hidden",
    "named/../home/inside",
    "named/missing",
    "x".repeat(300),
    "a\0b",
  ];
  for (const path of paths) await refused(path);
  socket.close();
  expect((await files.download({ filePath: "inside" })).data.toString()).toBe("inside");
});

test("nothing outside comes through a folder that is swapped for a link while it is read", async () => {
  await mkdir(join(files.home, "folder"));
  await put("folder/a", "inside");
  await put("a", "outside", files.outside);
  const folder = join(files.home, "folder");
  const aside = join(files.home, "aside");
  const link = join(files.home, "link");
  await symlink(files.outside, link);
  let isOver = false;
  const swapping = (async () => {
    let swaps = 0;
    while (!isOver) {
      await rename(folder, aside);
      await rename(link, folder);
      await rename(folder, link);
      await rename(aside, folder);
      swaps++;
    }
    return swaps;
  })();
  const answers = new Map<string, number>();
  const downloadOnce = async (): Promise<void> => {
    const answer = await files.download({ filePath: "folder/a" }).then(
      ({ data }) => data.toString(),
      (error: unknown) => (error instanceof PermissionDenied ? "refused" : String(error)),
    );
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
  };
  for (let i = 0; i < 10_000; i += 20) await Promise.all(Array.from({ length: 20 }, downloadOnce));
  isOver = true;
  expect(await swapping).toBeGreaterThan(100);
  expect([...answers.keys()].toSorted()).toEqual(["inside", "refused"]);
  expect(answers.get("inside")).toBeGreaterThan(100);
  expect(answers.get("refused")).toBeGreaterThan(100);
}, 60_000);

test("a folder says that it is one", async () => {
  await mkdir(join(files.home, "folder"));
  await expect(files.start({ filePath: "folder" })).rejects.toMatchObject({
    facts: { reason: "IS_DIRECTORY", violations: [{ field: "file_path" }] },
  });
  expect(await files.info({ filePath: "folder" })).toMatchObject({ filePath: "folder", isDirectory: true });
});
