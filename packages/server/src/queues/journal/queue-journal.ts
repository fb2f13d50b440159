// The journal of a queue: its records as a journal has them. The body of one is the job of a JobAdded.
import type { JournalRecord } from "@sluice/api";
import type { RecordFormat } from "../../journal/contract.ts";
import { recordFrameCodec } from "../../journal/frame-codec.ts";
import { type OpenJournal, openJournal, type OpenJournalRequest } from "../../journal/journal.ts";
import type { NewRecord } from "../contract.ts";
import { findJob, QueueRecordReader } from "./decode.ts";
import { KindEncoder } from "./encode.ts";
import { RecordTag } from "./layout.ts";

const ADDED = RecordTag.ADDED >> 3;
const QUEUE = RecordTag.QUEUE >> 3;
const DEDUP = RecordTag.DEDUP >> 3;

export const queueRecords: RecordFormat<JournalRecord, NewRecord> = {
  kindsMax: DEDUP,
  createEncoder: () => new KindEncoder(),
  createReader: () => new QueueRecordReader(),
  // All others speak of jobs.
  isCarried: (kind) => kind === ADDED || kind === QUEUE || kind === DEDUP,
  hasBody: ({ kind }) => kind?.case === "added",
  findBody: findJob,
};

/** How a stored record of a queue proves itself. */
export const queueFrameCodec = recordFrameCodec(queueRecords);

export type QueueJournal = OpenJournal<NewRecord>;

/** Of the queue of this name. */
export interface OpenQueueJournal extends Omit<OpenJournalRequest<JournalRecord, NewRecord>, "subject" | "format"> {
  readonly name: string;
}

/** Opens the journal of a queue, or makes it, as `openJournal` does. @throws as that does */
export function openQueueJournal({ name, ...request }: OpenQueueJournal): Promise<QueueJournal> {
  const subject = { label: `queue "${name}"`, code: "QUEUE", facts: { queue: name }, remedy: "delete the queue" };
  return openJournal({ ...request, subject, format: queueRecords });
}
