// Filters of those who follow: what of the shared tail matches is found out once for all who have the same filter, however
// many they are.
//
// H1. What became of a run is remembered as long as the run itself is: as long as some reader may still ask for it.
// H2. A run that takes long is gone on with by whoever comes next; nobody's place in it is lost.
// H3. What is not shared (history from disk, the rest of a run that a limit cut) each reader matches by itself.
import type { EntryRun } from "../store/contract.ts";
import { type FrameFilter, selectFrames, type Selection } from "../stream/frame-filter.ts";
import { type FilterTerm, filterKey } from "./filter.ts";
import { sequenceOf } from "./frame-fields.ts";
import { EntryMatcher } from "./matcher.ts";

/** Runs that are being matched at a time: readers stand at few places. Of more, the oldest begins anew. */
const UNDER_WAY_MAX = 8;

/** All filters that are in use, each once. */
export class SharedMatchers {
  readonly #matchers = new Map<string, SharedMatcher>();

  /** How many different filters are in use. */
  get count(): number {
    return this.#matchers.size;
  }

  /** A filter for one reader; `leave` gives it back. */
  join(terms: readonly FilterTerm[]): SharedFilter {
    const key = filterKey(terms);
    let matcher = this.#matchers.get(key);
    if (matcher === undefined) {
      matcher = new SharedMatcher(key, terms);
      this.#matchers.set(key, matcher);
    }
    matcher.users++;
    return new SharedFilter(matcher);
  }

  /** The reader has gone. */
  leave(filter: SharedFilter): void {
    const { matcher } = filter;
    matcher.users--;
    if (matcher.users === 0) this.#matchers.delete(matcher.key);
  }
}

/** The filter of one reader. */
export class SharedFilter implements FrameFilter {
  readonly matcher: SharedMatcher;
  /** For what is not shared; gone at the head, where a reader costs next to nothing. */
  #own: EntryMatcher | undefined = undefined;

  constructor(matcher: SharedMatcher) {
    this.matcher = matcher;
  }

  matches(bytes: Uint8Array, start: number, end: number): boolean | undefined {
    return this.#privately().matches(bytes, start, end);
  }

  candidate(bytes: Uint8Array, starts: Uint32Array, from: number, to: number): number | undefined {
    return this.#privately().candidate(bytes, starts, from, to);
  }

  selectShared(run: EntryRun, isLate: () => boolean): Selection | undefined {
    this.#own = undefined;
    return this.matcher.select(run, isLate);
  }

  sequenceOf(bytes: Uint8Array, start: number, end: number): number {
    return sequenceOf(bytes, start, end);
  }

  #privately(): EntryMatcher {
    return (this.#own ??= new EntryMatcher(this.matcher.terms));
  }
}

/** What was found so far in a run. */
interface Progress {
  /** It may be in the middle of an entry. */
  readonly matcher: EntryMatcher;
  readonly pieces: Uint8Array[];
  next: number;
  count: number;
}

class SharedMatcher {
  readonly key: string;
  readonly terms: readonly FilterTerm[];
  users = 0;
  readonly #done = new WeakMap<EntryRun, Selection>();
  readonly #underWay = new Map<EntryRun, Progress>();
  /** One that is in no entry. */
  #idle: EntryMatcher | undefined = undefined;

  constructor(key: string, terms: readonly FilterTerm[]) {
    this.key = key;
    this.terms = terms;
  }

  /** What of a run matches; undefined when it grew late before that was known. */
  select(run: EntryRun, isLate: () => boolean): Selection | undefined {
    const done = this.#done.get(run);
    if (done !== undefined) return done;
    const progress = this.#underWay.get(run) ?? this.#begin(run);
    const { matcher, pieces, next: from } = progress;
    const selection = selectFrames(run, matcher, { from, countMax: Number.POSITIVE_INFINITY, isLate });
    progress.next = selection.next;
    progress.count += selection.count;
    if (selection.bytes.length > 0) pieces.push(selection.bytes);
    if (progress.next < run.count) return undefined;
    this.#underWay.delete(run);
    this.#idle = matcher;
    const bytes = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    const whole = { next: run.count, count: progress.count, bytes };
    this.#done.set(run, whole);
    return whole;
  }

  #begin(run: EntryRun): Progress {
    const matcher = this.#idle ?? new EntryMatcher(this.terms);
    this.#idle = undefined;
    const progress = { matcher, pieces: [], next: 0, count: 0 };
    this.#underWay.set(run, progress);
    if (this.#underWay.size > UNDER_WAY_MAX) {
      const [oldest] = this.#underWay.keys();
      this.#underWay.delete(oldest!);
    }
    return progress;
  }
}
