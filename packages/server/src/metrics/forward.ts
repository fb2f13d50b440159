// Hands points on to other servers: each point once, in the order in which they came, and what could not be handed on is counted.
//
// F1. What waits for a target is bounded (POINTS_MAX): beyond it the oldest points are dropped, so that a target that comes back
//     gets what is newest.
// F2. One request at a time for each target, so that the points of a series arrive in their order.
// F3. What may succeed later is tried again, with pauses that grow to PAUSE_MS_MAX; what never will is dropped at once.
import type { Instrument, Report, Reporter } from "../telemetry/instrument.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Clock, Timer } from "../store/contract.ts";
import { valueOf } from "./expose.ts";
import type { Point, Series, SeriesListener } from "./series.ts";

/** A point on its way. */
export interface ForwardedPoint {
  readonly series: Series;
  readonly point: Point;
  /** Of a share of time: over the time since the measurement before. */
  readonly value: number;
  /** It says that the series has ended. */
  readonly isStale: boolean;
}

export type ForwardOutcome =
  /** `refused` of them were not taken, and never will be. */
  | { readonly kind: "taken"; readonly refused: number; readonly reason?: string }
  | { readonly kind: "later"; readonly reason: string; readonly retryAfterMs?: number | undefined };

/** One who takes points. */
export interface ForwardTarget extends AsyncDisposable {
  /** For logs and metrics: without what is secret. */
  readonly name: string;
  /** Never rejects but for the signal. */
  send(points: readonly ForwardedPoint[], signal: AbortSignal): Promise<ForwardOutcome>;
}

/** Whose points they are. */
export interface ForwardSource {
  listen(listener: SeriesListener): Disposable;
  all(): Iterable<Series>;
}

export interface ForwarderOptions {
  readonly source: ForwardSource;
  readonly target: ForwardTarget;
  readonly clock: Clock;
  /** From 0 to below 1: for the jitter of pauses. */
  readonly random: () => number;
  readonly logger: Logger;
  /** Default: POINTS_MAX. */
  readonly pointsMax?: number;
}

const POINTS_MAX = 200_000;
/** Encoded in one go: some milliseconds. */
const BATCH_POINTS = 500;
/** Points that come together leave together. */
const GATHER_MS = 500;
const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 30_000;

