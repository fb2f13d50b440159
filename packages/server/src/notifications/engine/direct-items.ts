// The notifications that users have by themselves, one row each: 52 bytes, and 4 in the heap of those that expire. Of a user and
// priority they are a list, ascending by delivery (users.ts has its ends).
//
// D1. A list ascends by sequence; of a user no two items have the same one.
// D2. Sequence, id, place and last change of a row stand as one float and three distances; a distance that 32 bits do not hold
//     stands beside.
import { RowHeap } from "./row-heap.ts";
import { NONE, type RowChunk, Rows, type RowsShape } from "./rows.ts";
import type { ValueReader, ValueWriter } from "./values.ts";

const SEQUENCE = 0;

const Column = {
  PREVIOUS: 0,
  NEXT: 1,
  USER: 2,
  FLAGS: 3,
  BYTES: 4,
  EXPIRES: 5,
  DELIVERED: 6,
  EXPIRY_INDEX: 7,
  /** sequence - id. */
  DELAY: 8,
  /** place - id. */
  MOVED: 9,
  /** change - sequence; 0: none. */
  CHANGED: 10,
} as const;
const FLOATS = 1;
const INTEGERS = 11;

/** In FLAGS: the priority in 3 bits, then these, the revision in 6 bits, the type in 16. */
export const ItemFlag = {
  SEEN: 1 << 3,
  READ: 1 << 4,
  ARCHIVED: 1 << 5,
  SNOOZED: 1 << 6,
  /** Its body is in several inboxes. */
  MULTIPLE: 1 << 7,
  /** It came by a topic or to everyone, and was snoozed: bounds do not count it. */
  MOVED: 1 << 8,
  /** Its removal is on the way to the disk. */
  DOOMED: 1 << 9,
} as const;
const NOT_UNREAD = ItemFlag.READ | ItemFlag.ARCHIVED | ItemFlag.SNOOZED;
const REVISION_SHIFT = 10;
const REVISION_MAX = 0x3f;
const TYPE_SHIFT = 16;
const FAR = 0xffff_ffff;

export interface NewDirectItem {
  readonly user: number;
  readonly id: number;
  readonly sequence: number;
  readonly place: number;
  readonly priority: number;
  /** Of ItemFlag. */
  readonly flags: number;
  readonly type: number;
  readonly bytes: number;
  /** Unix s; 0: never. */
  readonly expiresAt: number;
  /** Unix s. */
  readonly deliveredAt: number;
}

export class DirectItems {
  readonly #rows = new Rows(FLOATS, INTEGERS);
  /** D2. By row and column. */
  readonly #far = new Map<number, number>();
  readonly #revisions = new Map<number, number>();
  /** Those that expire, the first at the front. */
  readonly expiring = new RowHeap({
    key: (row) => this.expiresAt(row),
    setIndex: (row, index) => this.#rows.setInteger(row, Column.EXPIRY_INDEX, index),
  });

  get size(): number {
    return this.#rows.size;
  }

  add(item: NewDirectItem): number {
    const rows = this.#rows;
    const row = rows.take();
    rows.setFloat(row, SEQUENCE, item.sequence);
    rows.setInteger(row, Column.PREVIOUS, NONE);
    rows.setInteger(row, Column.NEXT, NONE);
    rows.setInteger(row, Column.USER, item.user);
    rows.setInteger(row, Column.FLAGS, item.priority | item.flags | (item.type << TYPE_SHIFT));
    rows.setInteger(row, Column.BYTES, item.bytes);
    rows.setInteger(row, Column.EXPIRES, item.expiresAt);
    rows.setInteger(row, Column.DELIVERED, item.deliveredAt);
    this.#setDistance(row, Column.DELAY, item.sequence - item.id);
    this.#setDistance(row, Column.MOVED, item.place - item.id);
    rows.setInteger(row, Column.EXPIRY_INDEX, NONE);
    if (item.expiresAt > 0) this.expiring.push(row);
    return row;
  }

  remove(row: number): void {
    const rows = this.#rows;
    const index = rows.integer(row, Column.EXPIRY_INDEX);
    if (index !== NONE) this.expiring.remove(index);
    for (const column of [Column.DELAY, Column.MOVED, Column.CHANGED]) {
      if (rows.integer(row, column) === -1) this.#far.delete(row * INTEGERS + column);
    }
    this.#revisions.delete(row);
    // So that whoever remembers the row sees that it is another one (D1).
    rows.setFloat(row, SEQUENCE, 0);
    rows.setInteger(row, Column.USER, NONE);
    rows.release(row);
  }

