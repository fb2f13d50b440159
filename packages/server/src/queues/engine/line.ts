// Waiting jobs of one fairness key and one priority, the longest eligible first; at the same time, the lower number first.
//
// Nearly all of them come in that order, or (returned ones) before all others: those are a linked list, in constant time and
// without memory. The few that belong into the middle are strays in a heap beside.
//
// L1. The list is in order, and so is what `inOrder` yields of list and heap together.
// L2. A job is in the list exactly when its link is NONE.
import { Heap } from "./heap.ts";
import { type JobTable, NONE } from "./job-table.ts";
import { SlotList } from "./slot-list.ts";

/** The order of jobs that wait, or wait for their time. */
export function isBefore(table: JobTable, a: number, b: number): boolean {
  const difference = table.eligibleAtMs(a) - table.eligibleAtMs(b);
  return difference !== 0 ? difference < 0 : table.number(a) < table.number(b);
}

export class Line {
  readonly #table: JobTable;
  readonly #list: SlotList;
  #strays: Heap<number> | undefined;

  constructor(table: JobTable) {
    this.#table = table;
    this.#list = new SlotList(table);
  }

  get size(): number {
    return this.#list.size + (this.#strays?.size ?? 0);
  }

  /** NONE: nobody. */
  get first(): number {
    const stray = this.#strays?.first;
    const head = this.#list.head;
    if (stray === undefined) return head;
    return head === NONE || isBefore(this.#table, stray, head) ? stray : head;
  }

  /** The last of the list: whoever comes after it changes nothing for the first one. */
  add(slot: number): void {
    const list = this.#list;
    if (list.size === 0 || isBefore(this.#table, list.tail, slot)) list.append(slot);
    else if (isBefore(this.#table, slot, list.head)) list.insertAfter(slot, NONE);
    else {
      this.#strays ??= slotHeap(this.#table);
      this.#strays.push(slot);
      return;
    }
    this.#table.setLink(slot, NONE);
  }

  remove(slot: number): void {
    const link = this.#table.link(slot);
    if (link === NONE) this.#list.remove(slot);
    else this.#strays!.remove(link);
  }

  /** L1. */
  *inOrder(): Generator<number> {
    const strays = this.#strays?.inOrder() ?? [].values();
    let stray = strays.next();
    for (const slot of this.#list.slots()) {
      for (; stray.done !== true && isBefore(this.#table, stray.value, slot); stray = strays.next()) yield stray.value;
      yield slot;
    }
    for (; stray.done !== true; stray = strays.next()) yield stray.value;
  }
}

/** Jobs by the time from which they are eligible; their links say where they stand. */
export function slotHeap(table: JobTable): Heap<number> {
  return new Heap<number>({
    before: (a, b) => isBefore(table, a, b),
    moved: (slot, index) => table.setLink(slot, index),
  });
}
