// Ourselves as a contestant: the real `sluice serve` with a data folder, and what fills that folder beforehand.

import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@sluice/client";
import { root } from "./build.ts";
import { runClient } from "./client-run.ts";
import type { IngestOutcome, IngestTask } from "./clients/ingest.ts";
import type { Contestant } from "./contest.ts";
import { writtenApplication } from "./entries.ts";
import { nodeServer } from "./peers.ts";
import { ServerProcess } from "./server-process.ts";

export const us = "sluice";

const manifest = JSON.parse(readFileSync(join(root, "packages/cli/package.json"), "utf8")) as { version: string };
export const ourVersion = `${manifest.version}, Node ${process.version}`;

/** The real server over `data`, with nothing configured but where it listens and stores, and `settings`; `nodeFlags` are for Node. */
export function sluice(
  data: string,
  options: {
    readonly withMemoryProbe?: boolean;
    readonly who?: string;
    readonly nodeFlags?: readonly string[];
    readonly settings?: readonly string[];
  } = {},
): Contestant {
  const program = join(root, "packages/cli/bin/sluice.js");
  const words = [
    ...(options.nodeFlags ?? []),
    program,
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--data",
    data,
    ...(options.settings ?? []),
  ];
  return { who: options.who ?? us, command: nodeServer(words, options.withMemoryProbe ?? false) };
}

/** How many entries of ours its default log holds, and how many in all: it keeps its own log there as well. */
export async function countEntries(address: string): Promise<{ readonly written: number; readonly all: number }> {
  await using client = connect(address);
  const rows = await client.listApplications();
  const written = rows.find(({ application }) => application === writtenApplication)?.entries ?? 0n;
  return { written: Number(written), all: Number(rows.reduce((sum, { entries }) => sum + entries, 0n)) };
}

/** Makes a data folder with `count` entries (a multiple of 1,000) in order, through the server's own ingest. */
export async function fillDataFolder(
  data: string,
  entriesFile: string,
  count: number,
  settings: readonly string[] = [],
): Promise<void> {
  await mkdir(data, { recursive: true });
  await using server = await ServerProcess.start(sluice(data, { settings }).command);
  const entriesPerMessage = 250;
  await runClient<IngestTask, IngestOutcome>(
    "ingest",
    {
      address: server.address,
      protocol: "stream",
      writers: 1,
      messagesPerWriter: count / entriesPerMessage,
      entriesPerMessage,
      messagesUnderWay: 8,
      entriesFile,
      run: "fill",
    },
    { timeoutMs: 120_000 },
  );
}
