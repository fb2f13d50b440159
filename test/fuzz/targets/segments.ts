// A log's files, damaged while the log was closed: what opening makes of them.
//
// D1. A log opens, or refuses by a typed error; nothing else is ever thrown.
// D2. What it hands out are entries that were written, each in its place, in order; what it cannot hand out is a gap.
// D3. A log that opened takes more, and closes without leaving anything behind.
import { ManualClock } from "@sluice/rpc/testing";
import { SluiceError } from "../../../packages/server/src/errors.ts";
import type { Log } from "../../../packages/server/src/store/log.ts";
import { readThrough } from "../../../packages/server/src/store/testing/reading.ts";
import { append, makeEntry } from "../../../packages/server/src/store/testing/writing.ts";
import { LOG_FOLDER, openSmallLog } from "../../support/crash-simulation.ts";
import { seededRandom } from "../../support/crash-random.ts";
import { FakeFileSystem } from "../../support/fake-file-system.ts";
import { changeBytes, type Grammar } from "../grammar.ts";
import type { Input, Target } from "../target.ts";

const ENTRIES = 60;
/** Upkeep that is due soon after opening: scrubbing, what is to be tried again. */
const UPKEEP_MS = 2000;

/** A file: the length of its name, its name, four bytes of length, its content. */
const HEADER_BYTES = 5;

const files: Grammar = {
  cut(bytes) {
    const units: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      const nameEnd = at + 1 + bytes[at]!;
      const end = nameEnd + 4 > bytes.length ? bytes.length : nameEnd + 4 + bytes.readUInt32BE(nameEnd);
      units.push(bytes.subarray(at, end));
      at = Math.min(end, bytes.length);
    }
    return units;
  },
  change(unit, random) {
    const file = parseFile(unit);
    if (file === undefined) return changeBytes(unit, random);
    return fileUnit(file.name, changeBytes(file.content, random));
  },
};

function fileUnit(name: string, content: Buffer): Buffer {
  const head = Buffer.alloc(HEADER_BYTES + name.length);
  head.writeUInt8(name.length);
  head.write(name, 1, "latin1");
  head.writeUInt32BE(content.length, 1 + name.length);
  return Buffer.concat([head, content]);
}

/** Undefined for a unit whose name no file system would take. */
function parseFile(unit: Buffer): { readonly name: string; readonly content: Buffer } | undefined {
  const nameEnd = 1 + (unit[0] ?? 0);
  const name = unit.toString("latin1", 1, nameEnd);
  return /^[\w.-]+$/.test(name) && unit.length >= nameEnd + 4
    ? { name, content: unit.subarray(nameEnd + 4) }
    : undefined;
}

const textOf = (sequence: number): string => `entry ${sequence} ${"x".repeat(sequence % 50)}`;

/** The files of a log with some segments, closed. */
async function record(): Promise<Buffer> {
  const disk = new FakeFileSystem(seededRandom(1));
  const clock = new ManualClock();
  {
    await using log = await openSmallLog(disk.fileSystem, clock, {});
    for (let sequence = 1; sequence <= ENTRIES; sequence++) {
      await append(log.writer, [makeEntry(sequence, { payload: textOf(sequence), label: `app-${sequence % 3}` })]);
    }
  }
  const names = disk.names(LOG_FOLDER);
  return Buffer.concat(names.map((name) => fileUnit(name, disk.bytesOf(`${LOG_FOLDER}/${name}`))));
}

async function run({ bytes }: Input): Promise<void> {
  const disk = new FakeFileSystem(seededRandom(1));
  const clock = new ManualClock();
  // The folder as an empty log has it, then the files.
  await using empty = await openSmallLog(disk.fileSystem, clock, {});
  await empty[Symbol.asyncDispose]();
  for (const name of disk.names(LOG_FOLDER)) disk.lose(`${LOG_FOLDER}/${name}`);
  for (const unit of files.cut(bytes)) {
    const file = parseFile(unit);
    if (file !== undefined) await writeFile(disk, file);
  }
  let log: Log;
  try {
    log = await openSmallLog(disk.fileSystem, clock, {});
  } catch (error) {
    if (error instanceof SluiceError) return;
    throw error; // D1
  }
  try {
    await checkLog(log, clock);
  } finally {
    await log[Symbol.asyncDispose]();
  }
  if (clock.timers > 0) throw new Error(`${clock.timers} timers are left`); // D3
}

async function writeFile(disk: FakeFileSystem, { name, content }: { name: string; content: Buffer }): Promise<void> {
  const file = await disk.fileSystem.open(`${LOG_FOLDER}/${name}`, "create");
  await file.write([content], 0);
  await file.sync();
  await file.close();
}

async function checkLog({ reader, writer }: Log, clock: ManualClock): Promise<void> {
  const { entries, runs } = await readThrough(reader);
  let last = 0;
  for (const entryRun of runs) {
    if (entryRun.first <= last || entryRun.last < entryRun.first) throw new Error("D2: runs out of order");
    last = entryRun.last;
  }
  for (const { sequence, payload } of entries) {
    if (sequence > ENTRIES || payload !== textOf(sequence)) throw new Error(`D2: entry ${sequence} is "${payload}"`);
  }
  clock.advance(UPKEEP_MS);
  const before = reader.head.sequence;
  try {
    await append(writer, [makeEntry(before + 1)]);
  } catch (error) {
    if (error instanceof SluiceError) return;
    throw error;
  }
  const after = await readThrough(reader, { after: before });
  if (after.entries.length !== 1) throw new Error(`D3: ${after.entries.length} entries after one was added`);
}

export const segments: Target = {
  name: "segments",
  about: "a log's files, damaged while it was closed",
  weight: 0.05,
  open: async () => ({ grammar: files, corpus: [await record()], run }),
};
