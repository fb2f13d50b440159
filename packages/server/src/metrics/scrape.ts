// Asks targets for their metrics, each at its interval, and writes what they say, as Prometheus does.
//
// SC1. A scrape is written whole or not at all: a body with one wrong line is a target that is down.
// SC2. Every scrape writes `up`, and how long it took and what it brought, whatever became of it.
// SC3. A series that a target no longer has, or a target that is down, ends at once. Those with times of their own go on.
// SC4. One scrape of a target at a time. Ticks do not drift; those that come meanwhile are left out.
import type { Logger } from "../telemetry/logger.ts";
import type { Clock, Timer } from "../store/contract.ts";
import { nextTurn } from "../stream/turn.ts";
import { type IncomingPoint, keyOf, type LabelPairs, sortedLabels } from "./incoming.ts";
import { type PointOptions, pointsOfFamily, PROMETHEUS_ORIGIN } from "./prometheus-points.ts";
import { familiesOf, pointsOfProtobuf } from "./prometheus-protobuf.ts";
import { parseExpositionInTurns } from "./prometheus-text.ts";
import { fetchMetrics, ScrapeFailed, type Scraped } from "./scrape-fetch.ts";
import type { ScrapeTarget } from "./scrape-target.ts";
import type { PointWriter } from "./write-points.ts";

export interface ScrapeSettings {
  readonly targets: readonly ScrapeTarget[];
  /** Of targets that say nothing. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

export interface ScraperOptions extends ScrapeSettings {
  readonly writer: PointWriter;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of files that targets name; undefined: there is none. */
  readonly readFile: (path: string) => Promise<Buffer | undefined>;
}

const CHUNK_POINTS = 1000;

/** All targets, from now until it is disposed. */
export class Scraper implements AsyncDisposable {
  readonly #targets: readonly TargetScrapes[];

  constructor(options: ScraperOptions) {
    const { targets } = options;
    this.#targets = targets.map((target, i) => new TargetScrapes(target, options, i / targets.length));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#targets.map((target) => target[Symbol.asyncDispose]()));
  }
}

/** One target. */
class TargetScrapes implements AsyncDisposable {
  readonly #target: ScrapeTarget;
  readonly #options: ScraperOptions;
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  readonly #labels: LabelPairs;
  readonly #stop = new AbortController();
  #timer: Timer | undefined;
  #running: Promise<void> = Promise.resolve();
  #dueMs: number;
  /** Keys of the series that the last scrape brought without times of their own (SC3). */
  #brought: ReadonlySet<string> = new Set();
  #wasUp: boolean | undefined;

  /** @param phase of its interval at which it begins: targets are not all asked at once */
  constructor(target: ScrapeTarget, options: ScraperOptions, phase: number) {
    this.#target = target;
    this.#options = options;
    this.#intervalMs = target.intervalMs ?? options.intervalMs;
    this.#timeoutMs = Math.min(target.timeoutMs ?? options.timeoutMs, this.#intervalMs);
    this.#labels = sortedLabels(new Map([["job", target.job], ["instance", instanceOf(target.url)], ...target.labels]));
    this.#dueMs = options.clock.monotonicMs() + phase * Math.min(this.#intervalMs, 1000);
    this.#schedule();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.cancel();
    this.#stop.abort();
    await this.#running;
  }

