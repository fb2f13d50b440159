// What a push has done so far.

export interface PushCounts {
  /** Lines that became entries; of a cut line, each piece. */
  lines: number;
  /** Of them, answered by the server. */
  acknowledged: number;
  /** Of those: how many the log already had. */
  duplicates: number;
  /** Of those: how many the server refused. */
  rejected: number;
  /** Lines without anything on them, which become no entry. */
  blank: number;
  /** Lines that were JSON. */
  json: number;
  /** Pieces of lines that were too long to be one entry. */
  pieces: number;
  /** Invalid UTF-8 sequences, each replaced by U+FFFD. */
  replaced: number;
  /** Bytes of lines that were answered. */
  bytes: number;
}

export function noCounts(): PushCounts {
  return { lines: 0, acknowledged: 0, duplicates: 0, rejected: 0, blank: 0, json: 0, pieces: 0, replaced: 0, bytes: 0 };
}
