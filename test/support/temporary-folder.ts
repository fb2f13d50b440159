// A folder of its own for each test that asks for one.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new, empty folder that is gone, with all that is in it, when it is disposed. */
export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
}

/** @param name for whoever finds it after a crash. */
export async function openTemporaryFolder(name = "test"): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), `sluice-${name}-`));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