  /** SC4. */
  #schedule(): void {
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#dueMs < nowMs) this.#dueMs += Math.ceil((nowMs - this.#dueMs) / this.#intervalMs) * this.#intervalMs;
    this.#timer = clock.setTimer(() => {
      this.#running = this.#scrape().finally(() => {
        if (this.#stop.signal.aborted) return;
        this.#dueMs += this.#intervalMs;
        this.#schedule();
      });
    }, this.#dueMs - nowMs);
  }

  /** Never fails. */
  async #scrape(): Promise<void> {
    const { clock, logger } = this.#options;
    const startMs = clock.monotonicMs();
    const nowNs = clock.nowNs();
    let problem: string | undefined;
    let points: IncomingPoint[] = [];
    try {
      points = await pointsOf(await this.#fetch(), {
        nowNs,
        labels: this.#labels,
        honorLabels: this.#target.honorLabels,
        honorTimestamps: this.#target.honorTimestamps,
      });
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      problem = error instanceof Error ? error.message : String(error);
    }
    const seconds = (clock.monotonicMs() - startMs) / 1000;
    try {
      const refused = await this.#write(points, { nowNs, seconds, isUp: problem === undefined });
      problem ??= refused;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    const isUp = problem === undefined;
    if (isUp === this.#wasUp) return;
    const { job, url } = this.#target;
    const facts = { job, instance: instanceOf(url) };
    if (problem !== undefined)
      logger.warn({ event: "scrape-failed", ...facts, problem }, "a target was not scraped, or not whole");
    else if (this.#wasUp === false) logger.info({ event: "scrape-succeeded", ...facts }, "a target is scraped again");
    this.#wasUp = isUp;
  }

  /** The timeout is the clock's, as all time is. */
  async #fetch(): Promise<Scraped> {
    const { clock, readFile } = this.#options;
    const { url, access } = this.#target;
    const attempt = new AbortController();
    const stop = (): void => attempt.abort(this.#stop.signal.reason);
    this.#stop.signal.addEventListener("abort", stop);
    const timer = clock.setTimer(() => {
      attempt.abort(new ScrapeFailed(url, `it did not answer within ${this.#timeoutMs} ms`));
    }, this.#timeoutMs);
    try {
      return await fetchMetrics(url, { access, readFile, timeoutMs: this.#timeoutMs, signal: attempt.signal });
    } finally {
      timer.cancel();
      this.#stop.signal.removeEventListener("abort", stop);
    }
  }

  /** Answers why not all of them were taken, if so. */
  async #write(
    points: readonly IncomingPoint[],
    { nowNs, seconds, isUp }: { readonly nowNs: bigint; readonly seconds: number; readonly isUp: boolean },
  ): Promise<string | undefined> {
    const { writer } = this.#options;
    const own = writer.begin(undefined);
    const batch = writer.begin(`scrape ${this.#target.job}`);
    const brought = new Set<string>();
    let added = 0;
    let taken = 0;
    let refusal: string | undefined;
    for (const [i, incoming] of points.entries()) {
      if (i % CHUNK_POINTS === CHUNK_POINTS - 1) await nextTurn();
      const key = keyOf(incoming);
      const refused = batch.write(incoming, key);
      if (refused === undefined) taken++;
      // What has times of its own comes again and again with the same until there is news.
      else if (refused.reason !== "OLD") refusal ??= refused.text;
      if (incoming.point.timestampNs !== nowNs) continue;
      if (!this.#brought.has(key)) added++;
      brought.add(key);
    }
    for (const key of this.#brought) if (!brought.has(key)) batch.end(key, nowNs);
    this.#brought = brought;
    await batch.commit();
    const told: readonly (readonly [string, number, string])[] = [
      ["up", isUp ? 1 : 0, "Whether the target could be scraped."],
      ["scrape_duration_seconds", seconds, "How long the target took to answer, in seconds."],
      ["scrape_samples_scraped", points.length, "Points that the target brought."],
      ["scrape_samples_post_metric_relabeling", taken, "Points that were taken."],
      ["scrape_series_added", added, "Series that the scrape before had not brought."],
    ];
    for (const [name, value, description] of told) {
      const point = { value, intValue: undefined, timestampNs: nowNs, startNs: 0n, shape: undefined };
      const what = { name, type: "gauge", unit: "", description, labels: this.#labels } as const;
      own.write({ ...what, origin: PROMETHEUS_ORIGIN, point, isEnd: false });
    }
    await own.commit();
    return refusal;
  }
}

/** @throws SluiceError for a body that is wrong (SC1) */
async function pointsOf({ format, body }: Scraped, options: PointOptions): Promise<IncomingPoint[]> {
  const points: IncomingPoint[] = [];
  let next = CHUNK_POINTS;
  const add = async (some: readonly IncomingPoint[]): Promise<void> => {
    for (const point of some) points.push(point);
    if (points.length < next) return;
    next = points.length + CHUNK_POINTS;
    await nextTurn();
  };
  if (format === "protobuf") {
    for (const family of familiesOf(body)) await add(pointsOfProtobuf(family, options));
  } else {
    for (const family of await parseExpositionInTurns(body.toString("utf8"), format)) {
      await add(pointsOfFamily(family, options));
    }
  }
  return points;
}

function instanceOf({ host, protocol }: URL): string {
  return host.includes(":") ? host : `${host}:${protocol === "https:" ? 443 : 80}`;
}
