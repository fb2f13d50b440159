// The file EPOCHS of a log: its eras, and how far it was certainly durable.
//
// E1. A new epoch starts only when entries that readers may have seen are gone from the end of the log. Cursors of the
//     old epoch past the cut then lead to a gap instead of to other entries with the same numbers.
// E2. How that is known. Groups are written one at a time, each synced before the next (W1), and readers see only what
//     was synced. On a disk that keeps its word, the first byte that proves nothing therefore belongs to the one group
//     whose sync never returned: nobody saw it, it is cut, and the epoch stays. A disk that does not keep its word is
//     found out by the mark: a position up to which everything was durable when the mark was written. It is a lower
//     bound, written when a log is opened and closed and now and then between. Bytes before the mark, and segments
//     before the last one, were durable: damage among them is told as damage, and where the log ends before the mark,
//     durable entries are lost and a new epoch starts at the first of them.
import { crc32 } from "node:zlib";
import type { Position } from "./contract.ts";
import type { FileSystem } from "./file-system.ts";
import { readWhole, writeAtomically } from "./atomic-file.ts";

const FILE = "EPOCHS";

/** Everything before it was durable once. */
export interface DurableMark {
  /** First sequence of the segment that was open. */
  readonly segment: number;
  /** Of its frames file. */
  readonly bytes: number;
  /** The last entry. */
  readonly sequence: number;
  /** Unix ms: about when the segment got its first entry. */
  readonly sinceMs: number;
}

/** Whether two marks say the same of what is durable. */
export function isSamePlace(a: DurableMark, b: DurableMark): boolean {
  return a.segment === b.segment && a.bytes === b.bytes && a.sequence === b.sequence;
}

export interface EpochsFile {
  /** Ascending by epoch and by sequence. */
  readonly epochs: readonly Position[];
  readonly mark: DurableMark;
}

export async function writeEpochs(fileSystem: FileSystem, folder: string, content: EpochsFile): Promise<void> {
  const text = JSON.stringify({
    version: 1,
    epochs: content.epochs.map((each) => [each.epoch, each.sequence]),
    mark: content.mark,
  });
  await writeAtomically(fileSystem, folder, FILE, Buffer.from(`${text}\n${checksum(text)}\n`));
}

/** "missing": never written. "damaged": does not prove itself. */
export async function readEpochs(fileSystem: FileSystem, folder: string): Promise<EpochsFile | "missing" | "damaged"> {
  const bytes = await readWhole(fileSystem, `${folder}/${FILE}`);
  if (bytes === undefined) return "missing";
  const [text, sum] = bytes.toString("utf8").split("\n");
  if (text === undefined || sum !== checksum(text)) return "damaged";
  const content = JSON.parse(text) as { epochs: [number, number][]; mark: DurableMark };
  return { epochs: content.epochs.map(([epoch, sequence]) => ({ epoch, sequence })), mark: content.mark };
}

/** The epoch that an entry belongs to. */
export function epochOf(epochs: readonly Position[], sequence: number): number {
  let epoch = epochs[0]!.epoch;
  for (const each of epochs) {
    if (each.sequence <= sequence) epoch = each.epoch;
  }
  return epoch;
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, "0");
}
