// What a hundred slow readers of a file that is larger than memory cost the server.

import { writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { FileRequestSchema } from "@sluice/api";
import { runClient } from "../client-run.ts";
import type { ManyReadersOutcome, ManyReadersTask } from "../clients/files-many-readers.ts";
import { grpcFrame } from "../clients/http2-wire.ts";
import { writeSparseFile } from "../large-file.ts";
import { residentBytes } from "../resident-bytes.ts";
import type { Scenario } from "../scenario.ts";
import { ServerProcess } from "../server-process.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const file = "sparse.bin";
const gib = 2 ** 30;
const readers = 100;
const bytesPerSecond = 256 * 1024;
const timeoutMs = 60_000;

export const filesMemory: Scenario = {
  name: "files-memory",
  summary: "resident memory that 100 slow downloads of a file of 4 GiB add; MiB",
  async run(context) {
    const files = join(context.folder, "files");
    await mkdir(files);
    await writeSparseFile(join(files, file), 4 * gib);
    const added: number[] = [];
    const settings = ["--files", files];
    for (let run = 0; run < context.runs; run++) {
      context.say(`run ${run + 1}`);
      await using server = await ServerProcess.start(sluice(join(context.folder, "data"), { settings }).command);
      // Ten fast ones first: what a server has when it has served for a while.
      await read(server, { readers: 10 }, 1_000);
      const before = residentBytes(server.pid, "VmRSS");
      resetPeak(server.pid);
      await read(server, { readers, bytesPerSecond }, context.isQuick ? 5_000 : 15_000);
      added.push((residentBytes(server.pid, "VmHWM") - before) / 2 ** 20);
    }
    return {
      scenario: "files-memory",
      runs: context.runs,
      versions: { [us]: ourVersion },
      missing: [],
      cases: [
        {
          title: `${readers} slow downloads`,
          unit: "MiB",
          isSmallerBetter: true,
          measured: [{ who: us, samples: added }],
          notes: [],
        },
      ],
      notes: [
        `the kernel's VmHWM while they read, less VmRSS before; each on a connection of its own, with windows that never close, and read at ${bytesPerSecond / 1024} KiB/s from its socket`,
        "before that ten fast downloads ran for a second; the file is sparse",
      ],
    };
  },
};

async function read(
  { address }: ServerProcess,
  group: { readonly readers: number; readonly bytesPerSecond?: number },
  ms: number,
): Promise<void> {
  const message = toBinary(FileRequestSchema, create(FileRequestSchema, { filePath: file }));
  const request = grpcFrame(message).toString("base64");
  const path = "/FileService/DownloadFile";
  const task = { address, path, request, groups: [{ localAddress: "127.0.0.1", ...group }], warmUpMs: 500, ms };
  const { groups } = await runClient<ManyReadersTask, ManyReadersOutcome>("files-many-readers", task, { timeoutMs });
  if (groups[0]!.least === 0) throw new Error("A download got nothing");
}

/** Linux only: proc(5), /proc/PID/clear_refs. */
function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}
