// Looks for the texts of filter terms in the bytes of many entries at once, so that a block of history in which one of them
// is nowhere is passed over: its index is not read, and no entry of it is looked at.
//
// ST1. It holds the event loop for its share of a turn (TurnShares), over all blocks that it looks through in one.
// ST2. Between two blocks it keeps nothing but the terms: thousands follow with a filter.
import type { Clock, Sought } from "../store/contract.ts";
import type { TurnShares } from "../stream/turn-shares.ts";
import { Effort } from "./effort.ts";
import type { FilterTerm } from "./filter.ts";
import type { Finder } from "./finder.ts";
import { soughtIn } from "./matcher-terms.ts";

export interface SoughtOptions {
  readonly clock: Clock;
  readonly shares: TurnShares;
}

/** What is sought by the terms, all of which must hold; undefined: they name no text. */
export function soughtBy(terms: readonly FilterTerm[], options: SoughtOptions): Sought | undefined {
  const named = terms.filter((term) => soughtIn(term) !== undefined);
  return named.length === 0 ? undefined : new SoughtTexts(named, options);
}

class SoughtTexts implements Sought {
  readonly #terms: readonly FilterTerm[];
  readonly #clock: Clock;
  readonly #shares: TurnShares;
  /** Ms spent since the event loop was last given to others. */
  #spentMs = 0;
  /** A search that was left for another turn: its bytes, and what must still be found in them. */
  #left: { readonly frames: Uint8Array; readonly finders: Finder[] } | undefined = undefined;

  constructor(terms: readonly FilterTerm[], { clock, shares }: SoughtOptions) {
    this.#terms = terms;
    this.#clock = clock;
    this.#shares = shares;
  }

  mayBeIn(frames: Uint8Array): boolean | Promise<void> {
    const clock = this.#clock;
    const finders = this.#left?.frames === frames ? this.#left.finders : this.#terms.map((term) => soughtIn(term)!);
    const startMs = clock.monotonicMs();
    const lateMs = startMs + this.#shares.ms - this.#spentMs;
    const isIn = findAll(finders, frames, () => clock.monotonicMs() >= lateMs);
    if (isIn === undefined) {
      this.#left = { frames, finders };
      this.#spentMs = 0;
      return new Promise((resolve) => {
        this.#shares.wait(resolve);
      });
    }
    this.#left = undefined;
    this.#spentMs += clock.monotonicMs() - startMs;
    return isIn;
  }
}

/** Whether each is in the frames; undefined when it grew late: those that are left in `finders` go on where they were. */
function findAll(finders: Finder[], frames: Uint8Array, isLate: () => boolean): boolean | undefined {
  const effort = new Effort();
  for (let finder = finders[0]; finder !== undefined; finder = finders[0]) {
    const place = finder.next(frames, 0, frames.length, effort);
    if (place === undefined) {
      if (isLate()) return undefined;
      effort.renew();
    } else if (place < 0) return false;
    else finders.shift();
  }
  return true;
}
