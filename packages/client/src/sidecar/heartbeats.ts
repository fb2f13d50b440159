// Signs of life, from the server to the sidecar and on to a worker: each hears of the next one, whatever is behind it.
import { Code, RpcError } from "@sluice/rpc";
import { SilenceAlarm } from "../silence-alarm.ts";
import type { Clock, Timer } from "../time.ts";

/** As in the contract, where a worker does not say. */
const DEFAULT_HEARTBEAT_MS = 30_000;
/** Less than what a worker allows for: the sidecar gives up a silent server before its worker gives up the sidecar. */
const SILENT_HEARTBEATS = 2;

export class Heartbeats {
  readonly #clock: Clock;
  /** 0: there are none. */
  readonly #everyMs: number;
  readonly #beat: () => void;
  #timer: Timer | undefined;

  /** @param everyMs as the worker has subscribed; @param beat tells it that the sidecar is there */
  constructor(clock: Clock, everyMs: number | undefined, beat: () => void) {
    this.#clock = clock;
    this.#everyMs = everyMs ?? DEFAULT_HEARTBEAT_MS;
    this.#beat = beat;
  }

  /** The server is away: its heartbeats come from here, the first one at once. */
  replace(): void {
    this.#timer?.cancel();
    if (this.#everyMs === 0) return;
    this.#beat();
    this.#timer = this.#clock.setTimer(() => this.replace(), this.#everyMs);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Ends an attempt in which the server has become silent. */
  watch(attempt: AbortController): SilenceAlarm | undefined {
    const silenceMs = this.#everyMs * SILENT_HEARTBEATS;
    if (silenceMs === 0) return undefined;
    return new SilenceAlarm(this.#clock, silenceMs, () => {
      attempt.abort(new RpcError(Code.UNAVAILABLE, `The server was silent for ${silenceMs} ms`));
    });
  }
}
