// A large log of varied entries for scenarios that search it, with one entry in its middle that has what no other has.

import { mkdir, open, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@sluice/client";
import { runClient } from "./client-run.ts";
import type { IngestOutcome, IngestTask } from "./clients/ingest.ts";
import { makeLogLines } from "./log-lines.ts";
import type { ScenarioContext } from "./scenario.ts";
import { sluice } from "./sluice-server.ts";
import { ServerProcess } from "./server-process.ts";

/** In one entry, in the middle of the log. No service writes it. */
export const needle = "kraken-surfaced";
const distinctLines = 250_000;
const entriesPerMessage = 250;
const filterPollMs = 500;

export interface FilledLog {
  /** The data folder. */
  readonly data: string;
  /** The entries as lines; undefined when nobody wants them. */
  readonly textFile: string | undefined;
  readonly entries: number;
  /** Of frames. */
  readonly bytes: number;
  readonly textBytes: number;
}

/** @param count of entries, a multiple of 500,000 */
export async function fillLog(
  context: ScenarioContext,
  { count, withText }: { readonly count: number; readonly withText: boolean },
): Promise<FilledLog> {
  const data = join(context.folder, "sluice");
  const entriesFile = join(context.folder, "lines.frames");
  const lines = makeLogLines(distinctLines);
  await mkdir(data);
  await writeFile(entriesFile, lines.frames);
  context.say(`filling a log with ${count} entries`);
  await using server = await ServerProcess.start(sluice(data).command);
  const { address } = server;
  const fill = (run: string): Promise<IngestOutcome> =>
    runClient<IngestTask, IngestOutcome>(
      "ingest",
      {
        address,
        protocol: "stream",
        writers: 1,
        messagesPerWriter: count / 2 / entriesPerMessage,
        entriesPerMessage,
        messagesUnderWay: 8,
        entriesFile,
        run,
      },
      { timeoutMs: 600_000 },
    );
  await fill("first");
  await using client = connect(address);
  const writer = client.openLogWriter();
  await writer.write({ application: "service-07", level: "ERROR", message: `${needle} at 03:07` });
  await writer.close();
  await fill("second");
  await untilFiltered(context, join(data, "logs/default"));
  const rows = await client.listApplications();
  const textFile = withText ? join(context.folder, "lines.txt") : undefined;
  const textBytes = textFile === undefined ? 0 : await writeText(textFile, lines.text, count / distinctLines);
  return { data, textFile, textBytes, entries: total(rows, "entries"), bytes: total(rows, "bytes") };
}

function total(rows: readonly { entries: bigint; bytes: bigint }[], of: "entries" | "bytes"): number {
  return rows.reduce((sum, row) => sum + Number(row[of]), 0);
}

/** Resolves when every sealed segment has its filter. */
async function untilFiltered(context: ScenarioContext, folder: string): Promise<void> {
  context.say("waiting until the filters of its segments are made");
  for (;;) {
    const names = await readdir(folder);
    const count = (suffix: string): number => names.filter((name) => name.endsWith(suffix)).length;
    if (count(".marks") >= count(".frames") - 1) return;
    await new Promise((resolve) => setTimeout(resolve, filterPollMs));
  }
}

async function writeText(path: string, text: Buffer, times: number): Promise<number> {
  await using file = await open(path, "w");
  const line = Buffer.from(`1770000000000000000 ERROR service-07 ${needle} at 03:07\n`);
  for (let i = 0; i < times; i++) {
    if (i === Math.floor(times / 2)) await file.write(line);
    await file.write(text);
  }
  return (await file.stat()).size;
}
