// The rows of each name of a metric, in the order in which they came: two columns that lead from one to the next.
import { grown } from "./columns.ts";

interface Chain {
  first: number;
  last: number;
}

const ROWS_MIN = 64;
const NONE = -1;

export class RowsByName {
  readonly #chains = new Map<string, Chain>();
  #next = new Int32Array(ROWS_MIN);
  #before = new Int32Array(ROWS_MIN);

  names(): Iterable<string> {
    return this.#chains.keys();
  }

  *rows(name: string): Generator<number, void, undefined> {
    const chain = this.#chains.get(name);
    if (chain === undefined) return;
    for (let row = chain.first; row !== NONE; row = this.#next[row]!) yield row;
  }

  add(name: string, row: number): void {
    while (row >= this.#next.length) {
      this.#next = grown(this.#next, new Int32Array(2 * this.#next.length));
      this.#before = grown(this.#before, new Int32Array(2 * this.#before.length));
    }
    const chain = this.#chains.get(name);
    this.#next[row] = NONE;
    this.#before[row] = chain?.last ?? NONE;
    if (chain === undefined) {
      this.#chains.set(name, { first: row, last: row });
      return;
    }
    this.#next[chain.last] = row;
    chain.last = row;
  }

  remove(name: string, row: number): void {
    const chain = this.#chains.get(name);
    if (chain === undefined) return;
    const next = this.#next[row]!;
    const before = this.#before[row]!;
    if (before === NONE) chain.first = next;
    else this.#next[before] = next;
    if (next === NONE) chain.last = before;
    else this.#before[next] = before;
    if (chain.first === NONE) this.#chains.delete(name);
  }
}
