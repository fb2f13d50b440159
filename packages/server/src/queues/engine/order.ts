// Which job comes next: the fairness keys with waiting jobs, by level.
//
// The highest level goes first. Within a level the key with the fewest jobs at workers for its weight, then the one that has
// had the least (start-time fair queueing: Goyal, Vin, Cheng, 1996): a key that comes back goes on at the virtual time of the
// moment (`take`), so idling saves nothing up. So a tenant with a million jobs does not delay another's single one.
//
// O1. A key stands in the heap of its level exactly when it has ready jobs and no throttle; in that of rises exactly when it
//     can still rise.
// O2. A key is there while it has jobs, or a throttle.
// Every operation is O(log keys) beside what `Line` costs.
import { PRIORITIES } from "../credit.ts";
import { FairKey, TOP_LEVEL } from "./fair-key.ts";
import { Heap } from "./heap.ts";
import { type JobTable, NONE } from "./job-table.ts";

/** What the order reads of the settings. */
export interface OrderSettings {
  readonly ageMs: number;
  readonly weights: ReadonlyMap<string, number>;
}

/** Among keys of one level. */
export function isServedBefore(
  a: { readonly active: number; readonly weight: number; readonly virtualTime: number; readonly index: number },
  b: { readonly active: number; readonly weight: number; readonly virtualTime: number; readonly index: number },
): boolean {
  const busy = a.active * b.weight - b.active * a.weight;
  if (busy !== 0) return busy < 0;
  const had = a.virtualTime - b.virtualTime;
  return had !== 0 ? had < 0 : a.index < b.index;
}

