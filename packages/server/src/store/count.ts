// Counts entries by time, label and severity, from the index alone: no frame is read.
//
// T1. Each entry up to the head of the beginning counts once, also when its index is built anew or its segment taken by
//     retention meanwhile: the count goes on at the next sequence that was not counted.
// T2. Pages and segments that hold nothing of the query are skipped; a segment whose labels lie each within one bucket is
//     counted by its summary.
// T3. The event loop is given to others after every few pages.
import { LimitExceeded } from "../errors.ts";
import type { Columns } from "./columns.ts";
import type { CountOptions, CountRow } from "./contract.ts";
import type { LogCore } from "./log-core.ts";
import type { PageTable } from "./page-table.ts";
import type { QueryPlan } from "./query.ts";
import type { Segment } from "./segment.ts";
import { isBefore, toBigInt, toWords } from "./columns.ts";
import { IndexReplaced } from "./segment.ts";

/** Pages whose columns are looked at together: 17 KB each on disk, some 10 µs each to count. */
const PAGES_AT_ONCE = 16;
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
/** Of a key's severity range. */
const RANGE_BITS = 3;

/** See LogReader.count. */
export async function countEntries(core: LogCore, plan: QueryPlan, options: CountOptions): Promise<CountRow[]> {
  const tally = new Tally(plan, options);
  const { chain } = core;
  const end = core.headSequence + 1;
  let next = chain.first;
  while (next < end) {
    next = Math.max(next, chain.first);
    const index = chain.indexOf(next);
    const segment = chain.all[index]!;
    if (next > segment.last) {
      next = chain.all[index + 1]?.first ?? end;
      continue;
    }
    try {
      next = await countPages(segment, { next, end }, plan, tally);
    } catch (error) {
      // T1. Nothing was counted of these pages: the step is done again, on what is there now.
      const isRetired = next < chain.first;
      if (!isRetired && !(error instanceof IndexReplaced)) throw error;
    }
    await options.giveWay();
  }
  return await tally.rows();
}

/** Counts from `next` on, some pages or all of the segment. Answers the first sequence that was not counted. */
async function countPages(
  segment: Segment,
  { next, end }: { readonly next: number; readonly end: number },
  plan: QueryPlan,
  tally: Tally,
): Promise<number> {
  const segmentEnd = segment.last + 1;
  if (segment.whole !== undefined) {
    if (!segment.whole.mayMatch(0, plan)) return segmentEnd;
    if (next === segment.first && segmentEnd <= end && tally.addSummary(segment)) return segmentEnd;
  }
  const known = segment.table();
  const table = known instanceof Promise ? await known : known;
  const page = table.find(next - segment.first);
  const pageEnd = endOfGroup(table, page, plan);
  if (pageEnd === page) return segment.first + table.firstEntry(page) + table.entries(page);
  const first = segment.first + table.firstEntry(page);
  const loading = segment.columns(table, page, pageEnd);
  const columns = loading instanceof Promise ? await loading : loading;
  const countedEnd = Math.min(end, first + columns.capacity);
  tally.addColumns(columns, next - first, countedEnd - first);
  return countedEnd;
}

/** The page behind up to PAGES_AT_ONCE pages that begin with `page` and may match; `page` when that one cannot. */
function endOfGroup(table: PageTable, page: number, plan: QueryPlan): number {
  let end = page;
  while (end < table.count && end - page < PAGES_AT_ONCE && table.mayMatch(end, plan)) end++;
  return end;
}

/** The rows so far. Entries mostly come in the order of time, so the last bucket and row are tried first. */
class Tally {
  readonly #plan: QueryPlan;
  readonly #options: CountOptions;
  readonly #buckets = new Map<bigint, Map<number, { count: number }>>();
  #rowCount = 0;
  /** The bucket of the last entry: from..until in two words each. */
  #bucket: Map<number, { count: number }> = new Map();
  #fromLow = 0;
  #fromHigh = 0;
  #untilLow = 0;
  #untilHigh = 0;
  #isOpenEnded = false;
  #hasBucket = false;

  constructor(plan: QueryPlan, options: CountOptions) {
    this.#plan = plan;
    this.#options = options;
  }

