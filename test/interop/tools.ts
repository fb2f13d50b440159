// Clients that others wrote, at pinned versions, in the ignored folder `.cache/`.
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { rootFolder, runCommand } from "../../scripts/command.ts";

export type Tool =
  | { readonly kind: "ready"; readonly path: string }
  | { readonly kind: "missing"; readonly reason: string };

export interface FindOptions {
  /** Fetch and build what is not there yet. */
  readonly mayFetch: boolean;
}

/** What the suite does on its own: only where the full run was asked for it may fetch. */
export const mayFetch: boolean = process.env["SLUICE_SUITE"] === "full";

const GRPCURL_VERSION = "1.9.3";
const GRPCIO_VERSION = "1.85.1";
const HOW = "run node --conditions=sluice-source test/interop/install.ts";

/** grpcurl, the command line client that people try a gRPC server with; written in Go. */
export async function findGrpcurl(options: FindOptions): Promise<Tool> {
  // Named by its version, so that another one is built anew.
  const folder = join(rootFolder, ".cache", "bin", `grpcurl-${GRPCURL_VERSION}`);
  const path = join(folder, "grpcurl");
  if (existsSync(path)) return { kind: "ready", path };
  if (!options.mayFetch) return { kind: "missing", reason: `grpcurl is not built yet: ${HOW}` };
  const version = await runCommand(["go", "version"]).catch(() => undefined);
  if (version?.code !== 0) return { kind: "missing", reason: "grpcurl is written in Go, and there is no Go here" };
  const source = `github.com/fullstorydev/grpcurl/cmd/grpcurl@v${GRPCURL_VERSION}`;
  const build = await runCommand(["go", "install", source], { env: { GOBIN: folder } });
  if (build.code !== 0) return { kind: "missing", reason: `grpcurl could not be built: ${build.output.trim()}` };
  return { kind: "ready", path };
}

/** A Python interpreter that has grpcio, with stubs made from this repository's proto/ beside it. */
export async function findPython(options: FindOptions): Promise<Tool & { readonly stubs?: string }> {
  const folder = join(rootFolder, ".cache", `grpcio-${GRPCIO_VERSION}`);
  const path = join(folder, "bin", "python");
  if (!existsSync(path)) {
    if (!options.mayFetch) return { kind: "missing", reason: `grpcio is not installed yet: ${HOW}` };
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
  const files = ["sluice/stream/v1/stream.proto", "sluice/logs/v1/logs.proto", "seed.proto"];
  const made = await runCommand(
    [python, "-m", "grpc_tools.protoc", `-I${proto}`, `--python_out=${stubs}`, `--grpc_python_out=${stubs}`, ...files],
    { cwd: proto },
  );
  if (made.code !== 0) throw new Error(`Python's stubs could not be made:\n${made.output}`);
  return stubs;
}
