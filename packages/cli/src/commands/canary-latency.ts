// Durations, counted in buckets: the memory of a canary that runs for years stays that of one that runs for a second.
//
// Buckets are log-linear, as HdrHistogram has them: each power of two of microseconds is cut into `PARTS` equal parts, so
// a quantile is at most 1/64 above the truth.

const PARTS = 64;
const PARTS_BITS = 6;
/** 2^36 µs are 19 hours; what took longer counts in the last bucket. */
const POWERS = 36;

/** Of some durations, ms. All zero when there was none. */
export interface LatencySummary {
  readonly count: number;
  readonly sumMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export class Latency {
  readonly #buckets = new Float64Array((POWERS - PARTS_BITS + 1) * PARTS);
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;

  record(durationMs: number): void {
    const ms = Math.max(0, durationMs);
    const bucket = Math.min(bucketOf(Math.floor(ms * 1000)), this.#buckets.length - 1);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count++;
    this.#sumMs += ms;
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      sumMs: this.#sumMs,
      p50Ms: this.#quantile(0.5),
      p99Ms: this.#quantile(0.99),
      maxMs: this.#maxMs,
    };
  }

  clear(): void {
    this.#buckets.fill(0);
    this.#count = 0;
    this.#sumMs = 0;
    this.#maxMs = 0;
  }

  /** The upper edge of the bucket in which it lies, or the maximum if that is less. */
  #quantile(share: number): number {
    const rank = Math.ceil(share * this.#count);
    let passed = 0;
    for (const [bucket, count] of this.#buckets.entries()) {
      passed += count;
      if (passed >= rank && count > 0) return Math.min(edgeOf(bucket) / 1000, this.#maxMs);
    }
    return 0;
  }
}

/** The first powers share one row, in which a bucket is a microsecond. */
function bucketOf(us: number): number {
  if (us < PARTS) return us;
  const power = Math.floor(Math.log2(us));
  const part = Math.floor(us / 2 ** (power - PARTS_BITS)) - PARTS;
  return (power - PARTS_BITS + 1) * PARTS + part;
}

/** Where a bucket ends, µs. */
function edgeOf(bucket: number): number {
  const row = Math.floor(bucket / PARTS);
  const part = bucket % PARTS;
  return row === 0 ? part + 1 : (PARTS + part + 1) * 2 ** (row - 1);
}
