// Turns of the event loop for everybody who reads much of the history: one slice in each, whoever's it is.
//
// U1. However many read at once, whatever else is ready waits for one slice, not for one of each of them.
import { nextTurn } from "../../stream/turn.ts";

/** A slice is work of about so long. */
const SLICE_MS = 3;

export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** A turn that no other reader has. */
  next(): Promise<void> {
    this.#last = this.#last.then(nextTurn);
    return this.#last;
  }

  /** For one piece of work, which begins in a turn of its own. */
  slices(): Slices {
    return new Slices(this);
  }
}

/** `if (slices.isDue) await slices.next()` between any two steps. */
export class Slices {
  readonly #turns: Turns;
  #sinceMs = -Infinity;

  constructor(turns: Turns) {
    this.#turns = turns;
  }

  get isDue(): boolean {
    return performance.now() - this.#sinceMs >= SLICE_MS;
  }

  async next(): Promise<void> {
    await this.#turns.next();
    this.#sinceMs = performance.now();
  }
}
