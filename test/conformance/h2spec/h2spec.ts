// h2spec, the conformance suite for HTTP/2 servers: built from source at the versions of go.mod beside, then run.
//
// As a program (`node --conditions=sluice-source test/conformance/h2spec/h2spec.ts`) it prints every case, the strict ones
// included; the last line is "N passed, N failed, N skipped", and the exit code 0 only when all passed.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { rootFolder, runCommand } from "../../../scripts/command.ts";
import { startPlainServer } from "./plain-server.ts";

/** Named by its version in go.mod, so that another one is built anew. */
const BINARY = join(rootFolder, ".cache", "h2spec-2.2.1", "h2spec");
const PACKAGE = "github.com/summerwind/h2spec/cmd/h2spec";

export type H2spec =
  | { readonly kind: "ready"; readonly path: string }
  | { readonly kind: "missing"; readonly reason: string };

/** Finds h2spec in the ignored folder `.cache/`, or builds it there. Nothing is fetched unless `mayFetch`. */
export async function findH2spec(options: { mayFetch: boolean }): Promise<H2spec> {
  if (existsSync(BINARY)) return { kind: "ready", path: BINARY };
  if (!options.mayFetch)
    return { kind: "missing", reason: "h2spec is not built yet: run test/conformance/h2spec/h2spec.ts" };
  const version = await runCommand(["go", "version"]).catch(() => undefined);
  if (version?.code !== 0) return { kind: "missing", reason: "h2spec is written in Go, and there is no Go here" };
  const build = await runCommand(["go", "build", "-o", BINARY, PACKAGE], { cwd: import.meta.dirname });
  if (build.code !== 0) return { kind: "missing", reason: `h2spec could not be built: ${build.output.trim()}` };
  return { kind: "ready", path: BINARY };
}

export interface H2specResult {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** What h2spec printed. */
  readonly output: string;
}

/** Runs all of h2spec against 127.0.0.1; `isStrict` adds the cases that the RFC leaves open. */
export async function runH2spec(path: string, port: number, options: { isStrict: boolean }): Promise<H2specResult> {
  const strict = options.isStrict ? ["--strict"] : [];
  const { output } = await runCommand([path, "--host", "127.0.0.1", "--port", String(port), ...strict]);
  const counts = /(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed/.exec(output);
  if (counts === null) throw new Error(`h2spec did not come to its end:\n${output}`);
  return { passed: Number(counts[2]), skipped: Number(counts[3]), failed: Number(counts[4]), output };
}

async function main(): Promise<number> {
  const h2spec = await findH2spec({ mayFetch: true });
  if (h2spec.kind === "missing") {
    process.stdout.write(`SKIPPED: ${h2spec.reason}\n0 passed, 0 failed, 1 skipped\n`);
    return 1;
  }
  await using server = await startPlainServer();
  const { output, passed, failed, skipped } = await runH2spec(h2spec.path, server.port, { isStrict: true });
  process.stdout.write(`${output}\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  return failed + skipped > 0 ? 1 : 0;
}

if (import.meta.main) process.exitCode = await main();
