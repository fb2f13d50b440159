import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FolderInUse } from "../errors.ts";
import { openDataFolder } from "./data-folder.ts";
import { nodeFileSystem as fileSystem } from "./file-system-node.ts";

async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "sluice-folder-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

describe("a data folder", () => {
  test("is made, with a version, and lists its logs", async () => {
    await using temporary = await temporaryFolder();
    const folder = join(temporary.path, "a/b/data");
    await using opened = await openDataFolder({ folder, fileSystem });
    expect(await readFile(join(folder, "FORMAT"), "utf8")).toBe("sluice-data 1\n");
    expect(opened.logFolder("default")).toBe(`${folder}/logs/default`);
    await fileSystem.makeFolder(opened.logFolder("audit"));
    await fileSystem.makeFolder(opened.logFolder("default"));
    expect(await opened.listLogs()).toEqual(["audit", "default"]);
    for (const name of ["", "..", "a/b", "a\\b", ".hidden"])
      expect(() => opened.logFolder(name)).toThrow(/name of a log/);
  });

  test("of a later version is refused, in a sentence, and left alone", async () => {
    await using temporary = await temporaryFolder();
    await writeFile(join(temporary.path, "FORMAT"), "sluice-data 2\n");
    const opening = openDataFolder({ folder: temporary.path, fileSystem });
    await expect(opening).rejects.toThrow(/format 2, this version of Sluice reads 1/);
    await expect(opening).rejects.toMatchObject({ kind: "failed-precondition", facts: { reason: "FOLDER_FORMAT" } });
    expect(await readdir(temporary.path)).not.toContain("logs");
    // It is free again.
    await writeFile(join(temporary.path, "FORMAT"), "sluice-data 1\n");
    await using _opened = await openDataFolder({ folder: temporary.path, fileSystem });
  });

  test("of somebody else is refused", async () => {
    await using temporary = await temporaryFolder();
    await writeFile(join(temporary.path, "FORMAT"), "something else\n");
    await expect(openDataFolder({ folder: temporary.path, fileSystem })).rejects.toThrow(/not one of Sluice's/);
  });

  test("belongs to one opener at a time, also within a process", async () => {
    await using temporary = await temporaryFolder();
    {
      await using _opened = await openDataFolder({ folder: temporary.path, fileSystem });
      const second = openDataFolder({ folder: temporary.path, fileSystem });
      await expect(second).rejects.toThrow(FolderInUse);
      await expect(second).rejects.toThrow(`process ${process.pid}`);
    }
    await using _again = await openDataFolder({ folder: temporary.path, fileSystem });
  });

  test("stays its process's when nothing there refers to it any more, and is free at once when that was killed", async () => {
    await using temporary = await temporaryFolder();
    const lock = new URL("./lock.ts", import.meta.url).href;
    const program = `import { lockFolder } from "${lock}"; lockFolder(process.argv[1]); await null; gc();
      process.stdout.write("locked"); setInterval(() => {}, 1000);`;
    const child = spawn(
      process.execPath,
      ["--conditions=sluice-source", "--expose-gc", "--input-type=module", "-e", program, temporary.path],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    // Also when the test fails: vitest waits for whoever holds its standard error.
    using _ended = { [Symbol.dispose]: () => child.kill("SIGKILL") };
    await once(child.stdout, "data");
    const opening = openDataFolder({ folder: temporary.path, fileSystem });
    await expect(opening).rejects.toThrow(`process ${child.pid}`);
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    await using _opened = await openDataFolder({ folder: temporary.path, fileSystem });
    expect(await readFile(join(temporary.path, "OWNER"), "utf8")).toContain(`process ${process.pid} `);
  });
});
