// Python's grpcio at a pinned version, in a virtual environment of its own.
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { rootFolder, runCommand } from "../../scripts/command.ts";
import { type FindOptions, HOW_TO_INSTALL, type Tool } from "./tool.ts";

const GRPCIO_VERSION = "1.85.1";

/** A Python interpreter that has grpcio, with stubs made from this repository's proto/ beside it. */
export async function findPython(options: FindOptions): Promise<Tool & { readonly stubs?: string }> {
  const folder = join(rootFolder, ".cache", `grpcio-${GRPCIO_VERSION}`);
  const path = join(folder, "bin", "python");
  if (!existsSync(path)) {
    if (!options.mayFetch) return { kind: "missing", reason: `grpcio is not installed yet: ${HOW_TO_INSTALL}` };
    const made = await installPython(folder);
    if (made !== undefined) return { kind: "missing", reason: made };
  }
  return { kind: "ready", path, stubs: await makeStubs(folder, path) };
}

/** Returns why it could not be installed. A folder with this name is whole: it gets its name last. */
async function installPython(folder: string): Promise<string | undefined> {
  const version = await runCommand(["python3", "--version"]).catch(() => undefined);
  if (version?.code !== 0) return "grpcio needs Python, and there is no python3 here";
  await rm(folder, { recursive: true, force: true });
  const fresh = `${folder}.new`;
  await rm(fresh, { recursive: true, force: true });
  const made = await runCommand(["python3", "-m", "venv", fresh]);
  if (made.code !== 0) return `no virtual environment could be made: ${made.output.trim()}`;
  const wanted = [`grpcio==${GRPCIO_VERSION}`, `grpcio-tools==${GRPCIO_VERSION}`];
  const installed = await runCommand([join(fresh, "bin", "python"), "-m", "pip", "install", "--quiet", ...wanted]);
  if (installed.code !== 0) return `grpcio could not be installed: ${installed.output.trim()}`;
  await rename(fresh, folder);
  return undefined;
}

/** As every user of Python makes them; each time, since the contract may have changed. */
async function makeStubs(folder: string, python: string): Promise<string> {
  const stubs = join(folder, "stubs");
  const proto = join(rootFolder, "proto");
  await mkdir(stubs, { recursive: true });
  // All that the contract is and imports: Python's stubs import each other.
  const all = await readdir(proto, { recursive: true });
  const files = all.filter((name) => /^(sluice|opentelemetry)\/.*\.proto$|^seed\.proto$/.test(name));
  const made = await runCommand(
    [python, "-m", "grpc_tools.protoc", `-I${proto}`, `--python_out=${stubs}`, `--grpc_python_out=${stubs}`, ...files],
    { cwd: proto },
  );
  if (made.code !== 0) throw new Error(`Python's stubs could not be made:\n${made.output}`);
  return stubs;
}
