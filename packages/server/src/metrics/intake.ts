// Where points come in, whatever brings them: OTLP, WriteMetrics, remote write, scrapes, the machine itself.
//
// I1. A point is answered for when `commit` resolves, and not before: then it is durable.
// I2. Every point has a verdict, at once: it is taken, it is there already, or it is rejected, with the reason.
// I3. What ends without a batch (its source fell silent) is kept, too.
// I4. Nothing is much newer than now: what comes after it could not be taken any more.
import { LimitExceeded } from "../errors.ts";
import type { HistoryLog } from "./history/history-log.ts";
import type { Point, Series, SeriesDescription, SeriesTable } from "./series.ts";

/** Why a point was not taken. */
export interface Rejection {
  /**
   * "old": further behind the newest of its series than may be; "early": further ahead of now than may be; "conflict": another
   * value has the same time already; "limit": its series would be one too many.
   */
  readonly reason: "old" | "early" | "conflict" | "limit";
  /** A sentence for whoever wrote it. */
  readonly message: string;
}

/** What became of a point; "same": it is there already, which is no error (a request that is sent again). */
export type Verdict = "taken" | "same" | Rejection;

/** Points of one request. */
export interface IntakeBatch {
  /** `key` stands for all of the description, which is asked for only when the series is new. */
  write(key: string, point: Point, describe: () => SeriesDescription): Verdict;
  /** The same for a series that was found before; undefined: it is gone from the table, so it has to be described again. */
  writeTo(series: Series, point: Point): Verdict | undefined;
  /** Its source says that there is no value any more. Unknown series are none that end. */
  end(key: string, timestampNs: bigint): void;
  /**
   * Resolves when everything that was written is durable, also what was "same". To be called once, also when nothing was
   * taken. @throws what the store says: nothing may be acknowledged then
   */
  commit(): Promise<void>;
}

/** So far behind the newest point of its series a point may be. */
const LATE_NS_MAX = 600_000_000_000n;
/** So far ahead of now: a clock that is wrong by more would make all that is right look late (I4). */
const EARLY_NS_MAX = 600_000_000_000n;

export interface MetricIntakeOptions {
  readonly table: SeriesTable;
  /** Keeps what is taken; without it nothing is kept but the newest points, and what is behind them is old. */
  readonly log?: HistoryLog | undefined;
  /** Hears of points that could not be kept and that nobody waits for. */
  readonly onFault?: (text: string) => void;
}

export class MetricIntake implements Disposable {
  readonly #table: SeriesTable;
  readonly #log: HistoryLog | undefined;
  readonly #onFault: ((text: string) => void) | undefined;
  readonly #listening: Disposable;
  readonly #commit = (): Promise<void> => this.#log?.commit() ?? Promise.resolve();

  constructor({ table, log, onFault }: MetricIntakeOptions) {
    this.#table = table;
    this.#log = log;
    this.#onFault = onFault;
    this.#listening = table.listen({
      onAdded() {},
      onRemoved() {},
      // I3.
      onPoint: (series) => {
        if (series.isStale && series.historyId >= 0) this.keep([series]);
      },
    });
  }

  /** @throws LimitExceeded when the disk takes nothing, and too much waits for it already */
  begin(): IntakeBatch {
    this.#log?.assertRoom();
    const table = this.#table;
    const nowNs = table.nowNs();
    const latestNs = nowNs + EARLY_NS_MAX;
    return {
      write: (key, point, describe) => {
        if (point.timestampNs > latestNs) return TOO_EARLY;
        const known = table.find(key);
        return known === undefined ? this.#add(key, point, describe) : this.#write(known, point);
      },
      writeTo: (series, point) => {
        if (point.timestampNs > latestNs) return TOO_EARLY;
        return series.isGone ? undefined : this.#write(series, point);
      },
      end(key, timestampNs) {
        const series = table.find(key);
        // I4. Of an end the time matters less than that it is one.
        if (series !== undefined) table.end(series, timestampNs > latestNs ? nowNs : timestampNs);
      },
      commit: this.#commit,
    };
  }

  /** The newest points of series that did not come by a batch go into the history, too. Nobody waits for them. */
  keep(all: Iterable<Series>): void {
    const log = this.#log;
    if (log === undefined) return;
    for (const series of all) log.write(series, series.point, series.isStale);
    log.commit().catch((error: unknown) => {
      this.#onFault?.(`cannot keep points of metrics: ${error instanceof Error ? error.message : String(error)}`);
    });
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }

  #add(key: string, point: Point, describe: () => SeriesDescription): Verdict {
    // It may have been here before: then its history goes on, and what is behind that is late.
    const id = this.#log?.history.find(key);
    const newest = id === undefined ? undefined : this.#log?.history.newestTwo(id).at(-1);
    if (id !== undefined && newest !== undefined && point.timestampNs <= newest.timestampNs) {
      return this.#writePast(id, point, newest.timestampNs);
    }
    try {
      const series = this.#table.add(key, point, describe);
      this.#log?.write(series, point, false);
      return "taken";
    } catch (error) {
      if (!(error instanceof LimitExceeded)) throw error;
      return { reason: "limit", message: error.message };
    }
  }

  #write(series: Series, point: Point): Verdict {
    const { timestampNs } = series;
    if (point.timestampNs > timestampNs) {
      this.#table.update(series, point);
      this.#log?.write(series, point, false);
      return "taken";
    }
    if (point.timestampNs === timestampNs && !series.isStale)
      return isSamePoint(series.point, point) ? "same" : CONFLICT;
    return this.#writePast(series.historyId, point, timestampNs);
  }

  /** Of a point that is not newer than the newest of its series. */
  #writePast(id: number, point: Point, newestNs: bigint): Verdict {
    const log = this.#log;
    if (log === undefined || id < 0) return OLD;
    if (newestNs - point.timestampNs > LATE_NS_MAX) return TOO_OLD;
    const verdict = this.#findPast(id, point);
    if (verdict === undefined) log.writePast(id, point, false);
    return verdict ?? "taken";
  }

  /** What is known of this time already. */
  #findPast(id: number, point: Point): Verdict | undefined {
    const { timestampNs } = point;
    const range = { fromNs: timestampNs, toNs: timestampNs + 1n };
    const [past] = this.#log?.history.points(id, range) ?? [];
    if (past === undefined) return undefined;
    return !past.isStale && isSamePoint(past, point) ? "same" : CONFLICT;
  }
}

const OLD: Rejection = { reason: "old", message: "a point of this series is newer already" };
const TOO_OLD: Rejection = {
  reason: "old",
  message: "a point of this series is newer already by more than 10 minutes, which is as late as a point may be",
};
const TOO_EARLY: Rejection = {
  reason: "early",
  message: "its time is ahead of the server's by more than 10 minutes: look at the clock of whoever wrote it",
};
const CONFLICT: Rejection = { reason: "conflict", message: "this series has another value for the same time" };

/** Whether nothing tells the two apart; their times are equal. */
function isSamePoint(a: Point, b: Point): boolean {
  return (
    Object.is(a.value, b.value) &&
    a.intValue === b.intValue &&
    (a.shape === b.shape || Buffer.compare(a.shape ?? NOTHING, b.shape ?? NOTHING) === 0)
  );
}
const NOTHING = new Uint8Array(0);
