// Where points come in, whatever brings them: OTLP, WriteMetrics, remote write, scrapes, the machine itself.
//
// I1. A point is answered for when `commit` resolves, and not before: then it is durable.
// I2. Every point has a verdict, at once: it is taken, it is there already, or it is rejected, with the reason.
import { LimitExceeded } from "../errors.ts";
import type { Point, Series, SeriesDescription, SeriesTable } from "./series.ts";

/** Why a point was not taken. */
export interface Rejection {
  /**
   * "old": further behind the newest of its series than may be; "conflict": another value has the same time already;
   * "limit": its series would be one too many.
   */
  readonly reason: "old" | "conflict" | "limit";
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

export interface MetricIntakeOptions {
  readonly table: SeriesTable;
}

export class MetricIntake {
  readonly #table: SeriesTable;

  constructor({ table }: MetricIntakeOptions) {
    this.#table = table;
  }

  begin(): IntakeBatch {
    const table = this.#table;
    return {
      write: (key, point, describe) => {
        const known = table.find(key);
        return known === undefined ? this.#add(key, point, describe) : this.#write(known, point);
      },
      writeTo: (series, point) => (table.find(series.key) === series ? this.#write(series, point) : undefined),
      end(key, timestampNs) {
        const series = table.find(key);
        if (series !== undefined) table.end(series, timestampNs);
      },
      commit: () => Promise.resolve(),
    };
  }

  #add(key: string, point: Point, describe: () => SeriesDescription): Verdict {
    try {
      this.#table.write(key, point, describe);
      return "taken";
    } catch (error) {
      if (!(error instanceof LimitExceeded)) throw error;
      return { reason: "limit", message: error.message };
    }
  }

  #write(series: Series, point: Point): Verdict {
    const { timestampNs } = series.point;
    if (point.timestampNs < timestampNs) return OLD;
    if (point.timestampNs === timestampNs) return isSamePoint(series.point, point) ? "same" : CONFLICT;
    this.#table.write(series.key, point, () => series.description);
    return "taken";
  }
}

const OLD: Rejection = { reason: "old", message: "a point of this series is newer already" };
const CONFLICT: Rejection = { reason: "conflict", message: "this series has another value for the same time" };

/** Whether nothing tells the two apart; their times are equal. */
export function isSamePoint(a: Point, b: Point): boolean {
  return (
    Object.is(a.value, b.value) &&
    a.intValue === b.intValue &&
    (a.shape === b.shape || Buffer.compare(a.shape ?? NOTHING, b.shape ?? NOTHING) === 0)
  );
}
const NOTHING = new Uint8Array(0);
