import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { run } from "./main.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-main-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** Runs a command line in this process. */
async function runWords(words: string[], options: { environment?: NodeJS.ProcessEnv; isTTY?: boolean } = {}) {
  const text = { stdout: "", stderr: "" };
  const pipe = (name: keyof typeof text) => {
    const stream = Object.assign(new PassThrough(), { isTTY: options.isTTY === true });
    stream.setEncoding("utf8").on("data", (chunk: string) => void (text[name] += chunk));
    return stream;
  };
  const exitCode = await run(words, {
    stdin: new PassThrough(),
    stdout: pipe("stdout"),
    stderr: pipe("stderr"),
    environment: options.environment ?? {},
    folder,
    stop: new AbortController().signal,
  });
  return { exitCode, ...text };
}

describe("help", () => {
  test("lists every command and every exit code", async () => {
    const { exitCode, stdout } = await runWords(["--help"]);
    expect(exitCode).toBe(0);
    for (const name of ["serve", "demo", "logs", "applications", "config", "doctor"]) {
      expect(stdout).toMatch(new RegExp(`^  ${name} +\\S`, "mu"));
    }
    for (const code of [0, 1, 2, 3, 4, 5, 6, 7, 130]) expect(stdout).toMatch(new RegExp(`^ +${code}  \\S`, "mu"));
  });

  test("of a command shows its options; each setting with its default and its variable", async () => {
    const { exitCode, stdout } = await runWords(["help", "serve"]);
    expect(exitCode).toBe(0);
    expect(stdout.replaceAll(/\s+/gu, " ")).toContain(
      "--drain-grace <duration> How long streams may go on after SIGTERM or Ctrl-C before they are ended. (default: 10s; env: SLUICE_DRAIN_GRACE)",
    );
  });
});

describe("a wrong command line is exit code 2, a sentence, and the way to the help", () => {
  test.each([
    [["serv"], "sluice: unknown command 'serv'\n(Did you mean serve?)\n(see sluice --help)\n"],
    [
      ["serve", "--lisen", "x"],
      "sluice: unknown option '--lisen'\n(Did you mean --listen?)\n(see sluice serve --help)\n",
    ],
    [
      ["config", "show", "--output", "xml"],
      "sluice: option '--output <format>' argument 'xml' is invalid. Allowed choices are text, json.\n(see sluice config show --help)\n",
    ],
  ])("%j", async (words, complaint) => {
    expect(await runWords(words)).toEqual({ exitCode: 2, stdout: "", stderr: complaint });
  });
});

describe("config show", () => {
  test("says where each value comes from", async () => {
    await writeFile(join(folder, "sluice.yaml"), "\nheartbeat: 5s\nlimits:\n  filtersMax: 8\n");
    const { exitCode, stdout, stderr } = await runWords(["config", "show", "--origin", "--log-level", "warn"], {
      environment: { SLUICE_DATA: "/srv/sluice", SLUICE_DATTA: "x" },
    });
    expect(exitCode).toBe(0);
    expect(stderr).toBe(`SLUICE_DATTA is not read: did you mean SLUICE_DATA?\nfile: ${folder}/sluice.yaml\n`);
    const rows = stdout.split("\n").map((line) => line.split(/ {2,}/u));
    expect(rows).toContainEqual(["heartbeat", "5s", `${folder}/sluice.yaml:2`]);
    expect(rows).toContainEqual(["limits.filtersMax", "8", `${folder}/sluice.yaml:4`]);
    expect(rows).toContainEqual(["logLevel", "warn", "--log-level"]);
    expect(rows).toContainEqual(["data", "/srv/sluice", "SLUICE_DATA"]);
    expect(rows).toContainEqual(["drainGrace", "10s", "default"]);
  });

  test("as JSON: one object a line", async () => {
    const { stdout } = await runWords(["config", "show", "--origin", "--output", "json", "--insecure-listen"]);
    const rows = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
    expect(rows).toContainEqual({
      key: "insecureListen",
      value: true,
      origin: { kind: "flag", place: "--insecure-listen" },
    });
    expect(rows).toContainEqual({
      key: "listen",
      value: "127.0.0.1:8080",
      origin: { kind: "default", place: "default" },
    });
  });

  test("an error is a sentence, or with --output json an object", async () => {
    const words = ["config", "show", "--heartbeat", "soon"];
    expect((await runWords(words)).stderr).toMatch(
      /^sluice: --heartbeat: heartbeat: "soon" is no duration; allowed is/u,
    );
    const { exitCode, stderr } = await runWords([...words, "--output", "json"]);
    expect(exitCode).toBe(2);
    expect((JSON.parse(stderr) as { error: { message: string } }).error.message).toMatch(/^--heartbeat: /u);
  });

  test("colours are for terminals", async () => {
    expect((await runWords(["config", "show", "--origin"], { isTTY: true })).stdout).toContain(
      "\u001b[2mdefault\u001b[22m",
    );
    expect((await runWords(["config", "show", "--origin"])).stdout).not.toContain("\u001b");
  });
});
