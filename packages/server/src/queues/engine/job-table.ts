// All jobs of a queue, 64 bytes each: one line of the processor's cache, outside V8's heap. What few jobs have (an id of the
// producer's own, a time to live, a history of failures) stands in an object beside, for those alone.
//
// T1. A slot is used or free, never both; free ones are linked per chunk through `next`, and have no phase.
// T2. A used slot is in the index by its number, and numbers are unique.
// T3. Of the chunks without jobs one is kept, the others are given back.
import { NumberIndex } from "./number-index.ts";

/** No slot, no key: where a link ends. */
export const NONE = -1;

/** What becomes of a job. */
export const JobPhase = {
  /** In a line: may be handed out. */
  READY: 1,
  /** Another job of its ordering key comes first. */
  BEHIND: 2,
  /** Its time has not come. */
  DELAYED: 3,
  OFFERED: 4,
  RUNNING: 5,
  DEAD: 6,
} as const;

export interface FailureNote {
  readonly atMs: number;
  readonly attempt: number;
  readonly workerId: string;
  readonly reason: string;
}

/** What few jobs have. */
export interface Extra {
  readonly slot: number;
  /** The producer's id; "": the number is the id. */
  jobId: string;
  /** Of a dead job, which is in no chain. */
  orderingKey: string;
  /** Unix ms; 0: never. */
  expiresAtMs: number;
  /** In the heap of those that expire; -1: not there. */
  expiryIndex: number;
  /** Oldest first, a few of the newest. */
  history: readonly FailureNote[];
}

const CHUNK_BITS = 14;
const CHUNK_SLOTS = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_SLOTS - 1;
const ROW_BYTES = 64;

// Of a row: 4 floats, then 8 integers.
const FLOATS = 8;
const INTEGERS = 16;
const Float = { NUMBER: 0, PLACE: 1, ELIGIBLE_AT: 2, ENQUEUED_AT: 3 } as const;
const Integer = { BYTES: 8, NEXT: 9, PREVIOUS: 10, KEY: 11, LINK: 12, CHAIN: 13, STATE: 14, EXTRA: 15 } as const;

/** STATE: phase in the first 4 bits, priority in the next 4, failures above. */
const PRIORITY_SHIFT = 4;
const FAILURES_SHIFT = 8;
const FAILURES_MAX = 0x7fffff;

interface Chunk {
  readonly floats: Float64Array;
  readonly integers: Int32Array;
  used: number;
  free: number;
  /** Rows from here on were never used. */
  fresh: number;
}

export class JobTable {
  readonly #chunks: (Chunk | undefined)[] = [];
  /** Chunks with free slots; may name one that has none any more, or is gone. */
  readonly #roomy: number[] = [];
  readonly #index = new NumberIndex(this);
  readonly #extras: (Extra | undefined)[] = [];
  readonly #freeExtras: number[] = [];
  #size = 0;
  #chunkCount = 0;
  /** The chunk that was empty last and kept: it may have been used since. */
  #spare = 0;

  get size(): number {
    return this.#size;
  }

  /** Bytes of rows, used or not. */
  get rowBytes(): number {
    return this.#chunkCount * CHUNK_SLOTS * ROW_BYTES;
  }

  /** The slot of a job; NONE: not there. */
  find(number: number): number {
    return this.#index.find(number);
  }

  add(number: number): number {
    const slot = this.#takeSlot();
    const { floats, integers } = this.#chunks[slot >>> CHUNK_BITS]!;
    const row = slot & CHUNK_MASK;
    floats.fill(0, row * FLOATS, row * FLOATS + Float.ENQUEUED_AT + 1);
    integers.fill(NONE, row * INTEGERS + Integer.BYTES, (row + 1) * INTEGERS);
    integers[row * INTEGERS + Integer.STATE] = 0;
    floats[row * FLOATS + Float.NUMBER] = number;
    this.#index.add(slot);
    this.#size++;
    return slot;
  }

