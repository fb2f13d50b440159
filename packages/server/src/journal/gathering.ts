// How long a batch waits for more before it goes to disk: one sync for all is better than two for half of them.
//
// Workers that answer at once come back in the time of a round trip. If what they say then finds a sync of others under way, it waits
// for that one and its own; so it stays, half of them behind the other half, and each job takes two syncs (bench `queue-throughput`,
// window 1). Where the round trip is shorter than the sync, waiting for those who were just answered makes one group of both.
//
// GA1. Nobody waits longer than the sync before took, counted from its end, nor longer than WAIT_MS_MAX, nor for more than TURNS_MAX
//      turns of the event loop, whatever the clock says.
// GA2. As soon as as many records are there as were answered or waited when the sync before ended, nothing is waited for.
// GA3. Where waiting was in vain it is tried ever more rarely: who comes one by one is not slowed down.
import type { Clock } from "../store/contract.ts";

const WAIT_MS_MAX = 2;
const TURNS_MAX = 1000;
/** Commits between two attempts, after attempts that were in vain: 2, 4, … up to this. */
const SKIPPED_MAX = 64;

export class Gathering {
  readonly #clock: Pick<Clock, "monotonicMs">;
  #beganMs = 0;
  #untilMs = 0;
  /** Records that a batch waits for; 0: it does not wait. */
  #expected = 0;
  /** How often it may still wait for a turn. */
  #turns = 0;
  #skipped = 1;
  #left = 0;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** A batch goes to disk. */
  begin(): void {
    this.#beganMs = this.#clock.monotonicMs();
  }

  /** It is there: so many records were answered, so many wait already. */
  end({ answered, waiting }: { readonly answered: number; readonly waiting: number }): void {
    const nowMs = this.#clock.monotonicMs();
    this.#untilMs = nowMs + Math.min(nowMs - this.#beganMs, WAIT_MS_MAX);
    this.#turns = TURNS_MAX;
    this.#expected = this.#left > 0 ? 0 : answered + waiting;
    if (this.#left > 0) this.#left--;
  }

  /** Whether a batch of `count` records, with no other one on its way, should see the next turn of the event loop. */
  waits(count: number): boolean {
    if (this.#expected === 0) return false;
    if (count >= this.#expected) {
      this.#skipped = 1;
      return false;
    }
    if (this.#turns-- > 0 && this.#clock.monotonicMs() < this.#untilMs) return true;
    this.#expected = 0;
    this.#skipped = Math.min(2 * this.#skipped, SKIPPED_MAX);
    this.#left = this.#skipped;
    return false;
  }
}
