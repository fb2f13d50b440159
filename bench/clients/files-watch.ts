// Watches a folder and changes what is in it: how soon it hears of one new file, and how soon of all files of a burst.

import { watch } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@sluice/client";
import { carryOut } from "./client-process.ts";
import { summarizeLatencies } from "./percentiles.ts";

export interface FilesWatchTask {
  /** "fs.watch": in this process, by Node. */
  readonly by: "sdk" | "fs.watch";
  readonly address: string;
  /** The shared folder here. */
  readonly folder: string;
  /** One after the other, each when the one before was told. */
  readonly singles: number;
  /** At once. */
  readonly burst: number;
}

export interface FilesWatchOutcome {
  readonly medianMs: number;
  readonly filesPerSecond: number;
}

/** Calls back with each name that is told to be new; resolves when it listens. */
type Listen = (onName: (name: string) => void) => Promise<AsyncDisposable>;

function listenBySdk({ address }: FilesWatchTask): Listen {
  return async (onName) => {
    const client = connect(address);
    const { promise: synced, resolve, reject } = Promise.withResolvers<void>();
    const read = async (): Promise<void> => {
      for await (const event of client.watchFiles({ path: "watched" })) {
        if (event.kind === "sync") resolve();
        else if (event.kind === "created") onName(event.file.filePath.slice("watched/".length));
        else if (event.kind === "resync") throw new Error("The server could not tell what happened");
      }
    };
    read().catch(reject);
    await synced;
    return client;
  };
}

function listenHere({ folder }: FilesWatchTask): Listen {
  return (onName) => {
    const watcher = watch(join(folder, "watched"), (kind, name) => {
      if (kind === "rename" && name !== null) onName(name);
    });
    return Promise.resolve({ [Symbol.asyncDispose]: async () => watcher.close() });
  };
}

await carryOut(async (task: FilesWatchTask): Promise<FilesWatchOutcome> => {
  const { folder, by, singles, burst } = task;
  const run = `${process.pid}`;
  await mkdir(join(folder, "watched"), { recursive: true });
  const waited = new Map<string, () => void>();
  const listen = by === "sdk" ? listenBySdk(task) : listenHere(task);
  await using _ = await listen((name) => {
    waited.get(name)?.();
    waited.delete(name);
  });
  const makeAndHear = async (name: string): Promise<void> => {
    const heard = new Promise<void>((resolve) => {
      waited.set(name, resolve);
    });
    await writeFile(join(folder, "watched", name), "");
    await heard;
  };
  const latencies = new Float64Array(singles);
  for (let i = 0; i < singles; i++) {
    const startMs = performance.now();
    await makeAndHear(`${run}-single-${i}`);
    latencies[i] = performance.now() - startMs;
  }
  const startMs = performance.now();
  await Promise.all(Array.from({ length: burst }, (_unused, i) => makeAndHear(`${run}-burst-${i}`)));
  const seconds = (performance.now() - startMs) / 1000;
  return { medianMs: summarizeLatencies(latencies).p50Microseconds / 1000, filesPerSecond: burst / seconds };
});
