// Entries of a request that names no log, to the logs that the routes name: by application, entry by entry.
//
// O1. Which log an entry goes to depends on its application and the routes alone, so a retry goes the same way.
// O2. Each log is a log of its own: it has its own producers, so a request of which a crash left one half in one log and
//     nothing in the other is completed by its retry. What a log has of it counts as duplicates, the rest is appended.
// O3. Entries of one log keep their order. A slice goes to its logs one after the other.
// O4. A log that takes nothing now refuses the slice before any part of it is appended anywhere.
import type { Authorize, Subject } from "../security/authorize.ts";
import { nextTurn } from "../stream/turn.ts";
import { BytesTable } from "./bytes-table.ts";
import { matchesGlob } from "../stream/glob.ts";
import type { AppendOptions, Ingest, Numbering, Slice, SliceOutcome, WriteTarget } from "./ingest.ts";
import { endOfSlice } from "./ingest.ts";
import type { EntrySpans } from "./write-request.ts";
import { WireReader } from "../stream/wire.ts";

/** Entries of applications that match go to a log. */
export interface Route {
  /** See `matchesGlob`. */
  readonly applications: string;
  readonly log: string;
}

/** Tag of LogEntry.application. */
const APPLICATION_TAG = (3 << 3) | 2;

/** Knows the way of every application; one for all writers. */
export class Router {
  /** The default log first. */
  readonly #ingests: readonly Ingest[];
  /** Application → place in `#ingests`. */
  readonly #ways: BytesTable;
  readonly #wire = new WireReader();

  /** @param logs where no route leads, and where routes lead. The first route that matches holds. */
  constructor(routes: readonly Route[], logs: { readonly otherwise: Ingest; find(log: string): Ingest }) {
    const ingests = [...new Set([logs.otherwise, ...routes.map((route) => logs.find(route.log))])];
    this.#ingests = ingests;
    this.#ways = new BytesTable((application) => {
      const route = routes.find((each) => matchesGlob(each.applications, application));
      return route === undefined ? 0 : ingests.indexOf(logs.find(route.log));
    });
  }

  /** The routes as one caller may go them. @throws by `authorize`, when an entry leads to a log that is not for the caller */
  targetFor(subject: Subject, authorize: Authorize): WriteTarget {
    const allowed = new Set<Ingest>();
    const open = (ingest: Ingest): void => {
      if (allowed.has(ingest)) return;
      authorize(subject, "write", { type: "log", name: ingest.log });
      allowed.add(ingest);
    };
    return { append: (spans, numbering, options) => this.#append(spans, numbering, { ...options, open }) };
  }

  async *#append(
    spans: EntrySpans,
    numbering: Numbering | undefined,
    { atBound, open }: AppendOptions & { readonly open: (ingest: Ingest) => void },
  ): AsyncGenerator<SliceOutcome> {
    for (let from = 0; from < spans.starts.length;) {
      const to = endOfSlice(spans, from);
      if (from > 0) await nextTurn();
      const parts = this.#split({ spans, from, to });
      for (const { ingest, slice } of parts) {
        open(ingest);
        if (from === 0 && atBound === "refuse") ingest.assertRoom(slice, numbering);
        else ingest.assertWritable(slice, numbering); // O4
      }
      const outcomes: SliceOutcome[] = [];
      for (const { ingest, slice } of parts) outcomes.push(await ingest.take(slice, numbering));
      if (numbering !== undefined) {
        for (const ingest of this.#ingests) {
          if (parts.every((part) => part.ingest !== ingest)) ingest.pass({ spans, from, to }, numbering);
        }
      }
      yield merge(outcomes);
      from = to;
    }
  }

  /** The parts of a slice, one for each log that has any. */
  #split(slice: Slice): { ingest: Ingest; slice: Slice }[] {
    const { spans, from, to } = slice;
    const places = new Map<number, number[]>();
    for (let i = from; i < to; i++) {
      const way = this.#wayOf(spans, i);
      const found = places.get(way);
      if (found === undefined) places.set(way, [i]);
      else found.push(i);
    }
    if (places.size === 1) {
      const [way = 0] = places.keys();
      return [{ ingest: this.#ingests[way]!, slice }];
    }
    return Array.from(places, ([way, list]) => ({ ingest: this.#ingests[way]!, slice: { ...slice, places: list } }));
  }

  /** What is no message goes where the empty application goes, and is rejected there. */
  #wayOf(spans: EntrySpans, i: number): number {
    const wire = this.#wire;
    let start = 0;
    let end = 0;
    wire.open(spans.bytes, spans.starts[i]!, spans.ends[i]!);
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag !== APPLICATION_TAG) {
        wire.skip(tag);
        continue;
      }
      end = wire.span();
      start = wire.pos;
      wire.pos = end;
    }
    return wire.hasFailed ? this.#ways.get(spans.bytes, 0, 0) : this.#ways.get(spans.bytes, start, end);
  }
}

/** What became of all parts of a slice: the last entry is the last of the request, whichever log it is in. */
function merge(parts: readonly SliceOutcome[]): SliceOutcome {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  const durable = Promise.all(parts.map((part) => part.durable));
  durable.catch(() => undefined);
  const last = parts.reduce((found, part) => (part.lastPlace > found.lastPlace ? part : found));
  return {
    ...last,
    count: parts.reduce((sum, part) => sum + part.count, 0),
    accepted: parts.reduce((sum, part) => sum + part.accepted, 0),
    duplicates: parts.reduce((sum, part) => sum + part.duplicates, 0),
    rejected: parts.flatMap((part) => part.rejected).toSorted((a, b) => a.index - b.index),
    durable,
  };
}
