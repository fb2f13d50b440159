// The files of a dictionary: their names, and their bytes.
import { crc32 } from "node:zlib";
import type { FileSystem } from "./file-system.ts";
import { errorCode } from "./file-system.ts";
import { readWhole, writeAtomically } from "./atomic-file.ts";

export const DICTIONARY_SUFFIX = ".dictionary";
const GENERATION_DIGITS = 10;
const NAME = /^(\d{10})\.dictionary$/;

const MAGIC = Buffer.from("SLUICED1", "latin1");
/** Magic, start, checksum. */
const HEADER_BYTES = 20;
/** Length and checksum of a record. */
const RECORD_HEAD_BYTES = 8;
/** Id and kind. */
const ENTRY_HEAD_BYTES = 5;

/** One byte string, and what kind of thing it is. */
export interface DictionaryEntry {
  readonly id: number;
  /** 0 to 255, the service's own. */
  readonly kind: number;
  readonly bytes: Uint8Array;
}

/** One file, by its place in the row of files. */
export class DictionaryFile {
  /** From 1. */
  readonly generation: number;
  /** Entries of the log before this one may need earlier files. Infinity: the header is damaged. */
  readonly start: number;
  readonly path: string;
  readonly #folder: string;

  constructor(folder: string, generation: number, start: number) {
    this.#folder = folder;
    this.generation = generation;
    this.start = start;
    this.path = `${folder}/${nameOf(generation)}`;
  }

  /** Writes it anew, whole. */
  async replace(fileSystem: FileSystem, entries: readonly DictionaryEntry[]): Promise<void> {
    const bytes = Buffer.concat([encodeHeader(this.start), ...entries.map(encodeRecord)]);
    await writeAtomically(fileSystem, this.#folder, nameOf(this.generation), bytes);
  }
}

function nameOf(generation: number): string {
  return String(generation).padStart(GENERATION_DIGITS, "0") + DICTIONARY_SUFFIX;
}

export interface LoadedFile {
  readonly file: DictionaryFile;
  readonly entries: readonly DictionaryEntry[];
  /**
   * Records (and the header) that do not prove themselves, and have one behind them that does. What a crash tore off the
   * end is none.
   */
  readonly damagedRecords: number;
}

/** Reads all files of a folder, the oldest first. */
export async function loadDictionary(fileSystem: FileSystem, folder: string): Promise<LoadedFile[]> {
  const loaded: LoadedFile[] = [];
  const names = (await fileSystem.list(folder)).filter((name) => NAME.test(name));
  for (const name of names) {
    const generation = Number(name.slice(0, GENERATION_DIGITS));
    const bytes = await readWhole(fileSystem, `${folder}/${name}`).catch(orUnreadable);
    if (bytes === "unreadable") {
      const file = new DictionaryFile(folder, generation, Number.POSITIVE_INFINITY);
      loaded.push({ file, entries: [], damagedRecords: 1 });
    } else if (bytes !== undefined) {
      loaded.push(parseFile(bytes, folder, generation));
    }
  }
  return loaded;
}

/** A disk that cannot read it must not keep the log from being read. */
function orUnreadable(error: unknown): "unreadable" {
  if (errorCode(error) === "EIO") return "unreadable";
  throw error;
}

function parseFile(bytes: Buffer, folder: string, generation: number): LoadedFile {
  const start = parseHeader(bytes);
  const file = new DictionaryFile(folder, generation, start ?? Number.POSITIVE_INFINITY);
  const entries: DictionaryEntry[] = [];
  let damagedRecords = 0;
  let suspects = start === undefined ? 1 : 0;
  let at = HEADER_BYTES;
  while (bytes.length - at >= RECORD_HEAD_BYTES + ENTRY_HEAD_BYTES) {
    const length = bytes.readUInt32LE(at);
    const from = at + RECORD_HEAD_BYTES;
    if (length < ENTRY_HEAD_BYTES || length > bytes.length - from) break;
    const content = bytes.subarray(from, from + length);
    if (crc32(content) === bytes.readUInt32LE(at + 4)) {
      entries.push({ id: content.readUInt32LE(0), kind: content[4]!, bytes: content.subarray(ENTRY_HEAD_BYTES) });
      damagedRecords += suspects;
      suspects = 0;
    } else {
      suspects++;
    }
    at = from + length;
  }
  return { file, entries, damagedRecords };
}

export function encodeHeader(start: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeBigUInt64LE(BigInt(Math.min(start, Number.MAX_SAFE_INTEGER)), MAGIC.length);
  header.writeUInt32LE(crc32(header.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4);
  return header;
}

function parseHeader(bytes: Buffer): number | undefined {
  if (bytes.length < HEADER_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  if (crc32(bytes.subarray(0, HEADER_BYTES - 4)) !== bytes.readUInt32LE(HEADER_BYTES - 4)) return undefined;
  return Number(bytes.readBigUInt64LE(MAGIC.length));
}

export function encodeRecord({ id, kind, bytes }: DictionaryEntry): Buffer {
  const record = Buffer.alloc(RECORD_HEAD_BYTES + ENTRY_HEAD_BYTES + bytes.length);
  record.writeUInt32LE(ENTRY_HEAD_BYTES + bytes.length, 0);
  record.writeUInt32LE(id, RECORD_HEAD_BYTES);
  record[RECORD_HEAD_BYTES + 4] = kind;
  record.set(bytes, RECORD_HEAD_BYTES + ENTRY_HEAD_BYTES);
  record.writeUInt32LE(crc32(record.subarray(RECORD_HEAD_BYTES)), 4);
  return record;
}
