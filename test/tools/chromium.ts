// A browser: Chromium of the system, or Debian's where this machine lets us install it.
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { runCommand } from "../../scripts/command.ts";
import { type FindOptions, HOW_TO_INSTALL, type Tool } from "./tool.ts";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/** Some 100 MB to fetch. */
const INSTALL_TIMEOUT_MS = 300_000;

/** SLUICE_CHROMIUM names it where it is not on PATH. */
export async function findChromium(options: FindOptions): Promise<Tool> {
  const named = process.env["SLUICE_CHROMIUM"] ?? "";
  if (named !== "" && existsSync(named)) return { kind: "ready", path: named };
  if (named !== "") return { kind: "missing", reason: `there is no ${named}, which SLUICE_CHROMIUM names` };
  const path = findFirst();
  if (path !== undefined) return { kind: "ready", path };
  const where = "there is no Chromium on PATH, and SLUICE_CHROMIUM names none";
  if (process.getuid?.() !== 0 || findOnPath("apt-get") === undefined) return { kind: "missing", reason: where };
  if (!options.mayFetch) return { kind: "missing", reason: `${where}: ${HOW_TO_INSTALL}` };
  const problem = (await apt("update")) ?? (await apt("install", "-y", "--no-install-recommends", "chromium"));
  const installed = findFirst();
  if (installed !== undefined) return { kind: "ready", path: installed };
  return { kind: "missing", reason: `${where}; it could not be installed: ${problem ?? "apt-get brought none"}` };
}

function findFirst(): string | undefined {
  return NAMES.map(findOnPath).find((path) => path !== undefined);
}

function findOnPath(name: string): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Returns what went wrong. */
async function apt(...words: readonly string[]): Promise<string | undefined> {
  const { code, output } = await runCommand(["apt-get", "-qq", ...words], {
    env: { DEBIAN_FRONTEND: "noninteractive" },
    timeoutMs: INSTALL_TIMEOUT_MS,
  });
  return code === 0 ? undefined : output.trim().slice(-500);
}
