// A log that is larger than any client would fill it in a bench's time: the store's own writer in this process, with entries
// that were scanned once and are stamped again and again.

import { readdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/api";
import { entryFrameCodec, nodeFileSystem, systemClock } from "@sluice/server";
import { DEFAULT_LIMITS } from "../packages/server/src/limits.ts";
import { EntryScanner } from "../packages/server/src/logs/entry-scan.ts";
import { ThreadFilterMaker } from "../packages/server/src/logs/filter-maker.ts";
import { BatchStamp } from "../packages/server/src/logs/stamp.ts";
import { openDataFolder } from "../packages/server/src/store/data-folder.ts";
import { openLog } from "../packages/server/src/store/log.ts";

const batchEntries = 20_000;
const applications = 10;

/** As fast as they come: a server would take minutes for the filters of such a log, and its memory. */
const filterBytesPerSecond = 2 ** 32;
const filtersTimeoutMs = 600_000;

/** Fills the default log of a new data folder with `count` short entries of ten applications; its segments have all that
 * a server makes of them. */
export async function fillLargeLog(data: string, count: number, onBatch: (done: number) => void): Promise<void> {
  const folderRequest = { folder: data, fileSystem: nodeFileSystem };
  await using folder = await openDataFolder(folderRequest);
  await using filterMaker = new ThreadFilterMaker();
  await using log = await openLog({
    folder: folder.logFolder("default"),
    name: "default",
    fileSystem: nodeFileSystem,
    clock: systemClock,
    codec: entryFrameCodec,
    filterMaker,
    options: { filterBytesPerSecond },
  });
  const { writer } = log;
  const labels = Array.from({ length: applications }, (_, i) => writer.internLabel(`app-${i}`));
  const scanner = new EntryScanner(DEFAULT_LIMITS);
  const entries = Array.from({ length: 1000 }, (_, i) => Buffer.from(encodeEntry(i)));
  for (let done = 0; done < count; done += batchEntries) {
    const stamp = new BatchStamp({
      log: "default",
      epoch: writer.epoch,
      first: writer.next,
      receivedNs: systemClock.nowNs(),
      producer: "",
      countMax: batchEntries,
      bytesHint: batchEntries * 64,
    });
    for (let i = 0; i < batchEntries; i++) {
      const bytes = entries[i % entries.length]!;
      if (!scanner.scan(bytes, 0, bytes.length)) throw new Error("An entry was refused");
      stamp.add(bytes, 0, bytes.length, { scanned: scanner, label: labels[i % applications]!, producerSequence: 0 });
    }
    await writer.append(writer.next, stamp.finish(0));
    onBatch(done + batchEntries);
  }
  await waitForFilters(folder.logFolder("default"));
}

/** Until every sealed segment has its filter. */
async function waitForFilters(folder: string): Promise<void> {
  const deadline = performance.now() + filtersTimeoutMs;
  for (;;) {
    const names = await readdir(folder);
    const count = (suffix: string) => names.filter((name) => name.endsWith(suffix)).length;
    if (count(".marks") === count(".frames") - 1) return;
    if (performance.now() > deadline) throw new Error(`No filters within ${filtersTimeoutMs} ms`);
    await sleep(500);
  }
}

function encodeEntry(index: number): Uint8Array {
  const level = index % 50 === 0 ? "ERROR" : "INFO";
  return toBinary(
    LogEntrySchema,
    create(LogEntrySchema, { level, application: `app-${index % applications}`, message: `order ${index} sent` }),
  );
}
