// How many may look into folders at the same time: further ones wait, in the order in which they came.

export class LookTurns {
  readonly #max: number;
  readonly #waiting: (() => void)[] = [];
  #count = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Resolves with what ends the turn. */
  async begin(): Promise<() => void> {
    if (this.#count < this.#max) this.#count++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return () => {
      const next = this.#waiting.shift();
      // The place goes on to the next one.
      if (next === undefined) this.#count--;
      else next();
    };
  }
}
