// Every bound of the server, with its reason. All can be configured.

export interface Limits {
  /** One stored entry with the server's fields: larger ones are attachments, not log lines. */
  readonly entryBytesMax: number;
  /** Fields of one entry. */
  readonly entryFieldsMax: number;
  /** Different applications in one log: each costs memory for its statistics. */
  readonly applicationsMax: number;
  /** Idempotent producers remembered per log; beyond it the one idle for longest is forgotten. */
  readonly producersMax: number;
  /** Bytes appended but not durable yet; at the bound writers wait. */
  readonly pendingBytesMax: number;
  /** Filter terms of one request, and the length of each. */
  readonly filtersMax: number;
  readonly filterBytesMax: number;
  /** Open follows. */
  readonly followersMax: number;
}

export const DEFAULT_LIMITS: Limits = {
  entryBytesMax: 1024 * 1024,
  entryFieldsMax: 1024,
  applicationsMax: 100_000,
  producersMax: 100_000,
  pendingBytesMax: 64 * 1024 * 1024,
  filtersMax: 64,
  filterBytesMax: 4096,
  followersMax: 1_000_000,
};
