// A binary heap whose items know where they stand, so that any of them can leave or move.
//
// H1. No item comes before its parent.
// H2. `moved(item, index)` was called with each item's present index; -1 when it has left.

export interface HeapOrder<T> {
  /** Whether `a` comes out before `b`: a strict order. */
  before(a: T, b: T): boolean;
  /** The item stands at this index now. */
  moved(item: T, index: number): void;
}

export class Heap<T> {
  readonly #items: T[] = [];
  readonly #order: HeapOrder<T>;

  constructor(order: HeapOrder<T>) {
    this.#order = order;
  }

  get size(): number {
    return this.#items.length;
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    this.#items.push(item);
    this.#up(item, this.#items.length - 1);
  }

  /** Takes out what stands at `index`. */
  remove(index: number): void {
    const item = this.#items[index]!;
    const last = this.#items.pop()!;
    this.#order.moved(item, -1);
    if (index < this.#items.length) this.#settle(last, index);
  }

  /** The item at `index` has another place in the order now. */
  update(index: number): void {
    this.#settle(this.#items[index]!, index);
  }

  /** All items, in no order. */
  items(): Iterable<T> {
    return this.#items;
  }

  /** The items in order, found as they are asked for: k of them cost O(k log k). Nothing may change meanwhile. */
  *inOrder(): Generator<T> {
    const items = this.#items;
    const before = (a: number, b: number): boolean => this.#order.before(items[a]!, items[b]!);
    const open = new Heap<number>({ before, moved: () => undefined });
    if (items.length > 0) open.push(0);
    for (let at = open.first; at !== undefined; at = open.first) {
      open.remove(0);
      yield items[at]!;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < items.length) open.push(child);
    }
  }

  #settle(item: T, index: number): void {
    const parent = (index - 1) >> 1;
    if (index > 0 && this.#order.before(item, this.#items[parent]!)) this.#up(item, index);
    else this.#down(item, index);
  }

  #up(item: T, from: number): void {
    const items = this.#items;
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = items[parent]!;
      if (!this.#order.before(item, above)) break;
      items[index] = above;
      this.#order.moved(above, index);
      index = parent;
    }
    items[index] = item;
    this.#order.moved(item, index);
  }

  #down(item: T, from: number): void {
    const items = this.#items;
    let index = from;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.#order.before(items[child + 1]!, items[child]!)) child++;
      const below = items[child]!;
      if (!this.#order.before(below, item)) break;
      items[index] = below;
      this.#order.moved(below, index);
      index = child;
    }
    items[index] = item;
    this.#order.moved(item, index);
  }
}
