// How fast one call takes what is sent for an upload: at its own rate, and in turn with all others within theirs.
//
// TH1. A piece is taken when there is anything left of each rate, and may overdraw it; the next one waits the longer. While it
//      waits nothing is read from the connection, so whoever sends waits, too.
// TH2. Who is stopped waits no longer.
import type { Clock, Timer } from "../../store/contract.ts";
import { Pace } from "../pace.ts";
import type { Seat, Turns } from "../turns.ts";

export interface ThrottleOptions {
  /** Of all uploads. */
  readonly turns: Turns;
  readonly clock: Clock;
  /** "host:port" of who sends. */
  readonly address: string;
  /** Of this call; default: as fast as it goes. */
  readonly bytesPerSecond?: number | undefined;
}

export class Throttle {
  readonly #seat: Seat | undefined;
  readonly #pace: Pace | undefined;
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #refuse: ((reason: DOMException) => void) | undefined;
  #isStopped = false;

  /** It is to be stopped. */
  constructor({ turns, clock, address, bytesPerSecond }: ThrottleOptions) {
    // Without a rate nobody has to wait for anybody: the disk takes what all have gathered.
    this.#seat = turns.bytesPerSecond === Number.POSITIVE_INFINITY ? undefined : turns.join(address);
    this.#pace = bytesPerSecond === undefined ? undefined : new Pace(bytesPerSecond, clock);
    this.#clock = clock;
  }

  /** Resolves when so many bytes may be taken (TH1). @throws DOMException AbortError when it was stopped */
  async take(byteCount: number): Promise<void> {
    if (byteCount === 0) return;
    const waitMs = this.#pace?.waitMs() ?? 0;
    if (waitMs > 0) await this.#wait(waitMs);
    this.#pace?.take(byteCount);
    await this.#seat?.read(byteCount, () => Promise.resolve());
  }

  /** TH2. Idempotent. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#refuse?.(hasStopped());
    this.#seat?.leave();
  }

  #wait(ms: number): Promise<void> {
    if (this.#isStopped) return Promise.reject(hasStopped());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#refuse = reject;
    this.#timer = this.#clock.setTimer(resolve, ms);
    return promise;
  }
}

function hasStopped(): DOMException {
  return new DOMException("The upload was stopped before it was its turn", "AbortError");
}
