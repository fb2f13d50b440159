// Ordering keys: of the jobs of one key only one is in play at a time, the one of the lowest number; the others are behind it.
//
// C1. `first` is the only job of a chain that can be ready, delayed, offered or running.
// C2. Those behind are in the order of their numbers. Only one that comes late (carried forward, or redriven) can have a
//     lower number than the first; it takes its place, unless the first is at a worker.
// C3. A dead job is in no chain.
import { type JobTable, NONE } from "./job-table.ts";
import { SlotList } from "./slot-list.ts";

interface Chain {
  readonly name: string;
  readonly index: number;
  first: number;
  readonly behind: SlotList;
  /** Where the last late one was put: the next late one most often follows it. NONE: nowhere. */
  hint: number;
}

export class Chains {
  readonly #table: JobTable;
  readonly #byName = new Map<string, Chain>();
  readonly #chains: (Chain | undefined)[] = [];
  readonly #freeIndexes: number[] = [];

  constructor(table: JobTable) {
    this.#table = table;
  }

  get count(): number {
    return this.#byName.size;
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  nameOf(slot: number): string {
    const index = this.#table.chain(slot);
    return index === NONE ? "" : this.#chains[index]!.name;
  }

  /** The job of its chain that is in play; the job itself when it has no ordering key. */
  firstOf(slot: number): number {
    const index = this.#table.chain(slot);
    return index === NONE ? slot : this.#chains[index]!.first;
  }

  /**
   * A job gets its place in a chain. Answers the job that must leave the game for it: itself when it is behind, the former
   * first when it goes before that, NONE when the chain was empty.
   * @param options.isAtWorker of the chain's first
   */
  join(slot: number, name: string, options: { readonly isAtWorker: (first: number) => boolean }): number {
    const chain = this.#need(name);
    this.#table.setChain(slot, chain.index);
    const { first } = chain;
    if (first === NONE) {
      chain.first = slot;
      return NONE;
    }
    if (this.#isBefore(first, slot) || options.isAtWorker(first)) return slot;
    chain.first = slot;
    return first;
  }

  /** C2. Puts a job of the chain, which is in no list, behind. */
  putBehind(slot: number): void {
    const chain = this.#chains[this.#table.chain(slot)]!;
    const { behind } = chain;
    let after = behind.tail;
    if (after !== NONE && this.#isBefore(slot, after)) {
      const hint = chain.hint;
      after = hint !== NONE && this.#isBefore(hint, slot) ? this.#lastBefore(slot, hint) : this.#lastBefore(slot, NONE);
      chain.hint = slot;
    }
    behind.insertAfter(slot, after);
  }

  /**
   * C2. A first that comes back from a worker, and is in no list: a late one with a lower number, which has waited behind it,
   * is taken out of the list to be the first instead, and answered. NONE: there is none.
   */
  overtakerOf(slot: number): number {
    const chain = this.#chains[this.#table.chain(slot)]!;
    const late = chain.behind.head;
    if (chain.first !== slot || late === NONE || this.#isBefore(slot, late)) return NONE;
    this.removeBehind(late);
    chain.first = late;
    return late;
  }

  /** A job that is in no list any more leaves its chain. Answers who is in play now instead; NONE: nobody new. */
  leave(slot: number): number {
    const chain = this.#chains[this.#table.chain(slot)]!;
    this.#table.setChain(slot, NONE);
    if (chain.first !== slot) return NONE;
    const next = chain.behind.head;
    if (next !== NONE) this.removeBehind(next);
    chain.first = next;
    if (next === NONE) {
      this.#byName.delete(chain.name);
      this.#chains[chain.index] = undefined;
      this.#freeIndexes.push(chain.index);
    }
    return next;
  }

  /** Takes a job out of those behind; it stays in the chain. */
  removeBehind(slot: number): void {
    const chain = this.#chains[this.#table.chain(slot)]!;
    if (chain.hint === slot) chain.hint = NONE;
    chain.behind.remove(slot);
  }

  /** Those behind in the chain of a job, in order. */
  behindOf(slot: number): Iterable<number> {
    return this.#chains[this.#table.chain(slot)]!.behind.slots();
  }

  /** All that are behind, chain by chain. */
  *allBehind(): Generator<number> {
    for (const chain of this.#byName.values()) yield* chain.behind.slots();
  }

  /** The last one of those behind with a lower number, searched from `from` on (NONE: from the head). */
  #lastBefore(slot: number, from: number): number {
    const chain = this.#chains[this.#table.chain(slot)]!;
    let after = from;
    for (;;) {
      const next = after === NONE ? chain.behind.head : this.#table.next(after);
      if (next === NONE || !this.#isBefore(next, slot)) return after;
      after = next;
    }
  }

  #isBefore(a: number, b: number): boolean {
    return this.#table.number(a) < this.#table.number(b);
  }

  #need(name: string): Chain {
    const existing = this.#byName.get(name);
    if (existing !== undefined) return existing;
    const index = this.#freeIndexes.pop() ?? this.#chains.length;
    const chain: Chain = { name, index, first: NONE, behind: new SlotList(this.#table), hint: NONE };
    this.#byName.set(name, chain);
    this.#chains[index] = chain;
    return chain;
  }
}