export class ReadyOrder {
  readonly #table: JobTable;
  #settings: OrderSettings;
  readonly #keys: (FairKey | undefined)[] = [];
  readonly #freeIndexes: number[] = [];
  readonly #byName = new Map<string, FairKey>();
  readonly #levels = Array.from(
    { length: PRIORITIES },
    () => new Heap<FairKey>({ before: isServedBefore, moved: (key, index) => void (key.levelIndex = index) }),
  );
  readonly #rises = new Heap<FairKey>({
    before: (a, b) => a.riseAtMs < b.riseAtMs,
    moved: (key, index) => void (key.riseIndex = index),
  });
  readonly #throttles = new Heap<FairKey>({
    before: (a, b) => a.throttledUntilMs < b.throttledUntilMs,
    moved: (key, index) => void (key.throttleIndex = index),
  });
  /** Keys with jobs of each priority that may go, and whose turn it is among them. */
  readonly #listed = Array.from({ length: PRIORITIES }, () => {
    const keys = new Set<FairKey>();
    return { keys, turn: keys.values() };
  });
  #virtualTime = 0;

  constructor(table: JobTable, settings: OrderSettings) {
    this.#table = table;
    this.#settings = settings;
  }

  get keyCount(): number {
    return this.#byName.size;
  }

  get throttleCount(): number {
    return this.#throttles.size;
  }

  /** Unix ms of the next end of a throttle; Infinity: none. */
  get throttleEndMs(): number {
    return this.#throttles.first?.throttledUntilMs ?? Infinity;
  }

  /** The key of a job. */
  keyOf(slot: number): FairKey {
    return this.#keys[this.#table.key(slot)]!;
  }

  findKey(name: string): FairKey | undefined {
    return this.#byName.get(name);
  }

  throttledKeys(): Iterable<FairKey> {
    return this.#throttles.items();
  }

  /** The keys that may be served now, the next one first; read while nothing changes. */
  *inTurn(): Generator<FairKey> {
    for (let level = TOP_LEVEL; level >= 0; level--) yield* this.#levels[level]!.inOrder();
  }

  get virtualTime(): number {
    return this.#virtualTime;
  }

  /** A job is there, of this key; until `leave`. */
  join(slot: number, name: string): void {
    const key = this.#need(name);
    key.jobs++;
    this.#table.setKey(slot, key.index);
  }

  leave(slot: number): void {
    const key = this.keyOf(slot);
    key.jobs--;
    this.#releaseIfIdle(key);
  }

  /** It may be handed out. */
  add(slot: number, nowMs: number): void {
    const key = this.keyOf(slot);
    if (key.add(slot)) this.#place(key, nowMs);
  }

  /** It may not any more. */
  remove(slot: number, nowMs: number): void {
    const key = this.keyOf(slot);
    if (key.remove(slot)) this.#place(key, nowMs);
  }

  /** It goes to a worker: taken out, and counted for its key until `giveBack`. */
  take(slot: number, nowMs: number): void {
    const key = this.keyOf(slot);
    this.#virtualTime = Math.max(this.#virtualTime, key.virtualTime);
    key.virtualTime = this.#virtualTime + 1 / key.weight;
    key.servedAtMs = nowMs;
    key.active++;
    key.remove(slot);
    this.#place(key, nowMs);
  }

  /** A job of this key is at a worker without having been taken here: replayed. */
  countActive(slot: number): void {
    this.keyOf(slot).active++;
  }

  /** It is at no worker any more. */
  giveBack(slot: number): void {
    const key = this.keyOf(slot);
    key.active--;
    if (key.levelIndex !== NONE) this.#levels[key.level]!.update(key.levelIndex);
  }

  /** Ends throttles and raises keys whose time has come. To be called before `first`. */
  advance(nowMs: number): void {
    for (
      let key = this.#throttles.first;
      key !== undefined && key.throttledUntilMs <= nowMs;
      key = this.#throttles.first
    ) {
      this.#throttles.remove(0);
      this.#place(key, nowMs);
      this.#releaseIfIdle(key);
    }
    for (let key = this.#rises.first; key !== undefined && key.riseAtMs <= nowMs; key = this.#rises.first) {
      this.#place(key, nowMs);
    }
  }

  /** The job that comes next; NONE: none may be handed out. */
  first(): number {
    for (let level = TOP_LEVEL; level >= 0; level--) {
      const key = this.#levels[level]!.first;
      if (key !== undefined) return key.first(this.#settings.ageMs);
    }
    return NONE;
  }

  /**
   * For credit that is reserved for urgent jobs: the next job of exactly this priority, its keys in turn, whatever their other
   * jobs. NONE: none.
   */
  firstOfPriority(priority: number): number {
    const listed = this.#listed[priority]!;
    if (listed.keys.size === 0) return NONE;
    let next = listed.turn.next();
    if (next.done === true) {
      listed.turn = listed.keys.values();
      next = listed.turn.next();
    }
    return next.value!.line(priority)!.first;
  }

  /** A past time ends the throttle. */
  throttle(name: string, { untilMs, by }: { readonly untilMs: number; readonly by: string }, nowMs: number): void {
    const key = this.#need(name);
    key.throttledUntilMs = untilMs;
    key.throttledBy = by;
    if (untilMs <= nowMs) {
      if (key.throttleIndex !== NONE) this.#throttles.remove(key.throttleIndex);
    } else if (key.throttleIndex === NONE) this.#throttles.push(key);
    else this.#throttles.update(key.throttleIndex);
    this.#place(key, nowMs);
    this.#releaseIfIdle(key);
  }

  update(settings: OrderSettings, nowMs: number): void {
    this.#settings = settings;
    for (const key of this.#byName.values()) {
      key.weight = this.#weightOf(key.name);
      this.#place(key, nowMs);
    }
  }

  /** O1. Puts a key where it belongs now. */
  #place(key: FairKey, nowMs: number): void {
    const mayGo = key.ready > 0 && key.throttleIndex === NONE;
    this.#list(key, mayGo ? key.mask : 0);
    const level = key.level;
    if (mayGo) key.age(nowMs, this.#settings.ageMs);
    if (key.levelIndex !== NONE && mayGo && key.level === level) this.#levels[level]!.update(key.levelIndex);
    else {
      if (key.levelIndex !== NONE) this.#levels[level]!.remove(key.levelIndex);
      if (mayGo) this.#levels[key.level]!.push(key);
    }
    const rises = mayGo && key.riseAtMs < Infinity;
    if (key.riseIndex === NONE) {
      if (rises) this.#rises.push(key);
    } else if (rises) this.#rises.update(key.riseIndex);
    else this.#rises.remove(key.riseIndex);
  }

  #list(key: FairKey, mask: number): void {
    const changes = key.listed ^ mask;
    if (changes === 0) return;
    for (let priority = 0; priority < PRIORITIES; priority++) {
      if ((changes & (1 << priority)) === 0) continue;
      if ((mask & (1 << priority)) === 0) this.#listed[priority]!.keys.delete(key);
      else this.#listed[priority]!.keys.add(key);
    }
    key.listed = mask;
  }

  #need(name: string): FairKey {
    const existing = this.#byName.get(name);
    if (existing !== undefined) return existing;
    const index = this.#freeIndexes.pop() ?? this.#keys.length;
    const key = new FairKey(this.#table, { name, index, weight: this.#weightOf(name) });
    this.#keys[index] = key;
    this.#byName.set(name, key);
    return key;
  }

  /** O2. */
  #releaseIfIdle(key: FairKey): void {
    if (key.jobs > 0 || key.throttleIndex !== NONE) return;
    this.#byName.delete(key.name);
    this.#keys[key.index] = undefined;
    this.#freeIndexes.push(key.index);
  }

  #weightOf(name: string): number {
    return this.#settings.weights.get(name) ?? 1;
  }
}
