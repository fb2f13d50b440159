// What a series is, and what it is told with.

export type MetricType = "counter" | "gauge" | "histogram" | "summary";

/** What makes a series: all of it, and nothing else. */
export interface SeriesDescription {
  readonly name: string;
  readonly type: MetricType;
  /** UCUM. */
  readonly unit: string;
  readonly description: string;
  /** By name; what subscribers see and match. */
  readonly labels: readonly (readonly [name: string, value: string])[];
  /** What else tells it from others: resource and scope of its producer. */
  readonly origin: string;
  /** Whose it is, by the name of the subject; absent: the server's own. */
  readonly owner?: string | undefined;
  /** A gauge whose points are a counter: subscribers get its rate over their own interval, times this. */
  readonly rateScale?: number | undefined;
  /** No rate is told that is greater: clocks and counters are read one after the other. */
  readonly rateMax?: number | undefined;
  /**
   * Of what is measured only when somebody asks: when that was last, monotonic ms. While nobody looks it is not silent.
   * Absent: its source speaks by itself.
   */
  readonly lookedAtMs?: (() => number) | undefined;
}

/** A value at a time. */
export interface Point {
  readonly value: number;
  /** Where it is a whole number that a double may not hold. */
  readonly intValue?: bigint | undefined;
  /** Unix ns. */
  readonly timestampNs: bigint;
  /** Since when it has been counted, Unix ns; 0n: not known. */
  readonly startNs: bigint;
  /** Fields of MetricPoint beside those: a histogram, encoded with its tag. */
  readonly shape?: Uint8Array | undefined;
}
