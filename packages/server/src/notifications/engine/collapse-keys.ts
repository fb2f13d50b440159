// Which item of a user has a collapse key now, and which keys items have.
import { NONE } from "./rows.ts";
import type { ValueReader, ValueWriter } from "./values.ts";

export class CollapseKeys {
  /** By user and key, the row that has it. */
  readonly #rows = new Map<string, number>();
  /** Of a row, under what it stands among `#rows`, or stood there. */
  readonly #keys = new Map<number, string>();

  /** The row that a user has under a key; NONE: none. */
  find(user: number, key: string): number {
    return this.#rows.get(`${user} ${key}`) ?? NONE;
  }

  /** The row has this key from now on, alone. */
  add(row: number, user: number, key: string): void {
    const full = `${user} ${key}`;
    this.#rows.set(full, row);
    this.#keys.set(row, full);
  }

  /** A row that came late gives the key back to a newer one that had it. */
  giveBack(user: number, key: string, row: number): void {
    this.#rows.set(`${user} ${key}`, row);
  }

  drop(row: number): void {
    const key = this.#keys.get(row);
    if (key === undefined) return;
    this.#keys.delete(row);
    if (this.#rows.get(key) === row) this.#rows.delete(key);
  }

  /** The row that has the key now which this one had; NONE: it has it still, or never had one. */
  successor(row: number): number {
    const key = this.#keys.get(row);
    const holder = key === undefined ? undefined : this.#rows.get(key);
    return holder === undefined || holder === row ? NONE : holder;
  }

  write(out: ValueWriter): void {
    out.list(this.#keys, ([row, key]) => {
      out.number(row);
      out.text(key);
      out.flag(this.#rows.get(key) === row);
    });
  }

  read(values: ValueReader): void {
    values.list(() => {
      const row = values.number();
      const key = values.text();
      this.#keys.set(row, key);
      if (values.flag()) this.#rows.set(key, row);
    });
  }
}