  remove(slot: number): void {
    this.#dropExtra(slot);
    this.#index.remove(this.number(slot));
    const index = slot >>> CHUNK_BITS;
    const chunk = this.#chunks[index]!;
    this.#setInteger(slot, Integer.NEXT, chunk.free);
    this.#setInteger(slot, Integer.STATE, 0);
    if (chunk.free === NONE && chunk.fresh === CHUNK_SLOTS) this.#roomy.push(index);
    chunk.free = slot & CHUNK_MASK;
    chunk.used--;
    this.#size--;
    if (chunk.used === 0) this.#giveBack(index);
  }

  /** All jobs, by slot: an order that means nothing. */
  *slots(): Generator<number> {
    for (const [index, chunk] of this.#chunks.entries()) {
      if (chunk === undefined) continue;
      for (let row = 0; row < chunk.fresh; row++) {
        const slot = index * CHUNK_SLOTS + row;
        if (this.phase(slot) !== 0) yield slot;
      }
    }
  }

  number(slot: number): number {
    return this.#float(slot, Float.NUMBER);
  }
  /** Where the journal has its JobAdded. */
  place(slot: number): number {
    return this.#float(slot, Float.PLACE);
  }
  setPlace(slot: number, place: number): void {
    this.#setFloat(slot, Float.PLACE, place);
  }
  /** Unix ms: its place in the order; of a dead job, when it died. */
  eligibleAtMs(slot: number): number {
    return this.#float(slot, Float.ELIGIBLE_AT);
  }
  setEligibleAtMs(slot: number, atMs: number): void {
    this.#setFloat(slot, Float.ELIGIBLE_AT, atMs);
  }
  enqueuedAtMs(slot: number): number {
    return this.#float(slot, Float.ENQUEUED_AT);
  }
  setEnqueuedAtMs(slot: number, atMs: number): void {
    this.#setFloat(slot, Float.ENQUEUED_AT, atMs);
  }
  bytes(slot: number): number {
    return this.#integer(slot, Integer.BYTES);
  }
  setBytes(slot: number, bytes: number): void {
    this.#setInteger(slot, Integer.BYTES, bytes);
  }
  /** In the list that it is in: a line, those behind an ordering key, the dead. */
  next(slot: number): number {
    return this.#integer(slot, Integer.NEXT);
  }
  setNext(slot: number, next: number): void {
    this.#setInteger(slot, Integer.NEXT, next);
  }
  previous(slot: number): number {
    return this.#integer(slot, Integer.PREVIOUS);
  }
  setPrevious(slot: number, previous: number): void {
    this.#setInteger(slot, Integer.PREVIOUS, previous);
  }
  /** Index of its fairness key. */
  key(slot: number): number {
    return this.#integer(slot, Integer.KEY);
  }
  setKey(slot: number, key: number): void {
    this.#setInteger(slot, Integer.KEY, key);
  }
  /** Its index in the heap that it is in, or that of its lease. */
  link(slot: number): number {
    return this.#integer(slot, Integer.LINK);
  }
  setLink(slot: number, link: number): void {
    this.#setInteger(slot, Integer.LINK, link);
  }
  /** Index of its ordering key; NONE: it has none. */
  chain(slot: number): number {
    return this.#integer(slot, Integer.CHAIN);
  }
  setChain(slot: number, chain: number): void {
    this.#setInteger(slot, Integer.CHAIN, chain);
  }
  phase(slot: number): number {
    return this.#integer(slot, Integer.STATE) & 0xf;
  }
  setPhase(slot: number, phase: number): void {
    this.#setInteger(slot, Integer.STATE, (this.#integer(slot, Integer.STATE) & ~0xf) | phase);
  }
  priority(slot: number): number {
    return (this.#integer(slot, Integer.STATE) >> PRIORITY_SHIFT) & 0xf;
  }
  setPriority(slot: number, priority: number): void {
    const state = this.#integer(slot, Integer.STATE) & ~(0xf << PRIORITY_SHIFT);
    this.#setInteger(slot, Integer.STATE, state | (priority << PRIORITY_SHIFT));
  }
  failures(slot: number): number {
    return this.#integer(slot, Integer.STATE) >> FAILURES_SHIFT;
  }
  setFailures(slot: number, failures: number): void {
    const state = this.#integer(slot, Integer.STATE) & ((1 << FAILURES_SHIFT) - 1);
    this.#setInteger(slot, Integer.STATE, state | (Math.min(failures, FAILURES_MAX) << FAILURES_SHIFT));
  }

  extra(slot: number): Extra | undefined {
    const index = this.#integer(slot, Integer.EXTRA);
    return index === NONE ? undefined : this.#extras[index];
  }

  /** The same, made when it is not there. */
  needExtra(slot: number): Extra {
    const existing = this.extra(slot);
    if (existing !== undefined) return existing;
    const extra: Extra = { slot, jobId: "", orderingKey: "", expiresAtMs: 0, expiryIndex: NONE, history: [] };
    const index = this.#freeExtras.pop() ?? this.#extras.length;
    this.#extras[index] = extra;
    this.#setInteger(slot, Integer.EXTRA, index);
    return extra;
  }

  /** T3. The one that is kept spares a queue whose size goes up and down an allocation with each job. */
  #giveBack(index: number): void {
    const spare = this.#chunks[this.#spare];
    if (spare === undefined || spare.used > 0 || this.#spare === index) {
      this.#spare = index;
      return;
    }
    this.#chunks[index] = undefined;
    this.#chunkCount--;
  }