export class Forwarder implements SeriesListener, AsyncDisposable {
  readonly #options: ForwarderOptions;
  readonly #pointsMax: number;
  readonly #listening: Disposable;
  readonly #stop = new AbortController();
  /** The oldest is at `#first`; what lies before has left. */
  #waiting: ForwardedPoint[] = [];
  #first = 0;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #failures = 0;
  readonly #counts = { sent: 0, full: 0, refused: 0, retries: 0 };

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#pointsMax = options.pointsMax ?? POINTS_MAX;
    for (const series of options.source.all()) this.onPoint(series);
    this.#listening = options.source.listen(this);
  }

  onAdded(series: Series): void {
    this.onPoint(series);
  }

  onPoint(series: Series): void {
    const { point, isStale } = series;
    const value = valueOf(series);
    if (value === undefined && !isStale) return;
    if (this.#waitingCount >= this.#pointsMax) {
      // F1
      this.#drop(1);
      this.#counts.full++;
    }
    this.#waiting.push({ series, point, value: value ?? point.value, isStale });
    this.#sendLater(GATHER_MS);
  }

  onRemoved(): void {
    // It was told as stale before.
  }

  get counts(): Readonly<Record<"sent" | "full" | "refused" | "retries" | "waiting", number>> {
    return { ...this.#counts, waiting: this.#waitingCount };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listening[Symbol.dispose]();
    this.#timer?.cancel();
    this.#stop.abort();
    await this.#running;
    await this.#options.target[Symbol.asyncDispose]();
  }

  get #waitingCount(): number {
    return this.#waiting.length - this.#first;
  }

  #drop(count: number): void {
    this.#first += count;
    if (this.#first < BATCH_POINTS || this.#first < this.#waiting.length / 2) return;
    this.#waiting = this.#waiting.slice(this.#first);
    this.#first = 0;
  }

  #sendLater(waitMs: number): void {
    if (this.#timer !== undefined || this.#running !== undefined || this.#stop.signal.aborted) return;
    this.#timer = this.#options.clock.setTimer(() => {
      this.#timer = undefined;
      this.#running = this.#sendAll().finally(() => {
        this.#running = undefined;
        if (this.#waitingCount > 0) this.#sendLater(this.#failures > 0 ? this.#pauseMs : GATHER_MS);
      });
    }, waitMs);
  }

  /** Until nothing waits, or it fails. */
  async #sendAll(): Promise<void> {
    const { target } = this.#options;
    while (this.#waitingCount > 0 && !this.#stop.signal.aborted) {
      const batch = this.#waiting.slice(this.#first, this.#first + BATCH_POINTS);
      const last = batch.at(-1)!;
      const outcome = await target.send(batch, this.#stop.signal).catch(laterOf);
      if (this.#stop.signal.aborted) return;
      if (outcome.kind === "later") {
        this.#onFailed(outcome);
        return;
      }
      this.#onTaken(batch.length, outcome);
      // Some of them may have been dropped meanwhile.
      const at = this.#waiting.indexOf(last, this.#first);
      if (at >= 0) this.#drop(at + 1 - this.#first);
    }
  }

  #retryAfterMs = 0;

  /** F3. */
  get #pauseMs(): number {
    const pauseMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** this.#failures);
    return Math.max(this.#retryAfterMs, pauseMs * (0.8 + 0.4 * this.#options.random()));
  }

  #onFailed({ reason, retryAfterMs = 0 }: Extract<ForwardOutcome, { kind: "later" }>): void {
    const { logger, target } = this.#options;
    this.#counts.retries++;
    this.#retryAfterMs = retryAfterMs;
    if (this.#failures++ > 0) return;
    logger.warn(
      { event: "forward-failed", target: target.name, reason },
      "metrics cannot be handed on; it is tried again",
    );
  }

  #onTaken(count: number, { refused, reason }: Extract<ForwardOutcome, { kind: "taken" }>): void {
    const { logger, target } = this.#options;
    this.#counts.sent += count - refused;
    if (refused > 0 && this.#counts.refused === 0) {
      logger.warn({ event: "forward-refused", target: target.name, reason, refused }, "points of metrics were refused");
    }
    this.#counts.refused += refused;
    if (this.#failures > 0)
      logger.info({ event: "forward-resumed", target: target.name }, "metrics are handed on again");
    this.#failures = 0;
    this.#retryAfterMs = 0;
  }
}

function laterOf(error: unknown): ForwardOutcome {
  return { kind: "later", reason: error instanceof Error ? error.message : String(error) };
}

const SENT: Instrument = {
  name: "sluice.forward.sent",
  type: "counter",
  unit: "{point}",
  description: "Points that were handed on",
};
const DROPPED: Instrument = {
  name: "sluice.forward.dropped",
  type: "counter",
  unit: "{point}",
  description: "Points that were not handed on: too many waited, or they were refused",
};
const RETRIES: Instrument = {
  name: "sluice.forward.retries",
  type: "counter",
  unit: "{request}",
  description: "Requests that failed and are tried again",
};
const WAITING: Instrument = {
  name: "sluice.forward.waiting",
  type: "gauge",
  unit: "{point}",
  description: "Points that wait to be handed on",
};

/** What became of the points, by target. */
export function forwardReporter(forwarders: ReadonlyMap<string, Pick<Forwarder, "counts">>): Reporter {
  return {
    instruments: [SENT, DROPPED, RETRIES, WAITING],
    report(report: Report) {
      for (const [target, { counts }] of forwarders) {
        const labels = { "sluice.forward.target": target };
        report(SENT, counts.sent, labels);
        report(DROPPED, counts.full, { ...labels, reason: "full" });
        report(DROPPED, counts.refused, { ...labels, reason: "refused" });
        report(RETRIES, counts.retries, labels);
        report(WAITING, counts.waiting, labels);
      }
    },
  };
}
