// A list of jobs, linked through their rows: it costs no memory of its own. A job is in one list at a time.
import { type JobTable, NONE } from "./job-table.ts";

export class SlotList {
  readonly #table: JobTable;
  #head = NONE;
  #tail = NONE;
  #size = 0;

  constructor(table: JobTable) {
    this.#table = table;
  }

  get head(): number {
    return this.#head;
  }
  get tail(): number {
    return this.#tail;
  }
  get size(): number {
    return this.#size;
  }

  append(slot: number): void {
    this.insertAfter(slot, this.#tail);
  }

  /** `after` NONE: at the head. */
  insertAfter(slot: number, after: number): void {
    const next = after === NONE ? this.#head : this.#table.next(after);
    this.#link(after, slot);
    this.#link(slot, next);
    this.#size++;
  }

  remove(slot: number): void {
    this.#link(this.#table.previous(slot), this.#table.next(slot));
    this.#size--;
  }

  *slots(): Generator<number> {
    for (let slot = this.#head; slot !== NONE; slot = this.#table.next(slot)) yield slot;
  }

  #link(left: number, right: number): void {
    if (left === NONE) this.#head = right;
    else this.#table.setNext(left, right);
    if (right === NONE) this.#tail = left;
    else this.#table.setPrevious(right, left);
  }
}
