// The producer table as a file: `<sequence>.producers` holds what was known just before that entry. Recovery loads the
// newest one and replays the frames from there on.
//
// O1. A segment whose entries are the last ones of some producer is dropped only when a snapshot behind it is durable:
//     else that producer would be forgotten, and a retry of its would write a second time.
import { crc32 } from "node:zlib";
import type { FileSystem } from "./file-system.ts";
import type { ProducerEntry } from "./producers.ts";
import { readWhole, writeAtomically } from "./atomic-file.ts";
import { sequenceName } from "./segment.ts";

export const PRODUCERS_SUFFIX = ".producers";

/** The name of the file with the table just before the entry at `position`. */
export function snapshotFile(position: number): string {
  return sequenceName(position) + PRODUCERS_SUFFIX;
}

const MAGIC = "sluicepr";
const VERSION = 1;
/** Magic, version, count, checksum of the rest. */
const HEADER_BYTES = 20;
/** Byte count of the id, producer's sequence, log's sequence. */
const ENTRY_FIXED_BYTES = 20;
/** Encoded before the event loop gets its turn again: about 2 ms. */
const ENTRIES_AT_ONCE = 5000;

/** Makes the table durable. `entries` are longest idle first and do not change meanwhile. */
export async function writeSnapshot(
  fileSystem: FileSystem,
  folder: string,
  position: number,
  entries: readonly ProducerEntry[],
): Promise<void> {
  const parts: Buffer[] = [];
  let crc = 0;
  for (let i = 0; i < entries.length; i += ENTRIES_AT_ONCE) {
    const part = encode(entries.slice(i, i + ENTRIES_AT_ONCE));
    crc = crc32(part, crc);
    parts.push(part);
    await nextTurn();
  }
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.writeUInt32LE(VERSION, 8);
  header.writeUInt32LE(entries.length, 12);
  header.writeUInt32LE(crc, 16);
  await writeAtomically(fileSystem, folder, snapshotFile(position), Buffer.concat([header, ...parts]));
}

function encode(entries: readonly ProducerEntry[]): Buffer {
  const ids = entries.map((entry) => Buffer.from(entry.id));
  const bytes = Buffer.alloc(ids.reduce((sum, id) => sum + ENTRY_FIXED_BYTES + id.length, 0));
  let at = 0;
  entries.forEach((entry, i) => {
    const id = ids[i]!;
    bytes.writeUInt32LE(id.length, at);
    bytes.writeDoubleLE(entry.lastProducerSequence, at + 4);
    bytes.writeDoubleLE(entry.lastSequence, at + 12);
    id.copy(bytes, at + ENTRY_FIXED_BYTES);
    at += ENTRY_FIXED_BYTES + id.length;
  });
  return bytes;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** The table just before the segment that starts with `first`; undefined when the file is missing or proves nothing. */
export async function readSnapshot(
  fileSystem: FileSystem,
  folder: string,
  position: number,
): Promise<ProducerEntry[] | undefined> {
  const bytes = await readWhole(fileSystem, `${folder}/${snapshotFile(position)}`);
  if (bytes === undefined || bytes.length < HEADER_BYTES) return undefined;
  const isOurs = bytes.toString("latin1", 0, 8) === MAGIC && bytes.readUInt32LE(8) === VERSION;
  if (!isOurs || bytes.readUInt32LE(16) !== crc32(bytes.subarray(HEADER_BYTES))) return undefined;
  const entries: ProducerEntry[] = [];
  let at = HEADER_BYTES;
  for (const count = bytes.readUInt32LE(12); entries.length < count;) {
    // The checksum is over the entries alone: their number may be damaged by itself.
    if (at === bytes.length) return undefined;
    const idEnd = at + ENTRY_FIXED_BYTES + bytes.readUInt32LE(at);
    entries.push({
      id: bytes.toString("utf8", at + ENTRY_FIXED_BYTES, idEnd),
      lastProducerSequence: bytes.readDoubleLE(at + 4),
      lastSequence: bytes.readDoubleLE(at + 12),
    });
    at = idEnd;
  }
  return at === bytes.length ? entries : undefined;
}
