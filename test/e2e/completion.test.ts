// What shells complete, with the scripts that `sluice completion` prints, in the shells themselves.
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await openTemporaryFolder("completion");
});
afterAll(() => folder[Symbol.asyncDispose]());

/** How a shell is asked what it completes: `$1` is the script, the others are the words of the command line. */
const ASK = {
  bash: [
    'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sluice; printf "%s\\n" "${COMPREPLY[@]}"',
    "bash",
  ],
  // What zsh's completion offers is printed instead: there is no line editor here.
  zsh: [
    `compdef() { }; compadd() { print -l -- "\${(P@)2}" }; _files() { print FILES }
     compset() { PREFIX=\${PREFIX#*=} }; _describe() { print -l -- "\${(P@)argv[-1]}" }
     source "$1"; shift; words=("$@"); CURRENT=$#; PREFIX=\${@[-1]}; _sluice`,
    "zsh",
  ],
  fish: ['source $argv[1]; complete -C (string join " " -- $argv[2..-1])'],
} as const;

type Shell = keyof typeof ASK;
const SHELLS = Object.keys(ASK) as Shell[];
const isInstalled = (shell: Shell) => spawnSync(shell, ["-c", "true"]).status === 0;

async function openScript(shell: Shell): Promise<string> {
  const { stdout, exitCode } = await callCli(["completion", shell], { folder: folder.path }).ended;
  expect(exitCode).toBe(0);
  const path = join(folder.path, shell);
  await writeFile(path, stdout);
  return path;
}

describe.for(SHELLS)("%s", (shell) => {
  /** The words that are offered for the last one. */
  async function complete(...words: string[]): Promise<string[]> {
    const script = await openScript(shell);
    const { stdout, stderr } = spawnSync(shell, ["-c", ...ASK[shell], script, "sluice", ...words], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    const offered = stdout.split("\n").map((line) => line.split(/(?<!\\)[:\t]/u)[0]!.trim());
    return offered.filter((word) => word !== "" && word.startsWith(words.at(-1)!.replace(/^.*=/u, "")));
  }

  test.skipIf(!isInstalled(shell))("commands, their commands, options and choices", async () => {
    expect(await complete("")).toEqual(
      expect.arrayContaining(["serve", "logs", "queue", "sidecar", "completion", "help"]),
    );
    expect(await complete("side")).toEqual(["sidecar"]);
    expect(await complete("queue", "pe")).toEqual(["peek"]);
    expect(await complete("queue", "schedule", "")).toEqual(expect.arrayContaining(["put", "ls", "rm"]));
    expect(await complete("queue", "work", "--sl")).toEqual(["--slots"]);
    expect(await complete("--ver")).toEqual(["--version"]);
    expect(await complete("completion", "z")).toEqual(["zsh"]);
  });

  test.skipIf(!isInstalled(shell))("what stands before decides: values of options are no commands", async () => {
    expect(await complete("queue", "ls", "--output", "")).toEqual(["text", "json"].toSorted(byShell));
    expect(await complete("queue", "ls", "--output", "json", "--ser")).toEqual(["--server"]);
    expect(await complete("queue", "work", "tax", "--exec", "ls", "--wor")).toEqual(["--worker-id"]);
    expect(await complete("logs", "--application", "push", "--fol")).toEqual(["--follow"]);
    expect(await complete("logs", "push", "--fol")).not.toEqual([]);
  });

  function byShell(a: string, b: string): number {
    return shell === "fish" ? a.localeCompare(b) : 0;
  }
});

async function ask(shell: "bash" | "zsh", ...words: string[]): Promise<string[]> {
  const script = await openScript(shell);
  const { stdout } = spawnSync(shell, ["-c", ...ASK[shell], script, "sluice", ...words], { encoding: "utf8" });
  return stdout.trim().split("\n");
}

test.skipIf(!isInstalled("bash"))("--option=value, which bash splits", async () => {
  expect(await ask("bash", "queue", "ls", "--output", "=")).toEqual(["text", "json"]);
  expect(await ask("bash", "queue", "ls", "--output", "=", "j")).toEqual(["json"]);
  expect(await ask("bash", "queue", "ls", "--output", "=", "json", "--ser")).toEqual(["--server"]);
});

test.skipIf(!isInstalled("zsh"))("--option=value, which zsh does not split", async () => {
  expect(await ask("zsh", "queue", "ls", "--output=j")).toEqual(["text", "json"]);
});

test("another shell is a mistake", async () => {
  const { exitCode, stderr } = await callCli(["completion", "csh"], { folder: folder.path }).ended;
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining("Allowed choices are bash, zsh, fish.")]);
});
