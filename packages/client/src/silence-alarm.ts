// Notices that a peer which promised to be heard of is silent: a connection that died without a word looks idle.
//
// One timer, never re-armed per message: it looks back when it fires. Only time spent waiting counts, because a reader
// that does not pull hears nothing either.
import type { Clock, Timer } from "./time.ts";

export class SilenceAlarm {
  readonly #clock: Clock;
  readonly #silenceMs: number;
  readonly #onSilence: () => void;
  #timer: Timer;
  #waitingSinceMs: number | undefined;

  constructor(clock: Clock, silenceMs: number, onSilence: () => void) {
    this.#clock = clock;
    this.#silenceMs = silenceMs;
    this.#onSilence = onSilence;
    this.#timer = clock.setTimer(() => this.#look(), silenceMs);
  }

  /** From now on something is expected. */
  listen(): void {
    this.#waitingSinceMs = this.#clock.monotonicMs();
  }

  /** It came, or nothing is expected any more. */
  heard(): void {
    this.#waitingSinceMs = undefined;
  }

  stop(): void {
    this.#timer.cancel();
  }

  #look(): void {
    const waitedMs = this.#waitingSinceMs === undefined ? 0 : this.#clock.monotonicMs() - this.#waitingSinceMs;
    if (waitedMs >= this.#silenceMs) return this.#onSilence();
    this.#timer = this.#clock.setTimer(() => this.#look(), this.#silenceMs - waitedMs);
  }
}
