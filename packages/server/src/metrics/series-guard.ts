// How many series somebody may have, and which label it is that makes too many.
//
// G1. A subject's series are counted from when they come until they go; known ones are never refused. Without authentication
//     everybody is one subject.
// G2. What a refusal says is found out once in a while: an explosion asks a million times.
import type { Clock } from "../store/contract.ts";
import type { Rejection } from "./intake.ts";
import type { Series, SeriesTable } from "./series.ts";

export interface SeriesGuardOptions {
  readonly table: SeriesTable;
  readonly clock: Clock;
  readonly perSubjectMax: number;
}

/** G2. */
const EXPLAINED_MS = 1000;
const EXPLAINED_NAMES_MAX = 1000;
/** Series of a name that are looked at: those that are too many look alike. */
const SAMPLE = 2000;
/** A label with fewer values makes no series too many. */
const VALUES_MIN = 3;

export class SeriesGuard implements Disposable {
  readonly #options: SeriesGuardOptions;
  readonly #counts = new Map<string, number>();
  readonly #explained = new Map<string, { readonly text: string; readonly atMs: number }>();
  readonly #listening: Disposable;

  constructor(options: SeriesGuardOptions) {
    this.#options = options;
    const count = ({ family: { owner } }: Series, more: number): void => {
      if (owner === undefined) return;
      const sum = (this.#counts.get(owner) ?? 0) + more;
      if (sum > 0) this.#counts.set(owner, sum);
      else this.#counts.delete(owner);
    };
    // Those that the history has brought back are there before anybody writes.
    for (const series of options.table.all()) count(series, 1);
    this.#listening = options.table.listen({
      onAdded: (series) => count(series, 1),
      onRemoved: (series) => count(series, -1),
    });
  }

  /** Series of a subject. */
  countOf(subject: string): number {
    return this.#counts.get(subject) ?? 0;
  }

  /** Why this cannot become a series of `owner`; undefined: it can, or is one. No error: an explosion makes a million. */
  findRefusal(owner: string | undefined, key: string, name: string): Rejection | undefined {
    const { perSubjectMax, table } = this.#options;
    if (owner === undefined || this.countOf(owner) < perSubjectMax || table.find(key) !== undefined) return undefined;
    const message = `Cannot take a new series of "${name}": the subject "${owner}" has ${perSubjectMax} series, its limit; use labels with fewer values`;
    return { reason: "limit", message };
  }

  /** A refusal, with the label that has the most values among the series of this name. */
  explain(name: string, refusal: string): string {
    const nowMs = this.#options.clock.monotonicMs();
    let explained = this.#explained.get(name);
    if (explained === undefined || nowMs - explained.atMs >= EXPLAINED_MS) {
      if (this.#explained.size === EXPLAINED_NAMES_MAX) this.#explained.clear();
      explained = { text: this.#explosionOf(name), atMs: nowMs };
      this.#explained.set(name, explained);
    }
    return `${refusal}${explained.text}`;
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }

  #explosionOf(name: string): string {
    const values = new Map<string, Set<string>>();
    let looked = 0;
    for (const { description } of this.#options.table.named(name)) {
      if (looked++ === SAMPLE) break;
      for (const [label, value] of description.labels) {
        const of = values.get(label);
        if (of === undefined) values.set(label, new Set([value]));
        else of.add(value);
      }
    }
    const [worst] = [...values].toSorted(([, a], [, b]) => b.size - a.size);
    if (worst === undefined || worst[1].size < VALUES_MIN) return "";
    const many = looked > SAMPLE ? `${worst[1].size} in ${SAMPLE} series` : `${worst[1].size}`;
    return `; its label "${worst[0]}" has the most values: ${many}`;
  }
}
