// HPACK of others: Go's golang.org/x/net/http2/hpack and Python's hpack, each behind a small program of ours.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { rootFolder, runCommand } from "../../../scripts/command.ts";
import type { Story } from "./story.ts";

export interface Peer {
  encode(stories: readonly Story[]): Promise<Story[]>;
  decode(stories: readonly Story[]): Promise<Story[]>;
}

export type FoundPeer =
  | { readonly kind: "ready"; readonly peer: Peer }
  | { readonly kind: "missing"; readonly reason: string };

/** Nothing is fetched unless the full suite was asked for. */
const mayFetch = process.env["SLUICE_SUITE"] === "full";
const HOW = "run SLUICE_SUITE=full npm run differential";
const HPACK_VERSION = "4.2.0";
/** Of the Go module beside; another version is another folder. */
const X_NET_VERSION = "0.48.0";

export async function findGoPeer(): Promise<FoundPeer> {
  const path = join(rootFolder, ".cache", `hpack-go-${X_NET_VERSION}`, "hpack-peer");
  const version = await runCommand(["go", "version"]).catch(() => undefined);
  if (version?.code !== 0) return { kind: "missing", reason: "there is no Go here" };
  if (!existsSync(path) && !mayFetch) return { kind: "missing", reason: `Go's HPACK is not built yet: ${HOW}` };
  const build = await runCommand(["go", "build", "-o", path, "."], { cwd: join(import.meta.dirname, "go") });
  if (build.code !== 0) return { kind: "missing", reason: `Go's HPACK could not be built: ${build.output.trim()}` };
  return { kind: "ready", peer: peerOf([path]) };
}

export async function findPythonPeer(): Promise<FoundPeer> {
  const folder = join(rootFolder, ".cache", `hpack-python-${HPACK_VERSION}`);
  const python = join(folder, "bin", "python");
  if (!existsSync(python)) {
    if (!mayFetch) return { kind: "missing", reason: `Python's hpack is not installed yet: ${HOW}` };
    const reason = await installHpack(folder);
    if (reason !== undefined) return { kind: "missing", reason };
  }
  return { kind: "ready", peer: peerOf([python, join(import.meta.dirname, "python", "hpack_peer.py")]) };
}

/** Returns why it could not be installed. A folder with this name is whole: it gets its name last. */
async function installHpack(folder: string): Promise<string | undefined> {
  const version = await runCommand(["python3", "--version"]).catch(() => undefined);
  if (version?.code !== 0) return "there is no python3 here";
  const fresh = `${folder}.new`;
  await rm(fresh, { recursive: true, force: true });
  const made = await runCommand(["python3", "-m", "venv", fresh]);
  if (made.code !== 0) return `no virtual environment could be made: ${made.output.trim()}`;
  const python = join(fresh, "bin", "python");
  const installed = await runCommand([python, "-m", "pip", "install", "--quiet", `hpack==${HPACK_VERSION}`]);
  if (installed.code !== 0) return `hpack could not be installed: ${installed.output.trim()}`;
  await rename(fresh, folder);
  return undefined;
}

function peerOf(command: readonly [string, ...string[]]): Peer {
  return {
    encode: (stories) => converse([...command, "encode"], stories),
    decode: (stories) => converse([...command, "decode"], stories),
  };
}

async function converse([name, ...args]: readonly [string, ...string[]], stories: readonly Story[]): Promise<Story[]> {
  const child = spawn(name, args, { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.end(JSON.stringify(stories));
  const [out, errors] = await Promise.all([buffer(child.stdout), buffer(child.stderr), once(child, "close")]);
  const code = child.exitCode;
  if (code !== 0) throw new Error(`${name} ended with ${code}:\n${errors.toString()}`);
  return JSON.parse(out.toString()) as Story[];
}
