// Cursors of inboxes: how far somebody has read, as opaque text that they can keep and hand back.
//
// base64url of: a byte of flags, the epoch, one sequence or eight (by priority from 0 to 7) as varints, and the tag of a user.
//
// C1. While nothing has overtaken anything the eight are equal and written as one. So the cursor of what goes to everyone is
//     the same text for all readers, and its frame the same bytes.
// C2. The cursor of what one user alone has carries their tag: another user's is refused, not obeyed. The tag keeps mistakes
//     out, it is no secret: a cursor gives no right to anything, for each reader is shown their own inbox only.
import { InvalidRequest } from "../errors.ts";
import { WireReader, writeVarint } from "../stream/wire.ts";

/** 0 to 7; 7 is the most urgent. */
export const PRIORITIES = 8;

/** How far somebody has read. */
export interface InboxPosition {
  readonly epoch: number;
  /** By priority from 0 to 7: everything up to this sequence. */
  readonly through: readonly number[];
}

const Flag = { BY_PRIORITY: 1, OF_USER: 2 } as const;
const FLAGS = Flag.BY_PRIORITY | Flag.OF_USER;
const TAG_BYTES = 4;
/** A byte of flags, up to nine varints of eight bytes, a tag. */
const BYTES_MAX = 1 + 9 * 8 + TAG_BYTES;
const TEXT = /^[A-Za-z0-9_-]+$/;

/** The same sequence for all priorities. */
export function positionAt(epoch: number, sequence: number): InboxPosition {
  return { epoch, through: Array.from({ length: PRIORITIES }, () => sequence) };
}

/** The sequence up to which everything was read, whatever its priority. */
export function leastOf({ through }: InboxPosition): number {
  return Math.min(...through);
}

/** @param user whose alone it is; undefined: of what goes to everyone (C1) */
export function formatInboxCursor({ epoch, through }: InboxPosition, user: string | undefined): string {
  const bytes = Buffer.allocUnsafe(BYTES_MAX);
  const isByPriority = through.some((sequence) => sequence !== through[0]);
  bytes[0] = (isByPriority ? Flag.BY_PRIORITY : 0) | (user === undefined ? 0 : Flag.OF_USER);
  let at = writeVarint(bytes, 1, epoch);
  for (const sequence of isByPriority ? through : through.slice(0, 1)) at = writeVarint(bytes, at, sequence);
  if (user !== undefined) at = bytes.writeUInt32LE(tagOf(user), at);
  return bytes.toString("base64url", 0, at);
}

/**
 * What a cursor says. That it does not lie ahead of what there is, is for the reader to see.
 * @throws InvalidRequest when it is no cursor, or another user's (C2)
 */
export function parseInboxCursor(cursor: string, user: string, field: string): InboxPosition {
  const malformed = (): InvalidRequest => {
    const description = "this is no cursor; use one that a notification, a control or a list carried";
    return new InvalidRequest("MALFORMED_CURSOR", [{ field, description }]);
  };
  // Two characters more than the bytes need: base64url has no padding, but Buffer takes it.
  if (cursor.length > BYTES_MAX * 2 || !TEXT.test(cursor)) throw malformed();
  const bytes = Buffer.from(cursor, "base64url");
  const flags = bytes[0] ?? 0;
  const end = bytes.length - (flags & Flag.OF_USER ? TAG_BYTES : 0);
  if (flags > FLAGS || end < 3) throw malformed();
  const reader = new WireReader();
  reader.open(bytes, 1, end);
  const read = (): number => {
    reader.varint();
    if (reader.high > 0x1f_ffff) reader.fail();
    return reader.high * 0x1_0000_0000 + reader.low;
  };
  const epoch = read();
  const through: number[] = [];
  for (let left = flags & Flag.BY_PRIORITY ? PRIORITIES : 1; left > 0; left--) through.push(read());
  if (reader.hasFailed || reader.pos !== end) throw malformed();
  if (flags & Flag.OF_USER && bytes.readUInt32LE(end) !== tagOf(user)) {
    throw new InvalidRequest("CURSOR_OF_ANOTHER_USER", [{ field, description: "this cursor is another user's" }]);
  }
  return through.length === 1 ? positionAt(epoch, through[0]!) : { epoch, through };
}

/** FNV-1a of 32 bits. */
function tagOf(user: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(user, "utf8")) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