  sequence(row: number): number {
    return this.#rows.float(row, SEQUENCE);
  }
  id(row: number): number {
    return this.sequence(row) - this.#distance(row, Column.DELAY);
  }
  place(row: number): number {
    return this.id(row) + this.#distance(row, Column.MOVED);
  }
  setPlace(row: number, place: number): void {
    this.#setDistance(row, Column.MOVED, place - this.id(row));
  }
  /** Sequence of its last change; 0: as it was delivered. */
  changed(row: number): number {
    const distance = this.#distance(row, Column.CHANGED);
    return distance === 0 ? 0 : this.sequence(row) + distance;
  }
  setChanged(row: number, sequence: number): void {
    this.#setDistance(row, Column.CHANGED, Math.max(0, sequence - this.sequence(row)));
  }
  /** It is delivered once more: not in any list meanwhile. */
  deliverAgain(row: number, delivery: { readonly sequence: number; readonly at: number }): void {
    const id = this.id(row);
    this.#rows.setFloat(row, SEQUENCE, delivery.sequence);
    this.#setDistance(row, Column.DELAY, delivery.sequence - id);
    this.#setDistance(row, Column.CHANGED, 0);
    this.#rows.setInteger(row, Column.DELIVERED, delivery.at);
  }
  previous(row: number): number {
    return this.#rows.integer(row, Column.PREVIOUS);
  }
  setPrevious(row: number, previous: number): void {
    this.#rows.setInteger(row, Column.PREVIOUS, previous);
  }
  next(row: number): number {
    return this.#rows.integer(row, Column.NEXT);
  }
  setNext(row: number, next: number): void {
    this.#rows.setInteger(row, Column.NEXT, next);
  }
  user(row: number): number {
    return this.#rows.integer(row, Column.USER);
  }
  bytes(row: number): number {
    return this.#rows.integer(row, Column.BYTES) >>> 0;
  }
  /** Unix s; 0: never. */
  expiresAt(row: number): number {
    return this.#rows.integer(row, Column.EXPIRES) >>> 0;
  }
  /** Where it stands among those that expire; NONE: nowhere. */
  expiryIndex(row: number): number {
    return this.#rows.integer(row, Column.EXPIRY_INDEX);
  }
  deliveredAt(row: number): number {
    return this.#rows.integer(row, Column.DELIVERED) >>> 0;
  }
  priority(row: number): number {
    return this.#rows.integer(row, Column.FLAGS) & 7;
  }
  type(row: number): number {
    return this.#rows.integer(row, Column.FLAGS) >>> TYPE_SHIFT;
  }
  has(row: number, flag: number): boolean {
    return (this.#rows.integer(row, Column.FLAGS) & flag) !== 0;
  }
  set(row: number, flag: number, isSet: boolean): void {
    const flags = this.#rows.integer(row, Column.FLAGS);
    this.#rows.setInteger(row, Column.FLAGS, isSet ? flags | flag : flags & ~flag);
  }
  isUnread(row: number): boolean {
    return !this.has(row, NOT_UNREAD);
  }
  revision(row: number): number {
    const revision = (this.#rows.integer(row, Column.FLAGS) >> REVISION_SHIFT) & REVISION_MAX;
    return revision < REVISION_MAX ? revision : this.#revisions.get(row)!;
  }
  setRevision(row: number, revision: number): void {
    const flags = this.#rows.integer(row, Column.FLAGS) & ~(REVISION_MAX << REVISION_SHIFT);
    this.#rows.setInteger(row, Column.FLAGS, flags | (Math.min(revision, REVISION_MAX) << REVISION_SHIFT));
    if (revision >= REVISION_MAX) this.#revisions.set(row, revision);
  }

  /** Bounded by what is overwritten while it is frozen: values. */
  get kept(): number {
    return this.#rows.kept;
  }

  /** Writes what stands beside the rows, and freezes them (R2 of rows.ts). Answers how many chunks they are. */
  freeze(out: ValueWriter): number {
    for (const map of [this.#far, this.#revisions]) {
      out.list(map, ([key, value]) => (out.number(key), out.number(value)));
    }
    out.column(this.expiring.copy());
    const { chunks, ...shape } = this.#rows.freeze();
    writeShape(out, shape);
    return chunks;
  }

  readFrozen(): RowChunk {
    return this.#rows.readFrozen();
  }

  thaw(): void {
    this.#rows.thaw();
  }

  /** The same: the chunks are added one by one. */
  read(values: ValueReader): void {
    for (const map of [this.#far, this.#revisions]) {
      for (const [key, value] of values.list(() => [values.number(), values.number()] as const)) map.set(key, value);
    }
    this.expiring.restore(values.column(Int32Array));
    this.#rows.restore(readShape(values));
  }

  addChunk(): RowChunk {
    return this.#rows.addChunk();
  }

  /** All chunks have been read. */
  get isWhole(): boolean {
    return this.#rows.isWhole;
  }

  #distance(row: number, column: number): number {
    const value = this.#rows.integer(row, column);
    return value === -1 ? this.#far.get(row * INTEGERS + column)! : value >>> 0;
  }

  /** -1, which is FAR, says that it stands beside. */
  #setDistance(row: number, column: number, distance: number): void {
    const isFar = distance >= FAR;
    if (this.#rows.integer(row, column) === -1 && !isFar) this.#far.delete(row * INTEGERS + column);
    if (isFar) this.#far.set(row * INTEGERS + column, distance);
    this.#rows.setInteger(row, column, isFar ? -1 : distance);
  }
}

export function writeShape(out: ValueWriter, { fresh, free, size }: RowsShape): void {
  out.number(fresh);
  out.number(free + 1);
  out.number(size);
}

export function readShape(values: ValueReader): RowsShape {
  const fresh = values.number();
  return { fresh, free: values.number() - 1, size: values.number() };
}

/** Of a chunk of items, the places of those that are doomed: their removals may not get to the disk. */
export function doomedIn({ integers }: RowChunk): number[] {
  const places: number[] = [];
  for (let at = Column.FLAGS; at < integers.length; at += INTEGERS) {
    // What is free keeps its flags.
    if ((integers[at]! & ItemFlag.DOOMED) === 0 || integers[at - Column.FLAGS + Column.USER] === NONE) continue;
    places.push((at - Column.FLAGS) / INTEGERS);
  }
  return places;
}
