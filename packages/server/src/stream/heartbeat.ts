// One timer for the heartbeats of all streams.
//
// H1. Between heartbeats a stream costs a place in a heap, no timer and no closure.
// H2. A beat is due at a fixed interval from the last one. A stream that cannot send has at most one beat waiting.
import type { Clock, Timer } from "../store/contract.ts";

/** Something that wants to be reminded. The fields belong to the wheel. */
export interface Beating {
  /** Ms between two beats. */
  readonly beatEveryMs: number;
  beatDueMs: number;
  /** Place in the heap; -1: not in it. */
  beatPlace: number;
  beat(): void;
}

export class Heartbeats {
  readonly #clock: Clock;
  /** A binary heap: no element is due before its parent, (place - 1) >> 1. */
  readonly #heap: Beating[] = [];
  #timer: Timer | undefined = undefined;
  #timerDueMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The first beat comes after `beatEveryMs`. */
  add(beating: Beating): void {
    beating.beatDueMs = this.#clock.monotonicMs() + beating.beatEveryMs;
    this.#heap.push(beating);
    this.#rise(beating, this.#heap.length - 1);
    this.#schedule();
  }

  /** Idempotent. */
  remove(beating: Beating): void {
    const place = beating.beatPlace;
    if (place < 0) return;
    beating.beatPlace = -1;
    const last = this.#heap.pop()!;
    if (last !== beating) this.#settle(last, place);
    if (this.#heap.length === 0) this.#cancel();
  }

  #fire(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (let first = this.#heap[0]; first !== undefined && first.beatDueMs <= nowMs; first = this.#heap[0]) {
      first.beatDueMs = nowMs + first.beatEveryMs;
      this.#settle(first, 0);
      first.beat();
    }
    this.#schedule();
  }

  /** Sets the timer for the first beat, unless it is set for then or sooner. */
  #schedule(): void {
    const first = this.#heap[0];
    if (first === undefined || (this.#timer !== undefined && this.#timerDueMs <= first.beatDueMs)) return;
    this.#cancel();
    this.#timerDueMs = first.beatDueMs;
    const delayMs = Math.max(0, first.beatDueMs - this.#clock.monotonicMs());
    this.#timer = this.#clock.setTimer(() => {
      this.#fire();
    }, Math.ceil(delayMs));
  }

  #cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #settle(beating: Beating, place: number): void {
    this.#rise(beating, this.#sink(beating, place));
  }

  #rise(beating: Beating, from: number): void {
    let place = from;
    while (place > 0) {
      const above = this.#heap[(place - 1) >> 1]!;
      if (above.beatDueMs <= beating.beatDueMs) break;
      this.#put(above, place);
      place = (place - 1) >> 1;
    }
    this.#put(beating, place);
  }

  #sink(beating: Beating, from: number): number {
    let place = from;
    for (let below = 2 * place + 1; below < this.#heap.length; below = 2 * place + 1) {
      const right = this.#heap[below + 1];
      if (right !== undefined && right.beatDueMs < this.#heap[below]!.beatDueMs) below++;
      const child = this.#heap[below]!;
      if (child.beatDueMs >= beating.beatDueMs) break;
      this.#put(child, place);
      place = below;
    }
    this.#put(beating, place);
    return place;
  }

  #put(beating: Beating, place: number): void {
    this.#heap[place] = beating;
    beating.beatPlace = place;
  }
}
