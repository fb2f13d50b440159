// A disk that is really full: a small tmpfs.
import { execFileSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "vitest";
import { openTemporaryFolder } from "./temporary-folder.ts";

/** A file system of 4 MB, in the folder "small". */
export async function mountSmallDisk({
  skip,
}: TestContext): Promise<AsyncDisposable & { folder: string; mount: string }> {
  const resources = new AsyncDisposableStack();
  const { path: folder } = resources.use(await openTemporaryFolder("full-disk"));
  const mount = join(folder, "small");
  await mkdir(mount);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", mount], { stdio: "ignore" });
  } catch {
    await resources.disposeAsync();
    skip("needs root, to mount a small tmpfs");
  }
  resources.defer(() => void execFileSync("umount", [mount]));
  return { folder, mount, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
