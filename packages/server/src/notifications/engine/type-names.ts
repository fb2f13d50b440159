// The types of notifications, each name once: an item has two bytes for it.
import type { ValueReader, ValueWriter } from "./values.ts";

/** No room for this name: it stands in the body. */
const UNKNOWN = 0xffff;

export class TypeNames {
  readonly #names: string[] = [];
  readonly #indexes = new Map<string, number>();

  intern(name: string): number {
    const known = this.#indexes.get(name);
    if (known !== undefined) return known;
    if (this.#names.length === UNKNOWN) return UNKNOWN;
    this.#indexes.set(name, this.#names.length);
    return this.#names.push(name) - 1;
  }

  /** undefined: it stands in the body. */
  name(index: number): string | undefined {
    return this.#names[index];
  }

  write(out: ValueWriter): void {
    out.list(this.#names, (name) => out.text(name));
  }

  read(values: ValueReader): void {
    for (const name of values.list(() => values.text())) this.intern(name);
  }
}
