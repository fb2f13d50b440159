// The types of notifications, each name once: an item has two bytes for it.

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
}
