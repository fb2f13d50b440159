// Records docs/terminal.svg: runs the commands below in a real terminal (util-linux' `script`) against a real server, and
// draws what they wrote, colours and all. Nothing is edited; what is shown is typed.
//
//   node scripts/record-terminal.ts [FILE]

import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootFolder, runCommand } from "./command.ts";
import { drawTerminal } from "./terminal-picture.ts";

const columns = 112;
const address = "127.0.0.1:8080";

/** What is typed, in order. The server runs on beside the others until it is stopped. */
const serve = "npx sluice serve --data ./data";
const commands = [
  "node examples/shop.js | npx sluice logs push --application shop",
  "npx sluice logs --application shop --level warn --tail 6",
  "npx sluice logs --application shop --filter 'status<400' --filter 'article~^tea' --tail 3",
  "npx sluice applications",
];
const doctor = "npx sluice doctor --data ./data";

/** The session as a shell program that shows each command as if it had been typed. */
function sessionProgram(): string {
  const type = (command: string): string => `printf '\\033[32m$\\033[39m %s\\n' ${quote(command)}`;
  return [
    // Job control, as at a prompt: the server is a group of its own, and `kill %1` reaches all of it.
    "set -um",
    `stty cols ${columns} rows 60`,
    type(`${serve} &`),
    `${serve} &`,
    `until (exec 3<>/dev/tcp/${address.replace(":", "/")}) 2>/dev/null; do sleep 0.05; done`,
    ...commands.flatMap((command) => [type(command), command]),
    type("kill %1"),
    "kill %1",
    "wait",
    // npx ends before the server that it started: until the whole group is gone.
    "while kill -0 -- -$! 2>/dev/null; do sleep 0.05; done",
    type(doctor),
    doctor,
    "",
  ].join("\n");
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Runs the session in a folder like a fresh checkout. @returns what the terminal got */
async function record(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-record-"));
  try {
    for (const name of ["node_modules", "examples"]) await symlink(join(rootFolder, name), join(folder, name));
    await writeFile(join(folder, "package.json"), '{ "private": true }\n');
    await writeFile(join(folder, "session.sh"), sessionProgram());
    await mkdir(join(folder, "home"));
    const env = {
      HOME: join(folder, "home"),
      XDG_STATE_HOME: join(folder, "home"),
      TERM: "xterm",
      NO_COLOR: undefined,
      SLUICE_LISTEN: address,
      SLUICE_SERVER: address,
      // Of npm's own: neither a spinner nor advice belongs into the picture.
      npm_config_progress: "false",
      npm_config_loglevel: "error",
    };
    const { code, stdout } = await runCommand(["script", "-qec", "bash session.sh", "/dev/null"], { cwd: folder, env });
    if (code !== 0) throw new Error(`The session ended with exit code ${code}:\n${stdout}`);
    return stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const file = process.argv[2] ?? join(rootFolder, "docs", "terminal.svg");
  await writeFile(file, drawTerminal(await record(), { title: "sluice", columns }));
}
