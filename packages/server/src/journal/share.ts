// What one of several journals may take of the memory that there is for all of them.
import { DEFAULT_JOURNAL_OPTIONS, type JournalOptions } from "./options.ts";

const MIB = 1024 * 1024;

/** The index of an open segment of small records takes about as much memory as half of its bytes. */
const SEGMENTS_BYTES = 512 * MIB;
const TAILS_BYTES = 64 * MIB;
const HISTORIES_BYTES = 128 * MIB;
const OPEN_FILES = 512;

/** @param journals how many share it */
export function shareOf(journals: number): Partial<JournalOptions> {
  const { segmentBytes, tailBytes, historyBytesMax, openFilesMax } = DEFAULT_JOURNAL_OPTIONS;
  const share = (whole: number, least: number, most: number) =>
    Math.min(most, Math.max(least, Math.floor(whole / Math.max(1, journals))));
  return {
    segmentBytes: share(SEGMENTS_BYTES, segmentBytes / 8, segmentBytes),
    tailBytes: share(TAILS_BYTES, tailBytes / 8, tailBytes),
    historyBytesMax: share(HISTORIES_BYTES, historyBytesMax / 4, historyBytesMax),
    openFilesMax: share(OPEN_FILES, openFilesMax / 4, openFilesMax),
  };
}
