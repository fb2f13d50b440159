// The time that searches may hold the event loop in each of its turns: a share for each of those that go on in it.
//
// TS1. All of them together hold it for TURN_MS, as long as there are not more than TURN_MS / SHARE_MIN_MS of them: so what
//      a call waits for does not grow with the searches beside it.

const TURN_MS = 2;
/** Less, and turns cost more than what is done in them. */
const SHARE_MIN_MS = 0.25;

export class TurnShares {
  /** Those that have had their share of this turn and wait for the next one. */
  #waiting = 0;

  /** What one search may take now, in ms. */
  get ms(): number {
    return Math.max(SHARE_MIN_MS, TURN_MS / (1 + this.#waiting));
  }

  /** Calls back in the next turn, unless the answer is called before. */
  wait(goOn: () => void): () => void {
    this.#waiting++;
    const turn = setImmediate(() => {
      this.#waiting--;
      goOn();
    });
    return () => {
      this.#waiting--;
      clearImmediate(turn);
    };
  }
}
