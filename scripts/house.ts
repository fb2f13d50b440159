// House rules that no tool knows: how files and folders are called, and that no check is switched off in place.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { rootFolder, runCommand } from "./command.ts";

/** Names that say nothing about what is inside. */
const emptyNames = new Set(["utils", "util", "helpers", "helper", "common", "managers", "manager", "misc"]);

const kebabCase = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+)*$/;

// Written apart, so that this file does not report itself.
const switchOffs = new RegExp(
  ["oxlint" + "-disable", "eslint" + "-disable", "@ts" + "-(?:ignore|expect-error|nocheck)"].join("|"),
);

/**
 * What breaks a house rule in one file.
 * @param path relative to the repository, with forward slashes
 * @returns findings as `path[:line] sentence`
 */
export function findHouseBreaks(path: string, text: string): string[] {
  const findings: string[] = [];
  for (const part of path.split("/")) {
    if (!kebabCase.test(part)) findings.push(`${path} ${part} is not in kebab-case.`);
    const [stem = part] = part.split(".");
    if (emptyNames.has(stem))
      findings.push(`${path} ${part} says nothing about what is inside: name it for what it holds.`);
  }
  for (const [index, line] of text.split("\n").entries()) {
    if (switchOffs.test(line))
      findings.push(`${path}:${index + 1} A check is switched off in place: mend the code or change the rule for all.`);
  }
  return findings;
}

/** Checks every TypeScript and JavaScript file of ours that git knows or would take. */
export async function checkHouseRules(): Promise<string[]> {
  const listing = await runCommand(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.ts", "*.js"]);
  if (listing.code !== 0) throw new Error(`Cannot list the repository's files:\n${listing.output}`);
  const paths = listing.stdout
    .split("\n")
    .filter((path) => path !== "" && !path.includes("/gen/") && !path.startsWith("test/fixtures/"));
  const findings = await Promise.all(
    paths.map(async (path) => findHouseBreaks(path, await readFile(join(rootFolder, path), "utf8").catch(() => ""))),
  );
  return findings.flat();
}
