// All users: 136 bytes each, and their name. What only some have (topics, devices, a policy, states of what is shared, readers)
// stands in an object beside, for those alone.
//
// U1. Of a user and priority the direct items are a list that ascends by sequence; `unread` counts those of it that are unread.
// U2. What stands in objects is changed behind `needExtra` only, so that it can be kept as it was when it was frozen.
import type { Policy } from "@sluice/api";
import type { WebPushTarget } from "../contract.ts";
import type { Channel, Stretch } from "./channel.ts";
import { type DirectItems, ItemFlag, readShape, writeShape } from "./direct-items.ts";
import type { EventLog } from "./event-log.ts";
import { NONE, type RowChunk, Rows } from "./rows.ts";
import type { ValueReader, ValueWriter } from "./values.ts";

export const PRIORITIES = 8;

const Field = { SINCE: 0, ANCHOR: 1, LAST_EVENT: 2, BYTES: 3 } as const;
const FLOATS = 4;
const HEADS = 0;
const TAILS = HEADS + PRIORITIES;
const UNREAD = TAILS + PRIORITIES;
const COUNT = UNREAD + PRIORITIES;
const INTEGERS = COUNT + 1;

/** What a user made of one item of a channel. */
export interface SharedState {
  readonly channel: Channel;
  readonly priority: number;
  readonly sequence: number;
  /** Of ItemFlag: SEEN, READ, ARCHIVED. */
  flags: number;
  /** Deleted, or the user has it by itself. */
  isHidden: boolean;
  revision: number;
  changed: number;
}

export interface DeviceState {
  ack: readonly number[] | undefined;
  webPush: WebPushTarget | undefined;
  lastSeenMs: number;
  /** Removed behind `ack` and forgotten by the log of events, by reason from 1 to 4 (0: unused). */
  missed: number[];
}

/** Up to these sequences, by priority, all that is shared was read, seen, archived. */
export interface Marks {
  readonly read: Float64Array;
  readonly seen: Float64Array;
  readonly archived: Float64Array;
  /** Sequence of the last change of them. */
  changed: number;
}

export interface VisibleChannel {
  readonly channel: Channel;
  readonly stretches: readonly Stretch[];
}

export interface UserExtra {
  readonly memberships: Map<string, Stretch[]>;
  readonly devices: Map<string, DeviceState>;
  /** By id. */
  readonly states: Map<number, SharedState>;
  policy: Policy | undefined;
  marks: Marks | undefined;
  log: EventLog | undefined;
  /** Made when it is asked for; `version` of the channels at that time. */
  visible: readonly VisibleChannel[] | undefined;
  visibleVersion: number;
  /** So many states were there when dead ones were last left out. */
  statesKept: number;
}

/** Users that are being saved: those behind `from` have not been written yet (U2). */
interface FrozenUsers {
  from: number;
  readonly end: number;
  /** Their names and what stands beside, of those that have changed since. */
  readonly kept: Map<number, { readonly name: string; readonly extra: Uint8Array }>;
  readonly encode: (extra: UserExtra) => Uint8Array;
}

const NOTHING = new Uint8Array(0);

export class UserTable {
  readonly #rows = new Rows(FLOATS, INTEGERS);
  readonly #indexes = new Map<string, number>();
  readonly #names: (string | undefined)[] = [];
  readonly #extras: (UserExtra | undefined)[] = [];
  readonly #items: DirectItems;
  /** Where the last one was put that came late, by list: what is carried comes in order. */
  readonly #late = new Map<number, number>();

  #frozen: FrozenUsers | undefined;

  constructor(items: DirectItems) {
    this.#items = items;
  }

  get size(): number {
    return this.#indexes.size;
  }

  /** NONE: there is no such user. */
  find(name: string): number {
    return this.#indexes.get(name) ?? NONE;
  }

  /** @param place of the record that says so first: what goes to everyone by that one is theirs already */
  add(name: string, place: number): number {
    const since = place - 1;
    const user = this.#rows.take();
    this.#keep(user);
    this.#indexes.set(name, user);
    this.#names[user] = name;
    this.#rows.setFloat(user, Field.SINCE, since);
    this.#rows.setFloat(user, Field.ANCHOR, place);
    this.#rows.setFloat(user, Field.LAST_EVENT, since);
    for (let priority = 0; priority < PRIORITIES; priority++) {
      this.#rows.setInteger(user, HEADS + priority, NONE);
      this.#rows.setInteger(user, TAILS + priority, NONE);
    }
    return user;
  }

