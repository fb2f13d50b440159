// Time and chance as the SDK needs them: parameters, so that a test or a simulation can own them.

/** The server's clock fits as well. */
export interface Clock {
  /** Unix time in ns. */
  nowNs(): bigint;
  /** Monotonic ms. */
  monotonicMs(): number;
  setTimer(callback: () => void, ms: number): Timer;
}

/** A timer that was set. */
export interface Timer {
  cancel(): void;
}

/** Where randomness comes from: jitter and names of writers. */
export interface Random {
  bytes(count: number): Uint8Array;
}

/** Longest delay that the runtime's timers know (2^31 - 1 ms); a longer one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The machine's clock. */
export const systemClock: Clock = {
  nowNs: () => BigInt(Date.now()) * 1_000_000n,
  monotonicMs: () => performance.now(),
  setTimer(callback, ms) {
    const timer = setTimeout(callback, Math.min(Math.max(ms, 0), TIMER_MS_MAX));
    return { cancel: () => clearTimeout(timer) };
  },
};

/** The system's cryptographic generator. */
export const systemRandom: Random = {
  bytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
};

/** A number in [0, 1). */
export function fraction(random: Random): number {
  const [a = 0, b = 0, c = 0, d = 0] = random.bytes(4);
  return (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) / 2 ** 32;
}

/** Resolves after `ms`, or as soon as the signal aborts; leaves nothing behind. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = clock.setTimer(finish, ms);
    signal.addEventListener("abort", finish, { once: true });
    function finish(): void {
      timer.cancel();
      signal.removeEventListener("abort", finish);
      resolve();
    }
  });
}

/** Resolves after `ms`. @throws the signal's reason as soon as it aborts. */
export async function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  await pause(clock, ms, signal);
  signal.throwIfAborted();
}
