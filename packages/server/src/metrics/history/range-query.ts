// Values over time: what becomes of the points of a series in steps of a range.
//
// V1. A step holds the points from its beginning to before the next one; what it has none of is NaN.
// V2. What is a rate by itself (a share of time, counted in seconds) is one here, too, from point to point.
// V3. A counter that fell has begun anew: what it shows then has been added.
import { QueryFunction } from "@sluice/api";
import { quantilesOf } from "../quantile.ts";
import type { DescribedSeries } from "../series.ts";
import type { History } from "./history.ts";

export interface Steps {
  /** Of the first one, Unix ns. */
  readonly startNs: bigint;
  readonly stepNs: number;
  readonly count: number;
}

export interface StepFunction {
  readonly kind: QueryFunction;
  /** 0 to 1. */
  readonly quantile: number;
}

/** So far before the range a rate may begin. */
const BEFORE_NS = 300_000_000_000n;
const NS_PER_SECOND = 1_000_000_000n;

/** One value for each step. */
export function valuesOf(
  history: History,
  [id, series]: readonly [id: number, series: DescribedSeries],
  { steps, how }: { readonly steps: Steps; readonly how: StepFunction },
): Float64Array {
  const { type, rateScale } = series.description;
  const isRate = how.kind === QueryFunction.RATE;
  if (type === "histogram" && how.kind === QueryFunction.QUANTILE) {
    return histogramQuantiles(history, id, { steps, how });
  }
  if (rateScale === undefined && !isRate) {
    const gathered = gathererOf(how, steps);
    visitNumbers(history, id, steps, (sinceNs, value) => gathered.add(sinceNs, value));
    return gathered.values();
  }
  const points = numbersOf(history, id, steps);
  const isCounter = type !== "gauge" || rateScale !== undefined;
  if (rateScale === undefined) return ratesOfSteps(points, steps, isCounter);
  const gathered = gathererOf(isRate ? { ...how, kind: QueryFunction.AVG } : how, steps);
  points.forEach(([at, value], i) => {
    const [beforeAt, before] = points[i - 1] ?? [at, 0];
    if (at < 0 || at === beforeAt) return;
    const rate = (addedTo(before, value, isCounter) / (at - beforeAt)) * 1e9 * rateScale;
    gathered.add(at, Math.min(rate, series.description.rateMax ?? Infinity));
  });
  return gathered.values();
}

/** Ns since the first step. */
function visitNumbers(
  history: History,
  id: number,
  steps: Steps,
  visit: (sinceNs: number, value: number) => void,
): void {
  const { startNs, stepNs, count } = steps;
  const seconds = startNs / NS_PER_SECOND;
  const rest = Number(startNs - seconds * NS_PER_SECOND);
  const range = { fromNs: startNs, toNs: startNs + BigInt(stepNs) * BigInt(count) };
  history.numbers(id, range, Number(seconds), (since, value) => visit(since - rest, value));
}

/** By time, with what lies shortly before the first step: that has a time below 0. */
function numbersOf(
  history: History,
  id: number,
  { startNs, stepNs, count }: Steps,
): [sinceNs: number, value: number][] {
  const found: [number, number][] = [];
  const toNs = startNs + BigInt(stepNs) * BigInt(count);
  const seconds = startNs / NS_PER_SECOND;
  const rest = Number(startNs - seconds * NS_PER_SECOND);
  let isSorted = true;
  history.numbers(id, { fromNs: startNs - BEFORE_NS, toNs }, Number(seconds), (since, value) => {
    const last = found.at(-1);
    if (last !== undefined && last[0] > since - rest) isSorted = false;
    found.push([since - rest, value]);
  });
  return isSorted ? found : found.toSorted(([a], [b]) => a - b);
}

/** What was added a second since the step before, or since the first point. */
function ratesOfSteps(points: readonly [number, number][], { stepNs, count }: Steps, isCounter: boolean): Float64Array {
  const added = new Float64Array(count);
  const during = new Float64Array(count);
  for (let i = 1; i < points.length; i++) {
    const [at, value] = points[i]!;
    const [beforeAt, before] = points[i - 1]!;
    if (at < 0) continue;
    const step = Math.floor(at / stepNs);
    added[step]! += addedTo(before, value, isCounter);
    during[step]! += at - beforeAt;
  }
  return added.map((sum, i) => (during[i] === 0 ? Number.NaN : (sum / during[i]!) * 1e9));
}

/** V3. */
function addedTo(before: number, value: number, isCounter: boolean): number {
  return isCounter && value < before ? value : value - before;
}

interface Gatherer {
  add(sinceNs: number, value: number): void;
  values(): Float64Array;
}

function gathererOf({ kind, quantile }: StepFunction, { stepNs, count }: Steps): Gatherer {
  const values = new Float64Array(count).fill(Number.NaN);
  switch (kind) {
    case QueryFunction.AVG: {
      const counts = new Uint32Array(count);
      return {
        add(since, value) {
          const step = Math.floor(since / stepNs);
          values[step] = counts[step]!++ === 0 ? value : values[step]! + value;
        },
        values: () => values.map((sum, i) => sum / counts[i]!),
      };
    }
    case QueryFunction.MIN:
    case QueryFunction.MAX: {
      const sign = kind === QueryFunction.MIN ? 1 : -1;
      return {
        add(since, value) {
          const step = Math.floor(since / stepNs);
          const best = values[step]!;
          if (Number.isNaN(best) || sign * value < sign * best) values[step] = value;
        },
        values: () => values,
      };
    }
    case QueryFunction.QUANTILE: {
      const all = new Map<number, number[]>();
      return {
        add(since, value) {
          const step = Math.floor(since / stepNs);
          const mine = all.get(step);
          if (mine === undefined) all.set(step, [value]);
          else mine.push(value);
        },
        values() {
          for (const [step, mine] of all) values[step] = quantileOf(mine, quantile);
          return values;
        },
      };
    }
    default: {
      const times = new Float64Array(count).fill(-1);
      return {
        add(since, value) {
          const step = Math.floor(since / stepNs);
          if (since < times[step]!) return;
          times[step] = since;
          values[step] = value;
        },
        values: () => values,
      };
    }
  }
}

/** Between neighbours linear, as Prometheus and numpy have it. */
function quantileOf(values: readonly number[], quantile: number): number {
  const sorted = Float64Array.from(values).toSorted();
  const place = quantile * (sorted.length - 1);
  const below = sorted[Math.floor(place)]!;
  const above = sorted[Math.ceil(place)]!;
  return below === above ? below : below + (above - below) * (place - Math.floor(place));
}

/** Of what a histogram counted in each step. */
function histogramQuantiles(
  history: History,
  id: number,
  { steps, how }: { readonly steps: Steps; readonly how: StepFunction },
): Float64Array {
  const { startNs, stepNs, count } = steps;
  const values = new Float64Array(count).fill(Number.NaN);
  const width = BigInt(stepNs);
  let before: Uint8Array | undefined;
  let last: Uint8Array | undefined;
  let current = -1n;
  const flush = (): void => {
    if (last === undefined) return;
    if (current >= 0n) values[Number(current)] = quantilesOf(last, before, [how.quantile])[0]?.value ?? Number.NaN;
    before = last;
  };
  for (const { timestampNs, shape, isStale } of history.points(id, {
    fromNs: startNs - BEFORE_NS,
    toNs: startNs + width * BigInt(count),
  })) {
    if (shape === undefined || isStale) continue;
    const step = timestampNs < startNs ? -1n : (timestampNs - startNs) / width;
    if (step !== current) flush();
    current = step;
    last = shape;
  }
  flush();
  return values;
}
