// Time as a parameter, so that tests and simulations can own it.

/** The part of a clock that calls and connections need; `processClock` is the default. */
export interface Clock {
  /** Monotonic ms. */
  monotonicMs(): number;
  setTimer(callback: () => void, ms: number): ClockTimer;
}

/** A timer that was set. */
export interface ClockTimer {
  cancel(): void;
  /** Somebody waits for it: it keeps the process alive until it fires. A clock whose timers always do leaves it out. */
  hold?(): void;
}

/** Timers of this clock do not keep the process alive: the sockets they watch over do. */
export const processClock: Clock = {
  monotonicMs: () => performance.now(),
  setTimer(callback, ms) {
    const timer = setTimeout(callback, ms).unref();
    return { cancel: () => clearTimeout(timer), hold: () => void timer.ref() };
  },
};
