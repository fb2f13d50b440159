// A channel: what was published to one set of topics, or to everyone, stored once for all who see it. What was for the topics a
// and b is a channel of its own, which the members of either see: so nobody has it twice, and counting needs no comparison.
//
// C1. Its removals are remembered with their sequences, so many of them: a reader who was away is told of them.
import type { RemovalName } from "../contract.ts";
import { type SharedEntry, SharedLine } from "./shared-line.ts";
import type { ValueReader, ValueWriter } from "./values.ts";

const PRIORITIES = 8;
const REMOVALS_KEPT = 65_536;

/** Of one record: all of one priority. */
export interface ChannelRemoval {
  readonly sequence: number;
  readonly reason: RemovalName;
  readonly priority: number;
  readonly ids: readonly number[];
  /** Of the items, in their order. */
  readonly sequences: readonly number[];
  readonly replacedBy: number;
}

export class Channel {
  /** Sorted; none: everyone. */
  readonly topics: readonly string[];
  readonly lines: (SharedLine | undefined)[] = Array.from({ length: PRIORITIES }, () => undefined);
  /** Ascending (C1). */
  readonly removals: ChannelRemoval[] = [];
  /** By collapse key, what has it now. */
  readonly collapsing = new Map<
    string,
    { readonly id: number; readonly priority: number; readonly sequence: number }
  >();
  /** Removals of these are on the way to the disk: bytes by sequence, and their sum. */
  readonly doomed = new Map<number, number>();
  doomedBytes = 0;
  size = 0;
  bytes = 0;
  /** Sequence of what was last added or removed. */
  lastEvent = 0;
  readonly #keys = new Map<number, string>();

  constructor(topics: readonly string[]) {
    this.topics = topics;
  }

  /** False: it is there already. */
  add(priority: number, entry: SharedEntry, collapseKey: string): boolean {
    const line = (this.lines[priority] ??= new SharedLine());
    if (!line.add(entry)) return false;
    this.size++;
    this.bytes += entry.bytes;
    if (collapseKey !== "") this.#keys.set(entry.id, collapseKey);
    return true;
  }

  remove(priority: number, sequence: number): SharedEntry | undefined {
    const entry = this.lines[priority]?.remove(sequence);
    this.spare(sequence);
    if (entry === undefined) return undefined;
    this.size--;
    this.bytes -= entry.bytes;
    const key = this.#keys.get(entry.id);
    if (key !== undefined) {
      this.#keys.delete(entry.id);
      if (this.collapsing.get(key)?.id === entry.id) this.collapsing.delete(key);
    }
    return entry;
  }

  /** All but its topics. */
  write(out: ValueWriter): void {
    for (const line of this.lines) {
      out.flag(line !== undefined);
      line?.write(out);
    }
    out.list(this.removals, ({ sequence, reason, priority, ids, sequences, replacedBy }) => {
      out.number(sequence);
      out.text(reason);
      out.number(priority);
      out.list(ids, (id) => out.number(id));
      out.list(sequences, (each) => out.number(each));
      out.number(replacedBy);
    });
    out.list(this.#keys, ([id, key]) => (out.number(id), out.text(key)));
    out.list(this.collapsing, ([key, { id, priority, sequence }]) => {
      out.text(key);
      for (const each of [id, priority, sequence]) out.number(each);
    });
    for (const each of [this.size, this.bytes, this.lastEvent]) out.number(each);
  }

  /** Into one that is empty. */
  read(values: ValueReader): void {
    const numbers = () => values.list(() => values.number());
    for (let priority = 0; priority < PRIORITIES; priority++) {
      if (values.flag()) (this.lines[priority] = new SharedLine()).read(values);
    }
    values.list(() => {
      const sequence = values.number();
      const reason = values.text() as RemovalName;
      const priority = values.number();
      const [ids, sequences] = [numbers(), numbers()];
      this.removals.push({ sequence, reason, priority, ids, sequences, replacedBy: values.number() });
    });
    values.list(() => this.#keys.set(values.number(), values.text()));
    values.list(() => {
      const key = values.text();
      const [id, priority] = [values.number(), values.number()];
      this.collapsing.set(key, { id, priority, sequence: values.number() });
    });
    this.size = values.number();
    this.bytes = values.number();
    this.lastEvent = values.number();
  }

  /** What has the collapse key now that an item has; undefined: the item itself, or it has none. */
  successor(id: number): { readonly id: number } | undefined {
    const key = this.#keys.get(id);
    const holder = key === undefined ? undefined : this.collapsing.get(key);
    return holder?.id === id ? undefined : holder;
  }

  doom(sequence: number, bytes: number): void {
    this.doomed.set(sequence, bytes);
    this.doomedBytes += bytes;
  }

  spare(sequence: number): void {
    this.doomedBytes -= this.doomed.get(sequence) ?? 0;
    this.doomed.delete(sequence);
  }

  noteRemoval(removal: ChannelRemoval): void {
    this.removals.push(removal);
    if (this.removals.length > REMOVALS_KEPT) this.removals.splice(0, REMOVALS_KEPT >> 2);
  }

  /** Index of the first removal behind this sequence. */
  firstRemovalAfter(sequence: number): number {
    let low = 0;
    let high = this.removals.length;
    if (high === 0 || this.removals[high - 1]!.sequence <= sequence) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.removals[middle]!.sequence <= sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The oldest that is not doomed, of all priorities. */
  oldest(): { readonly priority: number; readonly entry: SharedEntry } | undefined {
    let oldest: { priority: number; index: number; sequence: number } | undefined;
    for (let priority = 0; priority < PRIORITIES; priority++) {
      const line = this.lines[priority];
      if (line === undefined) continue;
      let index = line.nextAlive(0);
      while (index >= 0 && this.doomed.has(line.sequence(index))) index = line.nextAlive(line.sequence(index));
      if (index < 0) continue;
      const sequence = line.sequence(index);
      if (oldest === undefined || sequence < oldest.sequence) oldest = { priority, index, sequence };
    }
    if (oldest === undefined) return undefined;
    return { priority: oldest.priority, entry: this.lines[oldest.priority]!.entry(oldest.index) };
  }
}

/** A stretch of a channel that a user sees: `since` < sequence <= `until`. */
export interface Stretch {
  readonly since: number;
  readonly until: number;
}

/** Those of several topics as one: ascending, without overlap. */
export function unite(stretches: readonly Stretch[]): readonly Stretch[] {
  if (stretches.length < 2) return stretches;
  const sorted = stretches.toSorted((a, b) => a.since - b.since);
  const united: Stretch[] = [sorted[0]!];
  for (const each of sorted.slice(1)) {
    const last = united.at(-1)!;
    if (each.since > last.until) united.push(each);
    else united[united.length - 1] = { since: last.since, until: Math.max(last.until, each.until) };
  }
  return united;
}

export function covers(stretches: readonly Stretch[], sequence: number): boolean {
  return stretches.some(({ since, until }) => since < sequence && sequence <= until);
}