  /** Its lists are empty. */
  remove(user: number): void {
    this.#keep(user);
    this.#indexes.delete(this.name(user));
    this.#names[user] = undefined;
    this.#extras[user] = undefined;
    this.#rows.release(user);
  }

  /** All of them, in no order that means something. */
  users(): Iterable<number> {
    return this.#indexes.values();
  }

  hasUser(user: number): boolean {
    return this.#names[user] !== undefined;
  }
  name(user: number): string {
    return this.#names[user]!;
  }
  extra(user: number): UserExtra | undefined {
    return this.#extras[user];
  }
  /** The same, made when it is not there. */
  needExtra(user: number): UserExtra {
    this.#keep(user);
    return (this.#extras[user] ??= {
      memberships: new Map(),
      devices: new Map(),
      states: new Map(),
      policy: undefined,
      marks: undefined,
      log: undefined,
      visible: undefined,
      visibleVersion: -1,
      statesKept: 0,
    });
  }
  dropExtra(user: number): void {
    this.#keep(user);
    this.#extras[user] = undefined;
  }
  /** What goes to everyone is theirs behind this sequence. */
  since(user: number): number {
    return this.#rows.float(user, Field.SINCE);
  }
  setSince(user: number, since: number): void {
    this.#rows.setFloat(user, Field.SINCE, since);
  }
  /** The record without which nothing would be known of the user: the first one, or the last snapshot. */
  anchor(user: number): number {
    return this.#rows.float(user, Field.ANCHOR);
  }
  setAnchor(user: number, place: number): void {
    this.#rows.setFloat(user, Field.ANCHOR, place);
  }
  /** Sequence of what last came, changed or went, of this user alone. */
  lastEvent(user: number): number {
    return this.#rows.float(user, Field.LAST_EVENT);
  }
  setLastEvent(user: number, sequence: number): void {
    this.#rows.setFloat(user, Field.LAST_EVENT, sequence);
  }
  head(user: number, priority: number): number {
    return this.#rows.integer(user, HEADS + priority);
  }
  tail(user: number, priority: number): number {
    return this.#rows.integer(user, TAILS + priority);
  }
  unread(user: number, priority: number): number {
    return this.#rows.integer(user, UNREAD + priority);
  }
  addUnread(user: number, priority: number, change: number): void {
    this.#rows.setInteger(user, UNREAD + priority, this.unread(user, priority) + change);
  }
  /** Of direct items, without those that were moved here. */
  count(user: number): number {
    return this.#rows.integer(user, COUNT);
  }
  bytes(user: number): number {
    return this.#rows.float(user, Field.BYTES);
  }

  /** Puts an item into its list (U1). */
  link(row: number): void {
    const items = this.#items;
    const user = items.user(row);
    const priority = items.priority(row);
    const sequence = items.sequence(row);
    let before = this.tail(user, priority);
    if (before !== NONE && items.sequence(before) > sequence) {
      before = this.#findBefore(user, priority, sequence);
      this.#late.set(user * PRIORITIES + priority, row);
    }
    const after = before === NONE ? this.head(user, priority) : items.next(before);
    items.setPrevious(row, before);
    items.setNext(row, after);
    this.#join(user, priority, before, row);
    this.#join(user, priority, row, after);
    if (items.isUnread(row)) this.addUnread(user, priority, 1);
    this.#account(user, row, 1);
  }

  unlink(row: number): void {
    const items = this.#items;
    const user = items.user(row);
    const priority = items.priority(row);
    const list = user * PRIORITIES + priority;
    if (this.#late.get(list) === row) this.#late.delete(list);
    this.#join(user, priority, items.previous(row), items.next(row));
    if (items.isUnread(row)) this.addUnread(user, priority, -1);
    this.#account(user, row, -1);
  }

  /** The item with this sequence; NONE: not there. Looks from both ends. */
  findBySequence(user: number, priority: number, sequence: number): number {
    const items = this.#items;
    let left = this.head(user, priority);
    let right = this.tail(user, priority);
    while (left !== NONE && right !== NONE) {
      const low = items.sequence(left);
      const high = items.sequence(right);
      if (low === sequence) return left;
      if (high === sequence) return right;
      if (low > sequence || high < sequence || left === right) return NONE;
      left = items.next(left);
      right = items.previous(right);
    }
    return NONE;
  }

  /** The first item behind this sequence; NONE: there is none. Looks from both ends. */
  firstAfter(user: number, priority: number, sequence: number): number {
    const items = this.#items;
    let left = this.head(user, priority);
    let right = this.tail(user, priority);
    let found = NONE;
    while (left !== NONE && right !== NONE) {
      if (items.sequence(left) > sequence) return left;
      if (items.sequence(right) <= sequence) return found;
      found = right;
      left = items.next(left);
      right = items.previous(right);
    }
    return found;
  }

  /** The item with this id, of any priority; NONE: not there. Costs as many steps as items are newer. */
  findById(user: number, id: number): number {
    const items = this.#items;
    for (let priority = PRIORITIES - 1; priority >= 0; priority--) {
      for (let row = this.tail(user, priority); row !== NONE; row = items.previous(row)) {
        if (items.sequence(row) < id) break;
        if (items.id(row) === id) return row;
      }
    }
    return NONE;
  }

  /** Freezes all of it (R2 of rows.ts, U2). Answers how many chunks of rows there are. */
  freeze(out: ValueWriter, encode: FrozenUsers["encode"]): number {
    const { chunks, ...shape } = this.#rows.freeze();
    writeShape(out, shape);
    this.#frozen = { from: 0, end: shape.fresh, kept: new Map(), encode };
    return chunks;
  }

  readFrozen(): RowChunk {
    return this.#rows.readFrozen();
  }

  /** Values and users that are kept for those who read what is frozen. */
  get kept(): number {
    return this.#rows.kept + (this.#frozen?.kept.size ?? 0);
  }

  /** Writes names, and what stands beside, of the next frozen users. False: there were none. */
  writeFrozen(out: ValueWriter, count: number): boolean {
    const frozen = this.#frozen!;
    const end = Math.min(frozen.end, frozen.from + count);
    if (frozen.from === end) return false;
    out.number(end - frozen.from);
    for (; frozen.from < end; frozen.from++) {
      const kept = frozen.kept.get(frozen.from);
      frozen.kept.delete(frozen.from);
      out.text(kept?.name ?? this.#names[frozen.from] ?? "");
      out.bytes(kept?.extra ?? this.#encodeExtra(frozen, frozen.from));
    }
    return true;
  }

  thaw(): void {
    this.#rows.thaw();
    this.#frozen = undefined;
  }

  /** What `freeze` wrote: chunks and users follow. */
  read(values: ValueReader): void {
    this.#rows.restore(readShape(values));
  }

  addChunk(): RowChunk {
    return this.#rows.addChunk();
  }

  /** All chunks have been read. */
  get isWhole(): boolean {
    return this.#rows.isWhole && this.#names.length === this.#rows.end;
  }

  /** Users as they were written, behind those that were read. @param decode is called when the user has its name */
  readUsers(values: ValueReader, decode: (user: number, extra: Uint8Array) => void): void {
    values.list(() => {
      const name = values.text();
      const extra = values.bytes();
      const user = this.#names.length;
      this.#names.push(name === "" ? undefined : name);
      if (name !== "") this.#indexes.set(name, user);
      if (extra.length > 0) decode(user, extra);
    });
  }

  #encodeExtra({ encode }: FrozenUsers, user: number): Uint8Array {
    const extra = this.#extras[user];
    return extra === undefined ? NOTHING : encode(extra);
  }

  /** U2. */
  #keep(user: number): void {
    const frozen = this.#frozen;
    if (frozen === undefined || user < frozen.from || user >= frozen.end || frozen.kept.has(user)) return;
    frozen.kept.set(user, { name: this.#names[user] ?? "", extra: this.#encodeExtra(frozen, user) });
  }

  /** All records were read: nothing comes late any more. */
  settle(): void {
    this.#late.clear();
  }

  /** The last item of the list before this sequence; NONE: none. */
  #findBefore(user: number, priority: number, sequence: number): number {
    const items = this.#items;
    const hint = this.#late.get(user * PRIORITIES + priority);
    if (hint !== undefined && items.sequence(hint) < sequence) {
      let row = hint;
      for (let next = items.next(row); next !== NONE && items.sequence(next) < sequence; next = items.next(row))
        row = next;
      return row;
    }
    const after = this.firstAfter(user, priority, sequence);
    return items.previous(after);
  }

  #join(user: number, priority: number, left: number, right: number): void {
    if (left === NONE) this.#rows.setInteger(user, HEADS + priority, right);
    else this.#items.setNext(left, right);
    if (right === NONE) this.#rows.setInteger(user, TAILS + priority, left);
    else this.#items.setPrevious(right, left);
  }

  #account(user: number, row: number, sign: number): void {
    if (this.#items.has(row, ItemFlag.MOVED)) return;
    this.#rows.setInteger(user, COUNT, this.count(user) + sign);
    this.#rows.setFloat(user, Field.BYTES, this.bytes(user) + sign * this.#items.bytes(row));
  }
}
