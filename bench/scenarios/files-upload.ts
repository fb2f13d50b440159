// A large file, uploaded until it is in its place for good, beside what the disk can do.

import { execFile } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { runClient } from "../client-run.ts";
import type { FilesOutcome, FilesTask } from "../clients/files.ts";
import { takeTurns, withServers } from "../contest.ts";
import { writeLargeFile } from "../large-file.ts";
import type { MissingPeer } from "../report.ts";
import type { Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const run = promisify(execFile);
const dd = "dd conv=fsync";
const bytesPerMb = 1e6;
const timeoutMs = 120_000;

export const filesUpload: Scenario = {
  name: "files-upload",
  summary: "one file, from our SDK to durably in its place, beside dd conv=fsync on the same disk; MB/s",
  async run(context) {
    const size = (context.isQuick ? 128 : 1024) * 2 ** 20;
    const files = join(context.folder, "files");
    await mkdir(files);
    const source = join(context.folder, "source.bin");
    await writeLargeFile(source, size);
    const version = await findDd();
    const missing: MissingPeer[] = version === undefined ? [{ who: dd, reason: "there is no dd on this machine" }] : [];
    return await withServers(
      [sluice(join(context.folder, "data"), { settings: ["--files", `${files}:rw`] })],
      async (servers) => {
        const [ours] = servers;
        const writers = [ours!, ...(version === undefined ? [] : [{ who: dd, process: ours!.process }])];
        const measured = await takeTurns(writers, context.runs, async ({ who, process: { address } }) => {
          context.say(who);
          const path = "uploaded.bin";
          const seconds =
            who === dd ? await copy(source, join(files, "copied.bin")) : await upload(address, path, size);
          await rm(join(files, who === dd ? "copied.bin" : path));
          return size / bytesPerMb / seconds;
        });
        return {
          scenario: "files-upload",
          runs: context.runs,
          versions: { [us]: ourVersion, ...(version === undefined ? {} : { [dd]: version }) },
          missing,
          cases: [{ title: `${size / 2 ** 20} MiB`, unit: "MB/s", measured, notes: [] }],
          notes: [
            "ours: from StartUpload to the answer of CommitUpload; each chunk's CRC-32 is computed on both sides, and the SHA-256 of all of it",
            "ours is durable as it goes: what was acknowledged is on disk, with a mark that says so, 32 MiB at most behind what was received; dd syncs once, at its end",
            "client, server and disk share the machine's cores; dd has them for itself",
          ],
        };
      },
    );
  },
};

async function upload(address: string, path: string, byteCount: number): Promise<number> {
  const task: FilesTask = { kind: "upload", address, by: "sdk", path, byteCount };
  const outcome = await runClient<FilesTask, FilesOutcome>("files", task, { timeoutMs });
  if (outcome.byteCount !== byteCount) throw new Error(`${outcome.byteCount} bytes are in place, not ${byteCount}`);
  return outcome.seconds;
}

/** Returns seconds. */
async function copy(from: string, to: string): Promise<number> {
  const startMs = performance.now();
  await run("dd", [`if=${from}`, `of=${to}`, "bs=4M", "conv=fsync"], { timeout: timeoutMs });
  return (performance.now() - startMs) / 1000;
}

async function findDd(): Promise<string | undefined> {
  try {
    const { stdout } = await run("dd", ["--version"]);
    return stdout.split("\n", 1)[0];
  } catch {
    return undefined;
  }
}