  #dropExtra(slot: number): void {
    const index = this.#integer(slot, Integer.EXTRA);
    if (index === NONE) return;
    this.#extras[index] = undefined;
    this.#freeExtras.push(index);
    this.#setInteger(slot, Integer.EXTRA, NONE);
  }

  #takeSlot(): number {
    for (let index = this.#roomy.at(-1); index !== undefined; index = this.#roomy.at(-1)) {
      const chunk = this.#chunks[index];
      if (chunk !== undefined && (chunk.free !== NONE || chunk.fresh < CHUNK_SLOTS))
        return this.#takeFrom(index, chunk);
      this.#roomy.pop();
    }
    return this.#takeFrom(...this.#newChunk());
  }

  #takeFrom(index: number, chunk: Chunk): number {
    let row = chunk.free;
    if (row === NONE) row = chunk.fresh++;
    else chunk.free = chunk.integers[row * INTEGERS + Integer.NEXT]!;
    chunk.used++;
    return index * CHUNK_SLOTS + row;
  }

  #newChunk(): [index: number, chunk: Chunk] {
    const memory = new ArrayBuffer(CHUNK_SLOTS * ROW_BYTES);
    const vacant = this.#chunkCount < this.#chunks.length ? this.#chunks.indexOf(undefined) : this.#chunks.length;
    const chunk: Chunk = {
      floats: new Float64Array(memory),
      integers: new Int32Array(memory),
      used: 0,
      free: NONE,
      fresh: 0,
    };
    this.#chunks[vacant] = chunk;
    this.#chunkCount++;
    this.#roomy.push(vacant);
    return [vacant, chunk];
  }

  #float(slot: number, field: number): number {
    return this.#chunks[slot >>> CHUNK_BITS]!.floats[(slot & CHUNK_MASK) * FLOATS + field]!;
  }
  #setFloat(slot: number, field: number, value: number): void {
    this.#chunks[slot >>> CHUNK_BITS]!.floats[(slot & CHUNK_MASK) * FLOATS + field] = value;
  }
  #integer(slot: number, field: number): number {
    return this.#chunks[slot >>> CHUNK_BITS]!.integers[(slot & CHUNK_MASK) * INTEGERS + field]!;
  }
  #setInteger(slot: number, field: number, value: number): void {
    this.#chunks[slot >>> CHUNK_BITS]!.integers[(slot & CHUNK_MASK) * INTEGERS + field] = value;
  }
}
