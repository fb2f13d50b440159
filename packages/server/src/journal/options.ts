// The bounds of a journal, all of them small: a server may have hundreds of them.

const MIB = 1024 * 1024;

export interface JournalOptions {
  /** A segment is sealed before it would grow beyond: the unit of cleaning, and of what is left of a journal without anything alive. */
  readonly segmentBytes: number;
  /** Written and synced at once. */
  readonly groupBytesMax: number;
  /** One record, its body included. */
  readonly recordBytesMax: number;
  /** Appended and not durable yet; beyond it nothing is appended. */
  readonly pendingBytesMax: number;
  /** Newest records kept in memory: what was just appended is read without the disk. */
  readonly tailBytes: number;
  /** Blocks of older records kept in memory. */
  readonly historyBytesMax: number;
  readonly openFilesMax: number;
  /** Free space on the disk that is kept for records that end things, and for cleaning (J3). */
  readonly reserveBytes: number;
  /** Of the oldest segments, read and carried while the disk is not much fuller than it should be. */
  readonly cleanBytesPerSecond: number;
  readonly scrubBytesPerSecond: number;
}

export const DEFAULT_JOURNAL_OPTIONS: JournalOptions = {
  segmentBytes: 8 * MIB,
  groupBytesMax: MIB,
  recordBytesMax: 4 * MIB,
  pendingBytesMax: 16 * MIB,
  tailBytes: 2 * MIB,
  historyBytesMax: 4 * MIB,
  openFilesMax: 8,
  reserveBytes: 64 * MIB,
  cleanBytesPerSecond: 64 * MIB,
  scrubBytesPerSecond: MIB,
};
