// The log of the store that a journal is made of: what of the store a journal needs, and what it does without.
//
// L1. A journal is one era. A log that lost durable entries begins a new one; what is made of records is nothing without a part of them.
import type { Clock } from "../store/contract.ts";
import type { FileSystem } from "../store/file-system.ts";
import { type Log, openLog } from "../store/log.ts";
import { DataLoss } from "../errors.ts";
import type { JournalSubject } from "./contract.ts";
import { recordFrameCodec } from "./frame-codec.ts";
import type { JournalOptions } from "./options.ts";

/** Looks at what is to be written or tried again come so far apart: a server may have hundreds of journals. */
const TICK_MS = 10_000;

/** @throws DataLoss (L1); what the file system says */
export async function openRecordLog(
  request: {
    readonly folder: string;
    readonly subject: JournalSubject;
    readonly format: { readonly kindsMax: number };
    readonly fileSystem: FileSystem;
    readonly clock: Clock;
    readonly onFault?: (text: string) => void;
  },
  options: JournalOptions,
): Promise<Log> {
  const { folder, subject, format, fileSystem, clock, onFault } = request;
  const { segmentBytes, groupBytesMax, recordBytesMax, pendingBytesMax, tailBytes, historyBytesMax } = options;
  const log = await openLog({
    folder,
    name: subject.label,
    fileSystem,
    clock,
    codec: recordFrameCodec(format),
    options: {
      segmentBytes,
      groupBytesMax,
      // The journal keeps the bounds, in a turn in which it can still refuse.
      batchBytesMax: 2 * recordBytesMax + segmentBytes,
      pendingBytesMax: 4 * pendingBytesMax + segmentBytes,
      tailBytes,
      historyBytesMax,
      openFilesMax: options.openFilesMax,
      applicationsMax: 1,
      producersMax: 0,
      tickMs: TICK_MS,
      scrubBytesPerSecond: options.scrubBytesPerSecond,
    },
    onEvent(event) {
      if (event.kind === "fault") onFault?.(event.text);
      if (event.kind === "damage-found") onFault?.(`records ${event.first} to ${event.last} are damaged on disk`);
    },
  });
  try {
    // Records have no label: the log gives the empty one the number that they all have.
    log.writer.internLabel("");
    assertWhole(log, request);
    return log;
  } catch (error) {
    await log[Symbol.asyncDispose]();
    throw error;
  }
}

/** L1. */
function assertWhole({ report, reader }: Log, { subject, folder }: { subject: JournalSubject; folder: string }): void {
  const { lost } = report;
  if (reader.epochs.length === 1) return;
  const where =
    lost === undefined ? `before record ${reader.epochs.at(-1)!.sequence}` : `${lost.first} to ${lost.last}`;
  throw new DataLoss(
    `Cannot open ${subject.label}: its journal ${folder} ended with records that are gone (${where}); restore the folder, or ${subject.remedy}`,
    { ...subject.facts, folder },
  );
}
