// What is said of many latencies.

export interface Latencies {
  readonly p50Microseconds: number;
  readonly p99Microseconds: number;
}

/** @param milliseconds at least one */
export function summarizeLatencies(milliseconds: Float64Array): Latencies {
  const sorted = milliseconds.toSorted();
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
  return { p50Microseconds: at(0.5) * 1000, p99Microseconds: at(0.99) * 1000 };
}
