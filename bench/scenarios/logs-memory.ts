// A log of years: how long a server takes to start on it, and what it holds in memory while many read.

import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { LogStreamRequestSchema } from "@sluice/api";
import { runClient } from "../client-run.ts";
import { grpcFrame } from "../clients/http2-wire.ts";
import type { ReadManyOutcome, ReadManyTask } from "../clients/read-many.ts";
import { fillLargeLog } from "../large-log.ts";
import { formatCursor } from "../../packages/server/src/stream/cursor.ts";
import type { Scenario } from "../scenario.ts";
import { ServerProcess } from "../server-process.ts";
import { residentBytes } from "../resident-bytes.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const path = "/sluice.logs.v1.LogService/StreamLogs";
const readers = 100;
const readersPerConnection = 10;
const streamWindowBytes = 1024 * 1024;
const timeoutMs = 240_000;
/** Frames and index of an entry, generously; so much stays free beside it. */
const entryBytes = 110;
const spareBytes = 20 * 2 ** 30;

export const logsMemory: Scenario = {
  name: "logs-memory",
  summary: "a log of 100 M short entries: start, and resident memory while 100 readers read from all over it",
  async run(context) {
    const { bavail, bsize } = await statfs(context.folder);
    const room = Math.floor((bavail * bsize - spareBytes) / entryBytes / 1_000_000) * 1_000_000;
    const count = Math.min(context.isQuick ? 5_000_000 : 100_000_000, room);
    if (count <= 0) throw new Error("The disk has no room for the log");
    const data = join(context.folder, "large");
    await fillLargeLog(data, count, (done) => {
      if (done % 10_000_000 === 0) context.say(`${done / 1e6} M of ${count / 1e6} M entries written`);
    });
    const starts: number[] = [];
    const idle: number[] = [];
    const peaks: number[] = [];
    const rates: number[] = [];
    for (let run = 0; run < context.runs; run++) {
      context.say(`run ${run + 1}`);
      const startedMs = performance.now();
      await using server = await ServerProcess.start(sluice(data).command);
      starts.push(performance.now() - startedMs);
      idle.push(residentBytes(server.pid, "VmRSS") / 2 ** 20);
      const outcome = await runClient<ReadManyTask, ReadManyOutcome>("read-many", taskFor(server.address, count), {
        timeoutMs,
      });
      rates.push(outcome.entries / outcome.seconds);
      peaks.push(residentBytes(server.pid, "VmHWM") / 2 ** 20);
    }
    const ours = (samples: number[]) => [{ who: us, samples }];
    const perReader = Math.floor(count / readers);
    return {
      scenario: "logs-memory",
      runs: context.runs,
      versions: { [us]: ourVersion },
      missing: [],
      cases: [
        {
          title: `resident memory, its peak, ${readers} readers`,
          unit: "MiB",
          isSmallerBetter: true,
          measured: ours(peaks),
          notes: [],
        },
        {
          title: "resident memory after the start",
          unit: "MiB",
          isSmallerBetter: true,
          measured: ours(idle),
          notes: [],
        },
        { title: "start, until it listens", unit: "ms", isSmallerBetter: true, measured: ours(starts), notes: [] },
        { title: `${readers} readers together`, unit: "entries/s", measured: ours(rates), notes: [] },
      ],
      notes: [
        `${count / 1e6} M entries; each of ${readers} readers begins at a place of its own and reads ${perReader} entries, on ${readers / readersPerConnection} connections with stream windows of 1 MiB`,
        "the peak is the kernel's VmHWM of the whole run, the start included; files of the log are read through the page cache, which is not counted",
      ],
    };
  },
};

function taskFor(address: string, count: number): ReadManyTask {
  const perReader = Math.floor(count / readers);
  const requests = Array.from({ length: readers }, (_, i) => {
    const resumeAfter = formatCursor("default", { epoch: 1, sequence: i * perReader });
    const request = create(LogStreamRequestSchema, { resumeAfter, limit: BigInt(perReader) });
    return grpcFrame(toBinary(LogStreamRequestSchema, request)).toString("base64");
  });
  return { address, path, requests, readersPerConnection, streamWindowBytes };
}
