// A server in a process of its own that kills itself with SIGKILL at one step of an upload, from inside its file system.
//
// This file is both halves: the parent's `startKillableServer`, and, when it is run, the process itself.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { createLogger, type FileSystem, loadConfig, nodeFileSystem, openServer, systemClock } from "@sluice/server";

/** The first operation that is one of these. */
export interface KillPoint {
  readonly when: "before" | "within" | "after";
  readonly operation: "write" | "rename" | "remove" | "sync-folder";
  /** Ends the path: ".data", ".marks", ".json.part"; of a folder its last name. */
  readonly path: string;
  /** How many such operations go well before. */
  readonly skip?: number;
}

export interface KillableServer extends AsyncDisposable {
  readonly address: string;
  /** Resolves with the signal that ended it. */
  readonly ended: Promise<NodeJS.Signals | null>;
  kill(): void;
}

export interface KillableOptions {
  readonly folder: string;
  /** "127.0.0.1:0", or where the one before it was. */
  readonly listen: string;
  readonly killPoint?: KillPoint | undefined;
}

/** Serves the folder `shared` in the folder, writable. */
export async function startKillableServer(options: KillableOptions): Promise<KillableServer> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(options)], {
    execArgv: ["--conditions=sluice-source"],
    env: { PATH: process.env["PATH"] ?? "" },
  });
  const ended = once(child, "close").then(([, signal]) => signal as NodeJS.Signals | null);
  const address = await addressOf(child);
  return {
    address,
    ended,
    kill: () => void child.kill("SIGKILL"),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

async function addressOf(child: ChildProcess): Promise<string> {
  const [message] = (await Promise.race([
    once(child, "message"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`The server ended with ${String(code)}`))),
  ])) as [{ address: string }];
  return message.address;
}

/** The real file system, with a step at which the process dies. */
function killingFileSystem(point: KillPoint | undefined): FileSystem {
  if (point === undefined) return nodeFileSystem;
  let left = point.skip ?? 0;
  const die = (): Promise<never> => {
    process.kill(process.pid, "SIGKILL");
    return new Promise(() => {});
  };
  const step = async <T>(
    operation: KillPoint["operation"],
    path: string,
    work: () => Promise<T>,
    part?: () => Promise<void>,
  ) => {
    const isIt = operation === point.operation && path.endsWith(point.path) && left-- === 0;
    if (!isIt) return work();
    if (point.when === "within") await part?.();
    if (point.when === "after") await work();
    return die();
  };
  return {
    ...nodeFileSystem,
    rename: (from, to) => step("rename", from, () => nodeFileSystem.rename(from, to)),
    remove: (path) => step("remove", path, () => nodeFileSystem.remove(path)),
    syncFolder: (path) => step("sync-folder", path, () => nodeFileSystem.syncFolder(path)),
    async open(path, mode) {
      const file = await nodeFileSystem.open(path, mode);
      return {
        read: (buffer, position) => file.read(buffer, position),
        readSync: (buffer, position) => file.readSync(buffer, position),
        write(buffers, position) {
          const half = buffers.map((each) => each.subarray(0, Math.floor(each.length / 2)));
          return step(
            "write",
            path,
            () => file.write(buffers, position),
            () => file.write(half, position),
          );
        },
        sync: () => file.sync(),
        truncate: (length) => file.truncate(length),
        size: () => file.size(),
        close: () => file.close(),
      };
    },
  };
}

async function runChild({ folder, listen, killPoint }: KillableOptions): Promise<void> {
  const flags = new Map([
    ["listen", listen],
    ["data", `${folder}/data`],
    ["files", `${folder}/shared:rw`],
    ["logLevel", "error"],
  ]);
  const { config } = await loadConfig({ flags, environment: {}, folder });
  const logger = createLogger({
    format: "text",
    level: "error",
    clock: systemClock,
    write: (line) => line.startsWith("listening") || process.stderr.write(line),
  });
  const fileSystem = killingFileSystem(killPoint);
  const server = await openServer(config, { clock: systemClock, fileSystem, logger });
  process.send?.({ address: server.address });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runChild(JSON.parse(process.argv[2] ?? "{}") as KillableOptions);
}
