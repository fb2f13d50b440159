// Everything that a picture remembers, in the order in which it last changed: each item stands in it once, however often it
// changed. So a reader needs nothing but the number of the last change that it was told of.
//
// J1. Numbers rise by one with each change and are never used again.
// J2. No more places are kept than items, once over, and some.

/** What can be noted. The field belongs to the journal. */
export interface Noted {
  /** Number of its last change, from 1; 0: not in the journal. */
  at: number;
}

/** Stale places that are not worth clearing away. */
const STALE_MIN = 1024;

export class Journal<T extends Noted> {
  /** An item stands at its last place; the earlier ones are stale: `items[i].at !== numbers[i]`. */
  #items: T[] = [];
  /** Ascending. */
  #numbers: number[] = [];
  #stale = 0;
  #head = 0;

  /** Number of the last change. */
  get head(): number {
    return this.#head;
  }

  /** It has changed. */
  note(item: T): void {
    if (item.at > 0) this.#stale++;
    item.at = ++this.#head;
    this.#items.push(item);
    this.#numbers.push(item.at);
    this.#clearUp();
  }

  /** It is forgotten. */
  drop(item: T): void {
    if (item.at === 0) return;
    item.at = 0;
    this.#stale++;
    this.#clearUp();
  }

  /** What changed after `number`, at most `count` of it, in order. */
  after(number: number, count: number): T[] {
    const found: T[] = [];
    for (let i = this.#placeAfter(number); i < this.#items.length && found.length < count; i++) {
      const item = this.#items[i]!;
      if (item.at === this.#numbers[i]) found.push(item);
    }
    return found;
  }

  #placeAfter(number: number): number {
    let low = 0;
    let high = this.#numbers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#numbers[middle]! <= number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** J2 */
  #clearUp(): void {
    if (this.#stale < STALE_MIN || this.#stale * 2 < this.#items.length) return;
    const isLive = (item: T, i: number): boolean => item.at === this.#numbers[i];
    this.#items = this.#items.filter(isLive);
    this.#numbers = this.#items.map((item) => item.at);
    this.#stale = 0;
  }
}
