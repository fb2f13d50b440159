import { expect, test } from "vitest";
import type { File, FileSystem } from "./file-system.ts";
import { FilePool } from "./file-pool.ts";

/** A file system whose files only count who has them open. */
class CountingFiles {
  readonly open = new Map<string, number>();
  readonly opened: string[] = [];
  failNext = false;

  get fileSystem(): FileSystem {
    const refuse = () => Promise.reject(new Error("Not part of this test"));
    return {
      open: async (path) => {
        if (this.failNext) {
          this.failNext = false;
          throw new Error("cannot open");
        }
        this.opened.push(path);
        this.open.set(path, (this.open.get(path) ?? 0) + 1);
        return this.#file(path);
      },
      list: refuse,
      makeFolder: refuse,
      rename: refuse,
      remove: refuse,
      syncFolder: refuse,
      freeBytes: refuse,
      removeFolder: refuse,
    };
  }

  get count(): number {
    return [...this.open.values()].reduce((sum, count) => sum + count, 0);
  }

  #file(path: string): File {
    const refuse = () => Promise.reject(new Error("Not part of this test"));
    return {
      read: refuse,
      readSync: () => 0,
      write: refuse,
      sync: refuse,
      truncate: refuse,
      size: refuse,
      close: async () => {
        this.open.set(path, this.open.get(path)! - 1);
      },
    };
  }
}

const nothing = () => Promise.resolve();

test("a file is opened once for all who use it, and stays open for the next", async () => {
  const files = new CountingFiles();
  const pool = new FilePool(files.fileSystem, { openMax: 2 });
  await Promise.all([pool.use("a", nothing), pool.use("a", nothing)]);
  await pool.use("a", nothing);
  expect(files.opened).toEqual(["a"]);
  await pool.close();
  expect(files.count).toBe(0);
});

test("beyond the bound, the file that was used least recently is closed", async () => {
  const files = new CountingFiles();
  const pool = new FilePool(files.fileSystem, { openMax: 2 });
  for (const path of ["a", "b", "a", "c"]) await pool.use(path, nothing);
  await expect.poll(() => files.count).toBe(2);
  await pool.use("a", nothing);
  await pool.use("b", nothing);
  expect(files.opened).toEqual(["a", "b", "c", "b"]);
  await pool.close();
});

test("a file that is in use is not closed, neither by the bound nor when it is forgotten", async () => {
  const files = new CountingFiles();
  const pool = new FilePool(files.fileSystem, { openMax: 1 });
  const { promise, resolve } = Promise.withResolvers<void>();
  const using = pool.use("a", () => promise);
  await pool.use("b", nothing);
  pool.forget("a");
  await pool.use("a", nothing);
  expect(files.open.get("a")).toBe(2);
  resolve();
  await using;
  await expect.poll(() => files.open.get("a")).toBe(1);
  await pool.close();
  expect(files.count).toBe(0);
});

test("a file that could not be opened is tried again", async () => {
  const files = new CountingFiles();
  const pool = new FilePool(files.fileSystem, { openMax: 1 });
  files.failNext = true;
  await expect(pool.use("a", nothing)).rejects.toThrow("cannot open");
  await pool.use("a", nothing);
  expect(files.opened).toEqual(["a"]);
  await pool.close();
});
