// What the server counts of itself, on its way to whoever tells it: names by OpenTelemetry's conventions where they have one.

/** What is counted: the same for all its labels. */
export interface Instrument {
  /** OpenTelemetry's, or "sluice.…". */
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** UCUM. */
  readonly unit: string;
  readonly description: string;
}

export type InstrumentLabels = Readonly<Record<string, string>>;

/** A histogram that is counted up and never down. */
export interface Distribution {
  /** Upper bounds of all buckets but the last, ascending. */
  readonly bounds: readonly number[];
  /** One more than bounds; not cumulative. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Takes how it is now. */
export type Report = (instrument: Instrument, value: number | Distribution, labels?: InstrumentLabels) => void;

/** One who counts. */
export interface Reporter {
  /** All that it may report, also while there is nothing of it yet. */
  readonly instruments: readonly Instrument[];
  /** Asked whenever somebody wants to know. Quick: it reads numbers that are there. */
  report(report: Report): void;
}
