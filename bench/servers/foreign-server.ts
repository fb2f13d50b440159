// A server that was not written in JavaScript, as a peer: on a free port of the loopback, with its data in a folder of its
// own, ended with the process that started it.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { announce } from "./server-options.ts";

/** The readiness of such a server can only be asked for. */
const POLL_MS = 20;

export interface ForeignCommand {
  readonly command: string;
  readonly arguments: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Run beside it, before it; ended with it. */
  readonly helpers?: readonly ForeignCommand[];
}

export interface ForeignServer {
  readonly name: string;
  readonly version: string;
  /** In which its own folder is made: on the disk whose syncs are measured, where it stores. */
  readonly parentFolder: string;
  /** `folder` is empty, `port` was free a moment ago. */
  readonly prepare: (place: { readonly folder: string; readonly port: number }) => Promise<ForeignCommand>;
}

/** What such a server is told on its command line: its program, where it was built; its version; the folder in which its own is made. */
export function parseForeignOptions(): Pick<ForeignServer, "version" | "parentFolder"> & { readonly program: string } {
  const text = { type: "string", default: "" } as const;
  const { values } = parseArgs({ options: { program: text, data: text, version: text } });
  return { program: values.program, version: values.version, parentFolder: values.data };
}

/** Starts it, says where it listens when it does, and ends with it. */
export async function runForeignServer({ name, version, parentFolder, prepare }: ForeignServer): Promise<void> {
  const folder = await mkdtemp(join(parentFolder, `bench-${name}-`));
  const port = await freePort();
  const command = await prepare({ folder, port });
  const helpers = (command.helpers ?? []).map(start);
  const server = start(command);
  server.once("exit", (code) => {
    for (const helper of helpers) helper.kill();
    process.exitCode = code ?? 0;
    void rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => server.kill("SIGTERM"));
  await untilListening(port);
  announce(version, `127.0.0.1:${port}`);
}

/** A port that was free a moment ago: such a server cannot pick one. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** setpriv: whatever ends this process, even SIGKILL, ends the server too. */
function start({ command, arguments: words, environment }: ForeignCommand) {
  return spawn("setpriv", ["--pdeathsig", "TERM", command, ...words], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...environment },
  });
}

async function untilListening(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    const isThere = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (isThere) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
