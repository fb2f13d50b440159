// Cursors: where a reader of a log is, as opaque text that it can keep and hand back.
//
// 14 characters of base64url hold 10 bytes, big-endian: 2 of a hash of the log's name (so that a cursor of another log
// is refused instead of obeyed), 2 of the epoch, 6 of the sequence.
import { InvalidRequest, SluiceError } from "../errors.ts";
import type { LogReader, Position } from "../store/contract.ts";

/** Characters of a cursor, all ASCII. */
export const CURSOR_LENGTH = 14;

const ALPHABET = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", "latin1");
const PATTERN = /^[A-Za-z0-9_-]{13}[AQgw]$/;
const EPOCH_MAX = 0xffff;

/** The cursor of a position in the log of this name. */
export function formatCursor(log: string, position: Position): string {
  const bytes = Buffer.alloc(10);
  bytes.writeUInt16BE(hashOfName(log), 0);
  bytes.writeUInt16BE(checkedEpoch(position.epoch), 2);
  bytes.writeUIntBE(position.sequence, 4, 6);
  return bytes.toString("base64url");
}

/**
 * The position behind a cursor. That it lies in the log's past is for `resumeAfter` to see.
 * @throws InvalidRequest when it is no cursor, or one of another log
 */
export function parseCursor(log: string, cursor: string, field: string): Position {
  if (!PATTERN.test(cursor)) {
    throw new InvalidRequest("MALFORMED_CURSOR", [
      { field, description: "this is no cursor; use one that an entry, a sync or a gap carried" },
    ]);
  }
  const bytes = Buffer.from(cursor, "base64url");
  if (bytes.readUInt16BE(0) !== hashOfName(log)) {
    throw new InvalidRequest("CURSOR_OF_ANOTHER_LOG", [
      { field, description: `this cursor is not of the log "${log}"` },
    ]);
  }
  return { epoch: bytes.readUInt16BE(2), sequence: bytes.readUIntBE(4, 6) };
}

/** The epoch in a stored cursor; -1 when it is none. */
export function readEpoch(cursor: string): number {
  return PATTERN.test(cursor) ? Buffer.from(cursor, "base64url").readUInt16BE(2) : -1;
}

/** Where to go on after a cursor, and what of what it stands for has been cut since. */
export interface Resumption {
  /** Read what comes after this sequence. */
  readonly after: number;
  /** The reader saw `count` entries up to `seen` that a later epoch has replaced. */
  readonly cut: { readonly seen: Position; readonly count: number } | undefined;
}

/**
 * Resolves a position against the log's table of eras. An era ends where the next one begins: what a reader saw beyond
 * that is not in the log any more.
 * @throws SluiceError (out-of-range) when the position is ahead of the log
 */
export function resumeAfter(reader: LogReader, position: Position): Resumption {
  const { head } = reader;
  const next = reader.epochs.find((era) => era.epoch > position.epoch);
  if (next !== undefined && position.sequence >= next.sequence) {
    return { after: next.sequence - 1, cut: { seen: position, count: position.sequence - next.sequence + 1 } };
  }
  if (position.epoch > head.epoch || position.sequence > head.sequence) {
    throw new SluiceError(
      "out-of-range",
      `Cannot go on after entry ${position.sequence} of epoch ${position.epoch}: the log "${reader.name}" ends at ` +
        `entry ${head.sequence} of epoch ${head.epoch}`,
      { reason: "CURSOR_AHEAD", metadata: { head_cursor: formatCursor(reader.name, head) } },
    );
  }
  return { after: position.sequence, cut: undefined };
}

/** The position of a sequence in the log as it is now. */
function positionOf(reader: LogReader, sequence: number): Position {
  let epoch = reader.epochs[0]?.epoch ?? reader.head.epoch;
  for (const era of reader.epochs) {
    if (era.sequence <= sequence) epoch = era.epoch;
  }
  return { epoch, sequence };
}

/** The cursor of a sequence in the log as it is now. */
export function cursorOf(reader: LogReader, sequence: number): string {
  return formatCursor(reader.name, positionOf(reader, sequence));
}

/** Writes the cursors of entries that follow one another: six table look-ups each. */
export class CursorStamp {
  readonly #log: string;
  readonly #epoch: number;
  /** The eight characters that only change every 2^32 entries, and for which upper part of the sequence they stand. */
  #prefix: Uint8Array = new Uint8Array(0);
  #prefixHigh = -1;

  constructor(log: string, epoch: number) {
    this.#log = log;
    this.#epoch = checkedEpoch(epoch);
  }

  /** Writes CURSOR_LENGTH bytes at `at`. */
  write(bytes: Uint8Array, at: number, sequence: number): void {
    const high = Math.floor(sequence / 0x1_0000_0000);
    if (high !== this.#prefixHigh) this.#refresh(high);
    const prefix = this.#prefix;
    for (let i = 0; i < 8; i++) bytes[at + i] = prefix[i]!;
    const low = sequence | 0;
    bytes[at + 8] = ALPHABET[low >>> 26]!;
    bytes[at + 9] = ALPHABET[(low >>> 20) & 63]!;
    bytes[at + 10] = ALPHABET[(low >>> 14) & 63]!;
    bytes[at + 11] = ALPHABET[(low >>> 8) & 63]!;
    bytes[at + 12] = ALPHABET[(low >>> 2) & 63]!;
    bytes[at + 13] = ALPHABET[(low & 3) << 4]!;
  }

  #refresh(high: number): void {
    const position = { epoch: this.#epoch, sequence: high * 0x1_0000_0000 };
    this.#prefix = Buffer.from(formatCursor(this.#log, position).slice(0, 8), "latin1");
    this.#prefixHigh = high;
  }
}

function checkedEpoch(epoch: number): number {
  if (epoch > EPOCH_MAX) throw new RangeError(`Cannot make a cursor of epoch ${epoch}: the last one is ${EPOCH_MAX}`);
  return epoch;
}

/** FNV-1a, folded to 16 bits. */
function hashOfName(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name, "utf8")) hash = Math.imul(hash ^ byte, 0x01000193);
  return ((hash >>> 16) ^ hash) & 0xffff;
}
