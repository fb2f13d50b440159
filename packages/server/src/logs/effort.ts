// What one look at entries may cost. Matching asks before each piece of work whether there is any left; when there is
// none it stops where it is and goes on later, so that no entry and no filter holds the event loop.
//
// A step is about a nanosecond of the slowest path through a piece, measured with filters and entries made to be slow.

/** About 0.5 ms. */
const STEPS_MAX = 512 * 1024;

/** Steps that are left until others must have a chance. */
export class Effort {
  left = STEPS_MAX;

  get isSpent(): boolean {
    return this.left <= 0;
  }

  renew(): void {
    this.left = STEPS_MAX;
  }
}
