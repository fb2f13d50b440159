// The first example of the package's page does what it says.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("the example of packages/rpc/README.md runs", async () => {
  const page = await readFile(join(import.meta.dirname, "../../packages/rpc/README.md"), "utf8");
  const code = /^```ts\n([^]*?)^```$/m.exec(page)?.[1] ?? "";
  const options = ["--conditions=sluice-source", "--input-type=module-typescript", "--eval", code];
  // Here lies the `gen` that the example imports.
  const run = await promisify(execFile)(process.execPath, options, { cwd: import.meta.dirname });
  expect(run).toEqual({ stdout: "hello\n", stderr: "" });
});
