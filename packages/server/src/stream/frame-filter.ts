// Picks frames out of runs.
import type { EntryRun } from "../store/contract.ts";

/** What the streams need of a filter that the index cannot answer. It knows the messages; they do not. */
export interface FrameFilter {
  /**
   * Whether the frame `bytes[start..end)` is for the reader; undefined when that took long and is not known yet: then
   * the clock is looked at, and the same frame asked for again. Called in ascending order within the same bytes.
   */
  matches(bytes: Uint8Array, start: number, end: number): boolean | undefined;
  /**
   * The first of the frames from..to that may match, frame i being `bytes[starts[i]..starts[i + 1])`; `to` when none
   * does; undefined as for `matches`. Without it each frame may.
   */
  candidate?(bytes: Uint8Array, starts: Uint32Array, from: number, to: number): number | undefined;
  /**
   * What of a run that is handed to all readers (`EntryRun.isShared`) is for this one, looked for once for all who have
   * the same filter; undefined: it grew late before all of it was known, ask again.
   */
  selectShared?(run: EntryRun, isLate: () => boolean): Selection | undefined;
  /** The sequence of the entry in a frame. */
  sequenceOf(bytes: Uint8Array, start: number, end: number): number;
}

/** What became of frames `from` to `next` (exclusive) of a run. */
export interface Selection {
  /** The first frame that was not looked at. */
  readonly next: number;
  /** How many matched. */
  readonly count: number;
  /** The frames that matched, one after the other. */
  readonly bytes: Uint8Array;
}

/** Steps between two looks at the clock, less one: a look costs more than most frames. */
const LOOK_MASK = 63;

export interface SelectOptions {
  readonly from: number;
  /** Stop after so many matches. */
  readonly countMax: number;
  /** Stop when this says so. */
  readonly isLate: () => boolean;
}

const NONE = Buffer.alloc(0);

/** Selects the frames of `run` that match. Adjacent ones are copied as one; a run that matches whole is not copied. */
export function selectFrames(run: EntryRun, filter: FrameFilter, options: SelectOptions): Selection {
  if (run.isShared !== true || filter.selectShared === undefined || options.from > 0) {
    return selectHere(run, filter, options);
  }
  const shared = filter.selectShared(run, options.isLate);
  if (shared === undefined) return { next: 0, count: 0, bytes: NONE };
  return shared.count <= options.countMax ? shared : selectHere(run, filter, options);
}

function selectHere(run: EntryRun, filter: FrameFilter, options: SelectOptions): Selection {
  const { from, countMax, isLate } = options;
  const { bytes, starts } = run;
  const stretches: Uint8Array[] = [];
  let stretchStart = -1;
  let count = 0;
  let next = from;
  /** Frames before it are judged. */
  let known = from;
  for (let step = 1; next < run.count && count < countMax; step++) {
    if ((step & LOOK_MASK) === 0 && isLate()) break;
    if (known === next && filter.candidate !== undefined) {
      const candidate = filter.candidate(bytes, starts, next, run.count);
      if (candidate === undefined) {
        if (isLate()) break;
        continue;
      }
      known = candidate + 1;
      if (candidate > next) {
        if (stretchStart >= 0) stretches.push(bytes.subarray(stretchStart, starts[next]));
        stretchStart = -1;
        next = candidate;
        if (next === run.count) break;
      }
    }
    const start = starts[next]!;
    const isMatch = filter.matches(bytes, start, starts[next + 1]!);
    if (isMatch === undefined) {
      if (isLate()) break;
      continue;
    }
    if (isMatch) {
      count++;
      if (stretchStart < 0) stretchStart = start;
    } else if (stretchStart >= 0) {
      stretches.push(bytes.subarray(stretchStart, start));
      stretchStart = -1;
    }
    next++;
  }
  if (stretchStart >= 0) stretches.push(bytes.subarray(stretchStart, starts[next]));
  return { next, count, bytes: joined(stretches) };
}

function joined(stretches: readonly Uint8Array[]): Uint8Array {
  return stretches.length === 1 ? stretches[0]! : Buffer.concat(stretches);
}
