// The kinds of a queue's records (docs/formats/queue.md); how a record lies in its frame says the journal's layout.

/** Tags of JournalRecord: field number × 8 + wire type. */
export const RecordTag = {
  ADDED: 10,
  STARTED: 18,
  ENDED: 26,
  RETURNED: 34,
  FAILED: 42,
  REDRIVEN: 50,
  QUEUE: 58,
  DEDUP: 66,
} as const;
