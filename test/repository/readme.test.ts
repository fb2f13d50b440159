// The README's tour, executed: every command in it, in its order, says what the page promises.
//
// A remark above a block tells what the reader knows from the text around it:
//   stays                 it runs on while the next ones are typed
//   says "PATTERN"        what must be among what it writes; may be repeated
//   needs grpcurl         it is left out where there is none
//   after the server      the server is stopped before

import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rootFolder } from "../../scripts/command.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { type CodeBlock, findCodeBlocks } from "./code-blocks.ts";
import { TerminalSession } from "./terminal-session.ts";

const tour = findCodeBlocks(await readFile(join(rootFolder, "README.md"), "utf8")).filter(
  ({ heading, language }) => heading === "The five-minute tour" && language === "sh",
);

const grpcurl = await findGoTool("grpcurl", { mayFetch: false });

let folder: string;
let env: NodeJS.ProcessEnv;
let server: TerminalSession | undefined;
let address = "";
const running: TerminalSession[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-tour-"));
  await symlink(join(rootFolder, "node_modules"), join(folder, "node_modules"));
  await symlink(join(rootFolder, "examples"), join(folder, "examples"));
  await writeFile(join(folder, "package.json"), '{ "private": true }\n');
  await mkdir(join(folder, "home"));
  env = {
    ...process.env,
    PATH: [
      join(folder, "node_modules", ".bin"),
      ...(grpcurl.kind === "ready" ? [dirname(grpcurl.path)] : []),
      process.env["PATH"],
    ].join(delimiter),
    HOME: join(folder, "home"),
    XDG_STATE_HOME: join(folder, "home"),
    npm_config_update_notifier: "false",
    NO_COLOR: "1",
    // The page says 8080; here any free port will do.
    SLUICE_LISTEN: "127.0.0.1:0",
  };
});

afterAll(async () => {
  for (const session of running) await session.interrupt();
  await rm(folder, { recursive: true, force: true });
});

function open(block: CodeBlock): TerminalSession {
  const session = new TerminalSession(block.code.replaceAll("localhost:8080", address), { cwd: folder, env });
  running.push(session);
  return session;
}

function saidBy({ remark = "" }: CodeBlock): RegExp[] {
  return [...remark.matchAll(/"(?<pattern>(?:[^"\\]|\\.)*)"/g)].map(
    ({ groups }) => new RegExp(groups?.["pattern"] ?? ""),
  );
}

async function startServer(block: CodeBlock): Promise<void> {
  server = open(block);
  const match = await server.hasSaid(/listening on (?<address>\S+)/);
  address = match.groups?.["address"] ?? "";
  // A server that is started again is found where it was.
  env["SLUICE_LISTEN"] = address;
  env["SLUICE_SERVER"] = address;
}

function findBlock(word: string): CodeBlock {
  const block = tour.find(({ code }) => code.includes(word));
  if (block === undefined) throw new Error(`The tour has no command with ${word}`);
  return block;
}

/** How often the follower has seen the shop close. */
function closings({ stdout }: TerminalSession): number {
  return stdout.split("the shop is closed").length - 1;
}

test("the tour has a server, commands to type, a follower and a worker", () => {
  expect(tour.length).toBeGreaterThan(5);
  expect(tour.filter(({ remark = "" }) => remark.startsWith("stays")).length).toBe(3);
  expect(tour.every((block) => saidBy(block).length > 0)).toBe(true);
});

describe("each command", () => {
  test.for(tour.map((block) => [block.code.trim(), block] as const))("%s", async ([code, block], { skip }) => {
    const { remark = "" } = block;
    if (remark.includes("needs grpcurl") && grpcurl.kind === "missing") skip(grpcurl.reason);
    if (code.includes(" serve ")) return startServer(block);
    if (remark.includes("after the server")) await server?.interrupt();

    const session = open(block);
    for (const pattern of saidBy(block)) await session.hasSaid(pattern);
    if (code.includes("--follow")) return seesARestart(session);
    if (remark.startsWith("stays")) {
      await session.interrupt();
      return;
    }
    expect({ code: await session.end(), output: session.output }).toMatchObject({ code: 0 });
  });
});

/** What the page says of the follower: the server ends and comes back, and nothing is missing or repeated. */
async function seesARestart(follower: TerminalSession): Promise<void> {
  const before = closings(follower);
  await server?.interrupt();
  await startServer(findBlock(" serve "));
  expect(await open(findBlock("logs push")).end()).toBe(0);
  await expect.poll(() => closings(follower), { timeout: 60_000 }).toBe(before + 1);

  const history = open({ ...findBlock("--follow"), code: "npx sluice logs --application shop\n" });
  expect(await history.end()).toBe(0);
  expect(follower.stdout).toBe(history.stdout);
}