  /** Counts the entries from..to that match. */
  addColumns(columns: Columns, from: number, to: number): void {
    const plan = this.#plan;
    const { byLabel, bySeverity } = this.#options;
    const { timestamps, labels, severities } = columns;
    let lastKey = -1;
    let row = { count: 0 };
    for (let i = from; i < to; i++) {
      if (!plan.matches(columns, i)) continue;
      const low = timestamps[2 * i]!;
      const high = timestamps[2 * i + 1]!;
      if (!this.#isInBucket(low, high)) {
        this.#open(low, high);
        lastKey = -1;
      }
      const range = bySeverity ? (severities[i]! + 3) >>> 2 : 0;
      const key = byLabel ? labels[i]! * (1 << RANGE_BITS) + range : range;
      if (key !== lastKey) {
        lastKey = key;
        row = this.#row(key);
      }
      row.count++;
    }
  }

  /** Counts a whole segment by what is known of its labels. False: that does not say enough, and nothing was counted. */
  addSummary(segment: Segment): boolean {
    const { byLabel, bySeverity } = this.#options;
    const { rows } = segment;
    if (bySeverity || this.#plan.minSeverity > 0) return false;
    for (let row = 0; row < rows.count; row++) {
      if (this.#plan.hasLabel(rows.id(row)) && !this.#isWithinBucket(rows.times(row))) return false;
    }
    for (let row = 0; row < rows.count; row++) {
      const label = rows.id(row);
      if (!this.#plan.hasLabel(label) || rows.entries(row) === 0) continue;
      const times = rows.times(row);
      if (!this.#isInBucket(times[0]!, times[1]!)) this.#open(times[0]!, times[1]!);
      this.#row(byLabel ? label * (1 << RANGE_BITS) : 0).count += rows.entries(row);
    }
    return true;
  }

  async rows(): Promise<CountRow[]> {
    const starts = BigInt64Array.from(this.#buckets.keys()).sort();
    const rows: CountRow[] = [];
    for (const startNs of starts) {
      const bucket = this.#buckets.get(startNs)!;
      for (const key of Float64Array.from(bucket.keys()).sort()) {
        const severityRange = key % (1 << RANGE_BITS);
        const label = (key - severityRange) / (1 << RANGE_BITS);
        rows.push({ startNs, label, severityRange, count: bucket.get(key)!.count });
      }
      await this.#options.giveWay();
    }
    return rows;
  }

  /** Whether all entries between these times (minLow, minHigh, maxLow, maxHigh) are asked for and share a bucket. */
  #isWithinBucket(times: Int32Array): boolean {
    const [minLow, minHigh, maxLow, maxHigh] = times as unknown as [number, number, number, number];
    const plan = this.#plan;
    if (plan.hasTime && isBefore(minLow, minHigh, plan.startLow, plan.startHigh)) return false;
    if (plan.hasTime && !isBefore(maxLow, maxHigh, plan.endLow, plan.endHigh)) return false;
    const { bucketNs } = this.#options;
    return floorTo(toBigInt(minLow, minHigh), bucketNs) === floorTo(toBigInt(maxLow, maxHigh), bucketNs);
  }

  #isInBucket(low: number, high: number): boolean {
    if (!this.#hasBucket || isBefore(low, high, this.#fromLow, this.#fromHigh)) return false;
    return this.#isOpenEnded || isBefore(low, high, this.#untilLow, this.#untilHigh);
  }

  /** Makes the bucket of a time the present one. */
  #open(low: number, high: number): void {
    const { bucketNs } = this.#options;
    const start = floorTo(toBigInt(low, high), bucketNs);
    const startNs = start < INT64_MIN ? INT64_MIN : start;
    const until = start + bucketNs;
    const from = toWords(startNs);
    this.#fromLow = from.low;
    this.#fromHigh = from.high;
    this.#isOpenEnded = until > INT64_MAX;
    const words = toWords(this.#isOpenEnded ? 0n : until);
    this.#untilLow = words.low;
    this.#untilHigh = words.high;
    this.#hasBucket = true;
    const known = this.#buckets.get(startNs);
    this.#bucket = known ?? new Map<number, { count: number }>();
    if (known === undefined) this.#buckets.set(startNs, this.#bucket);
  }

  /** @throws LimitExceeded */
  #row(key: number): { count: number } {
    const known = this.#bucket.get(key);
    if (known !== undefined) return known;
    const { rowsMax } = this.#options;
    if (++this.#rowCount > rowsMax) {
      throw new LimitExceeded(
        `Cannot count this: it takes more than ${rowsMax} rows; ask for wider buckets, less time, or fewer applications`,
        "rows of a count",
      );
    }
    const row = { count: 0 };
    this.#bucket.set(key, row);
    return row;
  }
}

/** The multiple of `width` at or below `value`. */
function floorTo(value: bigint, width: bigint): bigint {
  const rest = value % width;
  return rest < 0n ? value - rest - width : value - rest;
}
