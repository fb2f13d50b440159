// What a store of notifications is opened with.
import type { DiskSpace } from "../journal/disk-space.ts";
import type { JournalOptions } from "../journal/options.ts";
import type { Limits } from "../limits.ts";
import type { Clock } from "../store/contract.ts";
import type { FileSystem } from "../store/file-system.ts";

const MIB = 1024 * 1024;

export type StoreLimits = Pick<
  Limits,
  | "usersMax"
  | "topicsMax"
  | "topicsPerUserMax"
  | "devicesPerUserMax"
  | "inboxItemsMax"
  | "inboxBytesMax"
  | "inboxItemsTotalMax"
  | "sharedItemsMax"
  | "sharedBytesMax"
  | "rememberedKeysMax"
>;

export interface OpenStoreRequest {
  /** Of notifications alone; made when it is missing. */
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly limits: StoreLimits;
  /** From 0 up to 1: draws the era of a new store. */
  readonly random: () => number;
  readonly options?: Partial<JournalOptions>;
  /** At least so many records lie between two checkpoints. */
  readonly checkpointRecords?: number;
  /** Shared by the journals of a server. */
  readonly space?: DiskSpace;
  /** Hears of what goes wrong in the background, in a sentence. */
  readonly onFault?: (text: string) => void;
}

/** One journal for all: larger than that of a queue. */
export const STORE_JOURNAL_OPTIONS: Partial<JournalOptions> = {
  segmentBytes: 32 * MIB,
  pendingBytesMax: 32 * MIB,
  tailBytes: 16 * MIB,
  historyBytesMax: 32 * MIB,
  openFilesMax: 64,
};
