// The reading side of a log: needs the chain of segments, the tail and the head, and nothing of the writer.
import type { CountOptions, CountRow, LabelStatistics, LogReader, Position, Scan, ScanQuery } from "./contract.ts";
import type { LogCore } from "./log-core.ts";
import { countEntries } from "./count.ts";
import { findTail } from "./find-tail.ts";
import { LabelRows } from "./labels.ts";
import { QueryPlan } from "./query.ts";
import { LogScan } from "./scan.ts";

export class EmbeddedReader implements LogReader {
  readonly #core: LogCore;
  /** For all who ask for everything. */
  readonly #openPlan: QueryPlan;

  constructor(core: LogCore) {
    this.#core = core;
    this.#openPlan = new QueryPlan(undefined, core.labels);
  }

  get name(): string {
    return this.#core.name;
  }

  get head(): Position {
    return this.#core.head;
  }

  get first(): number {
    return this.#core.chain.first;
  }

  get epochs(): readonly Position[] {
    return this.#core.epochs;
  }

  labelName(id: number): string {
    return this.#core.labels.name(id);
  }

  findLabel(name: string): number | undefined {
    return this.#core.labels.find(name);
  }

  labels(): LabelStatistics[] {
    const rows = new LabelRows();
    for (const segment of this.#core.chain.all) rows.addAll(segment.rows);
    return rows.statistics(this.#core.labels);
  }

  scan(after: number, query?: ScanQuery): Scan {
    return new LogScan(this.#core, after, this.#plan(query));
  }

  count(query: ScanQuery, options: CountOptions): Promise<CountRow[]> {
    return countEntries(this.#core, this.#plan(query), options);
  }

  findTail(count: number, before: number, query?: ScanQuery): Promise<number> {
    return findTail(this.#core, count, before, this.#plan(query));
  }

  onHead(listener: () => void): () => void {
    return this.#core.onHead(listener);
  }

  #plan(query: ScanQuery | undefined): QueryPlan {
    return query === undefined ? this.#openPlan : new QueryPlan(query, this.#core.labels);
  }
}
