// A server in a process of its own that tells what it holds: memory, files, timers, calls.
//
// This file is both halves: the parent's `startProbedServer`, and, when it is run, the process itself.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  createLogger,
  loadConfig,
  nodeFileSystem,
  openServer,
  type Server,
  type ServerCounts,
  systemClock,
} from "@sluice/server";

/** What a server process holds at one moment, after a garbage collection. */
export interface Probe {
  /** JavaScript's heap and everything outside of it that it owns. */
  readonly memoryBytes: number;
  /** Of the whole process, as the system sees it. */
  readonly residentBytes: number;
  /** Kinds of active resources, as Node names them, with their numbers. */
  readonly resources: Readonly<Record<string, number>>;
  readonly openFiles: number;
  /** Folders that the system watches for it (inotify). */
  readonly watchedFolders: number;
  readonly counts: ServerCounts;
}

export interface ProbedServer extends AsyncDisposable {
  readonly address: string;
  probe(): Promise<Probe>;
}

/** @param flags settings by key, as on a command line. */
export async function startProbedServer(
  folder: string,
  flags: Readonly<Record<string, string>> = {},
): Promise<ProbedServer> {
  const child = fork(fileURLToPath(import.meta.url), [folder, JSON.stringify(flags)], {
    execArgv: ["--conditions=sluice-source", "--expose-gc"],
    env: { PATH: process.env["PATH"] ?? "" },
  });
  const closed = once(child, "close");
  const { address } = (await ask(child)) as { address: string };
  return {
    address,
    async probe() {
      child.send("probe");
      return (await ask(child)) as Probe;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

async function ask(child: ChildProcess): Promise<unknown> {
  const [answer] = (await Promise.race([
    once(child, "message"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`The probed server ended with ${String(code)}`))),
  ])) as [unknown];
  return answer;
}

async function runChild(folder: string, flags: Readonly<Record<string, string>>): Promise<void> {
  const { config } = await loadConfig({
    flags: new Map(Object.entries({ listen: "127.0.0.1:0", data: folder, logLevel: "warn", ...flags })),
    environment: {},
    folder,
  });
  const logger = createLogger({
    format: "text",
    level: config.logLevel,
    clock: systemClock,
    write: (line) => line.startsWith("listening") || process.stderr.write(line),
  });
  const server = await openServer(config, { clock: systemClock, fileSystem: nodeFileSystem, logger });
  process.on("message", () => process.send?.(probe(server)));
  process.send?.({ address: server.address });
}

function probe(server: Server): Probe {
  const collectGarbage = globalThis.gc;
  if (collectGarbage === undefined) throw new Error("Started without --expose-gc");
  collectGarbage();
  collectGarbage();
  const { heapUsed, external, rss } = process.memoryUsage();
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  return {
    memoryBytes: heapUsed + external,
    residentBytes: rss,
    resources,
    openFiles: readdirSync("/proc/self/fd").length,
    watchedFolders: countWatchedFolders(),
    counts: server.counts(),
  };
}

/** https://man7.org/linux/man-pages/man5/proc_pid_fdinfo.5.html */
function countWatchedFolders(): number {
  const infos = readdirSync("/proc/self/fdinfo").map((fd) => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
    } catch {
      return ""; // that of the folder which was just read
    }
  });
  return infos
    .join("\n")
    .split("\n")
    .filter((line) => line.startsWith("inotify ")).length;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , folder = "", flags = "{}"] = process.argv;
  await runChild(folder, JSON.parse(flags) as Record<string, string>);
}
