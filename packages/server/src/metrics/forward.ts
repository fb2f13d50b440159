// Hands points on to other servers, in the order in which they came; what could not be handed on is counted.
//
// F1. What waits for a target in memory is bounded (POINTS_MAX). Beyond it, and after a restart, it is read from the history: a
//     target is a place in it. Where no history is kept the oldest points are dropped, so that a target that comes back gets
//     what is newest.
// F2. One request at a time for each target, so that the points of a series arrive in their order.
// F3. What may succeed later is tried again, with pauses that grow to PAUSE_MS_MAX; what never will is dropped at once.
import type { Instrument, Report, Reporter } from "../telemetry/instrument.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Clock, Timer } from "../store/contract.ts";
import { valueOf } from "./expose.ts";
import type { DescribedSeries, Point, Series, SeriesListener } from "./series.ts";

/** A point on its way. */
export interface ForwardedPoint {
  readonly series: Pick<DescribedSeries, "description">;
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

/** What came before, by ticks: numbers that ascend as points come. */
export interface ForwardHistory {
  /** The tick of what comes next. To be asked between two points, not while one is taken. */
  readonly next: number;
  /** Whether all that came from this tick on is still there. */
  isWhole(from: number): boolean;
  /** In the order in which it came. */
  read(from: number, to: number): AsyncIterable<MissedPoints>;
}

export interface MissedPoints {
  readonly points: readonly ForwardedPoint[];
  /** The tick behind them. */
  readonly next: number;
}

export interface ForwarderOptions {
  readonly source: ForwardSource;
  readonly target: ForwardTarget;
  readonly clock: Clock;
  /** From 0 to below 1: for the jitter of pauses. */
  readonly random: () => number;
  readonly logger: Logger;
  /** Absent: none is kept. */
  readonly history?: ForwardHistory | undefined;
  /** Where it has got in the history before; absent: it is new, and gets what is there now. */
  readonly from?: number | undefined;
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
  /** All that came with earlier ticks has been handed on, or never will be. */
  #place: number;
  /** What comes is not kept here: it will be read from the history. */
  #isBehind = false;
  /** The place when so many points will have left the queue. */
  #mark: { readonly pushed: number; readonly place: number } | undefined;
  #pushed = 0;
  readonly #counts = { sent: 0, full: 0, refused: 0, retries: 0 };

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#pointsMax = options.pointsMax ?? POINTS_MAX;
    const { history, from } = options;
    this.#place = from ?? history?.next ?? 0;
    if (from === undefined || history === undefined) for (const series of options.source.all()) this.onPoint(series);
    else this.#fallBehind();
    this.#listening = options.source.listen(this);
  }

  onAdded(series: Series): void {
    this.onPoint(series);
  }

  onPoint(series: Series): void {
    const { point, isStale } = series;
    const value = valueOf(series);
    if (value === undefined && !isStale) return;
    if (this.#waitingCount >= this.#pointsMax) this.#onFull();
    if (!this.#isBehind) {
      this.#waiting.push({ series, point, value: value ?? point.value, isStale });
      this.#pushed++;
    }
    this.#sendLater(GATHER_MS);
  }

  onRemoved(): void {
    // It was told as stale before.
  }

  /** Where the target is in the history: see `#place`. */
  get place(): number {
    return this.#place;
  }

  get counts(): Readonly<Record<"sent" | "full" | "refused" | "retries" | "waiting", number>> {
    return { ...this.#counts, waiting: this.#waitingCount };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listening[Symbol.dispose]();
    this.#timer?.cancel();
    this.#stop.abort();
    await this.#running;
    if (!this.#isBehind) this.#movePlace();
    this.#tellLost();
    await this.#options.target[Symbol.asyncDispose]();
  }

  get #waitingCount(): number {
    return this.#waiting.length - this.#first;
  }

  /** F1. */
  #onFull(): void {
    if (this.#options.history !== undefined) this.#fallBehind();
    else {
      this.#drop(1);
      this.#counts.full++;
    }
  }

  #fallBehind(): void {
    this.#isBehind = true;
    this.#waiting = [];
    this.#first = 0;
    this.#mark = undefined;
    this.#sendLater(GATHER_MS);
  }

  #tellLost(): void {
    const { history, logger, target } = this.#options;
    const waiting = this.#waitingCount;
    if (history !== undefined || waiting === 0) return;
    const facts = { event: "forward-lost", target: target.name, points: waiting };
    logger.warn(facts, "points of metrics were not handed on: the server ends, and keeps no history of them");
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
        if (this.#waitingCount > 0 || this.#isBehind) this.#sendLater(this.#failures > 0 ? this.#pauseMs : GATHER_MS);
      });
    }, waitMs);
  }

  /** Until nothing waits, or it fails. */
  async #sendAll(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      if (this.#isBehind) {
        if (!(await this.#catchUp())) return;
        continue;
      }
      this.#movePlace();
      if (this.#waitingCount === 0) return;
      const batch = this.#waiting.slice(this.#first, this.#first + BATCH_POINTS);
      const last = batch.at(-1)!;
      if (!(await this.#send(batch))) return;
      // Some of them may have been dropped meanwhile.
      const at = this.#waiting.indexOf(last, this.#first);
      if (at >= 0) this.#drop(at + 1 - this.#first);
    }
  }

  /** False: it failed, or it ends. */
  async #send(batch: readonly ForwardedPoint[]): Promise<boolean> {
    const outcome = await this.#options.target.send(batch, this.#stop.signal).catch(laterOf);
    if (this.#stop.signal.aborted) return false;
    if (outcome.kind === "later") this.#onFailed(outcome);
    else this.#onTaken(batch.length, outcome);
    return outcome.kind === "taken";
  }

  /** What has left the queue came before the place. */
  #movePlace(): void {
    const { history } = this.#options;
    if (history === undefined) return;
    if (this.#mark !== undefined && this.#pushed - this.#waitingCount >= this.#mark.pushed) {
      this.#place = this.#mark.place;
      this.#mark = undefined;
    }
    if (this.#waitingCount === 0) this.#place = history.next;
    else this.#mark ??= { pushed: this.#pushed, place: history.next };
  }

  /** Sends what came up to now, while what comes waits in memory again. False: it failed, or it ends. */
  async #catchUp(): Promise<boolean> {
    const history = this.#options.history!;
    const { target, logger } = this.#options;
    const to = history.next;
    this.#isBehind = false;
    if (!history.isWhole(this.#place)) {
      const facts = { event: "forward-lost", target: target.name };
      logger.warn(
        facts,
        "points of metrics were not handed on: the target was away for longer than the history goes back",
      );
    }
    try {
      for await (const { points, next } of history.read(this.#place, to)) {
        for (let at = 0; at < points.length; at += BATCH_POINTS) {
          if (await this.#send(points.slice(at, at + BATCH_POINTS))) continue;
          this.#fallBehind();
          return false;
        }
        this.#place = next;
        // Too much came meanwhile: it is read from there, too.
        if (this.#isBehind) return true;
      }
    } catch (error) {
      this.#fallBehind();
      this.#onFailed(laterOf(error));
      return false;
    }
    this.#place = to;
    return true;
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

function laterOf(error: unknown): Extract<ForwardOutcome, { kind: "later" }> {
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
