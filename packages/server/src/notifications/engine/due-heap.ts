// Things by the time at which they are due, the first at the front.

interface Due<T> {
  readonly atMs: number;
  readonly item: T;
}

export class DueHeap<T> {
  readonly #dues: Due<T>[] = [];

  get size(): number {
    return this.#dues.length;
  }

  /** Unix ms of the first; undefined: there is none. */
  get firstMs(): number | undefined {
    return this.#dues[0]?.atMs;
  }

  get first(): T | undefined {
    return this.#dues[0]?.item;
  }

  push(atMs: number, item: T): void {
    const dues = this.#dues;
    let index = dues.length;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (dues[parent]!.atMs <= atMs) break;
      dues[index] = dues[parent]!;
      index = parent;
    }
    dues[index] = { atMs, item };
  }

  pop(): T | undefined {
    const dues = this.#dues;
    const first = dues[0];
    const last = dues.pop();
    if (first === undefined || last === undefined || dues.length === 0) return first?.item;
    let index = 0;
    for (let child = 1; child < dues.length; child = 2 * index + 1) {
      if (child + 1 < dues.length && dues[child + 1]!.atMs < dues[child]!.atMs) child++;
      if (dues[child]!.atMs >= last.atMs) break;
      dues[index] = dues[child]!;
      index = child;
    }
    dues[index] = last;
    return first.item;
  }
}
