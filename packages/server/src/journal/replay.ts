// Hands the records of a journal to its owner when it is opened.
//
// P1. All of them that it does not know, in their order, from the oldest that is there. One that does not prove itself ends it with DataLoss.
// P2. A server that opens a journal anew serves others meanwhile: the event loop is free between two slices.
import { crc32 } from "node:zlib";
import type { FileSystem } from "../store/file-system.ts";
import type { GapRun } from "../store/contract.ts";
import type { Log } from "../store/log.ts";
import { findSegments } from "../store/segment-files.ts";
import { DataLoss } from "../errors.ts";
import type { JournalOwner, JournalSubject, Place, RecordFormat } from "./contract.ts";
import { FRAME_HEADER_BYTES } from "./layout.ts";
import { nextTurn } from "../stream/turn.ts";

/** A millisecond or so, its owner included. */
const SLICE_BYTES = 128 * 1024;

/** Resolves with how many records there were. @throws DataLoss */
export async function replayRecords<Stored, New>(
  log: Log,
  journal: {
    readonly folder: string;
    readonly subject: JournalSubject;
    readonly fileSystem: FileSystem;
    readonly owner: JournalOwner<Stored, New>;
    readonly format: RecordFormat<Stored, New>;
  },
): Promise<number> {
  const { reader } = log;
  const { owner } = journal;
  const records = journal.format.createReader();
  const there = { first: reader.first, last: reader.head.sequence, sumOf: (place: Place) => sumOfRecord(log, place) };
  const known = (await owner.recall?.(there)) ?? 0;
  const scan = reader.scan(Math.max(known, reader.first - 1));
  let count = 0;
  let sliceBytes = 0;
  try {
    for (let run = await scan.next(SLICE_BYTES); run !== undefined; run = await scan.next(SLICE_BYTES)) {
      if (run.kind === "gap") throw await damaged(journal, run);
      const { bytes, starts } = run;
      for (let i = 0; i < run.count; i++) {
        const start = starts[i]!;
        const end = starts[i + 1]!;
        owner.replay(records.read(bytes, start + FRAME_HEADER_BYTES, end), run.first + i, end - start);
      }
      count += run.count;
      sliceBytes += bytes.length;
      scan.release?.();
      if (sliceBytes >= SLICE_BYTES) {
        sliceBytes = 0;
        await nextTurn();
      }
    }
  } finally {
    scan.close();
  }
  return count;
}

/** CRC-32 of the frame of a record; undefined: it is not there, or does not prove itself. */
export async function sumOfRecord(log: Log, place: Place): Promise<number | undefined> {
  if (place < log.reader.first || place > log.reader.head.sequence) return undefined;
  const scan = log.reader.scan(place - 1);
  try {
    const run = await scan.next(1);
    return run?.kind === "entries" && run.first === place
      ? crc32(run.bytes.subarray(run.starts[0], run.starts[1]))
      : undefined;
  } finally {
    scan.close();
  }
}

async function damaged(
  {
    folder,
    subject,
    fileSystem,
  }: { readonly folder: string; readonly subject: JournalSubject; readonly fileSystem: FileSystem },
  { first, last }: GapRun,
): Promise<DataLoss> {
  const names = await fileSystem.list(folder);
  const segment = findSegments(names).firsts.findLast((each) => each <= first);
  const file = names.find((each) => each.endsWith(".frames") && Number(each.split(".")[0]) === segment);
  const which = first === last ? `record ${first}` : `records ${first} to ${last}`;
  return new DataLoss(
    `Cannot open ${subject.label}: ${which} in ${folder}/${file ?? "a file that is gone"} ${first === last ? "does not prove itself" : "do not prove themselves"}; restore the file, or ${subject.remedy}`,
    { ...subject.facts, file: `${folder}/${file ?? ""}`, first: String(first), last: String(last) },
  );
}
