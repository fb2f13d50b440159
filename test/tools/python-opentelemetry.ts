// OpenTelemetry's SDK for Python with both its OTLP exporters at a pinned version, in a virtual environment of its own.
import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { rootFolder, runCommand } from "../../scripts/command.ts";
import { type FindOptions, HOW_TO_INSTALL, type Tool } from "./tool.ts";

const VERSION = "1.45.2";
const PACKAGES = ["sdk", "exporter-otlp-proto-grpc", "exporter-otlp-proto-http"];

/** A Python interpreter that has it. */
export async function findPythonOpenTelemetry(options: FindOptions): Promise<Tool> {
  const folder = join(rootFolder, ".cache", `opentelemetry-python-${VERSION}`);
  const path = join(folder, "bin", "python");
  if (existsSync(path)) return { kind: "ready", path };
  if (!options.mayFetch) return { kind: "missing", reason: `Python's SDK is not installed yet: ${HOW_TO_INSTALL}` };
  const problem = await install(folder);
  return problem === undefined ? { kind: "ready", path } : { kind: "missing", reason: problem };
}

/** Returns why it could not be installed. A folder with this name is whole: it gets its name last. */
async function install(folder: string): Promise<string | undefined> {
  const version = await runCommand(["python3", "--version"]).catch(() => undefined);
  if (version?.code !== 0) return "OpenTelemetry's SDK for Python needs Python, and there is no python3 here";
  await rm(folder, { recursive: true, force: true });
  const fresh = `${folder}.new`;
  await rm(fresh, { recursive: true, force: true });
  const made = await runCommand(["python3", "-m", "venv", fresh]);
  if (made.code !== 0) return `no virtual environment could be made: ${made.output.trim()}`;
  const wanted = PACKAGES.map((name) => `opentelemetry-${name}==${VERSION}`);
  const installed = await runCommand([join(fresh, "bin", "python"), "-m", "pip", "install", "--quiet", ...wanted]);
  if (installed.code !== 0) return `OpenTelemetry's SDK could not be installed: ${installed.output.trim()}`;
  await rename(fresh, folder);
  return undefined;
}
