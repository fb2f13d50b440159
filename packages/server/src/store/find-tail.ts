// Where the last n matching entries begin: walks the index backwards, reads no frames.
import type { LogCore } from "./log-core.ts";
import type { PageTable } from "./page-table.ts";
import type { QueryPlan } from "./query.ts";
import type { Segment } from "./segment.ts";
import type { Columns } from "./columns.ts";
import { IndexReplaced } from "./segment.ts";

/** Pages whose columns are looked at together: 17 KB each on disk. */
const PAGES_AT_ONCE = 8;

/** The sequence before the `count`-th matching entry, counted back from `before` (exclusive); before the first one when
 * there are fewer. */
export async function findTail(core: LogCore, count: number, before: number, plan: QueryPlan): Promise<number> {
  let end = Math.min(before, core.headSequence + 1);
  let left = count;
  while (left > 0 && end > core.chain.first) {
    const segment = core.chain.find(end - 1);
    const found = await countOne(core, segment, plan, { left, end });
    left = found.left;
    end = found.end;
  }
  return Math.max(end, core.chain.first) - 1;
}

async function countOne(core: LogCore, segment: Segment, plan: QueryPlan, { left, end }: Counted): Promise<Counted> {
  if (plan.marks !== undefined && (await segment.lacks(plan.marks))) return { left, end: segment.first };
  return plan.isOpen ? skipAll(segment, left, end) : await countIn(core, segment, plan, { left, end });
}

interface Counted {
  readonly left: number;
  /** Everything from here on was counted. */
  readonly end: number;
}

/** Without a query every entry matches; those of a hole behind the segment are not there. */
function skipAll(segment: Segment, count: number, end: number): Counted {
  const entriesEnd = Math.min(end, segment.last + 1);
  const taken = Math.min(count, entriesEnd - segment.first);
  return { left: count - taken, end: entriesEnd - taken };
}

/** Counts again when the index was replaced meanwhile; not at all when retention took the segment. */
async function countIn(core: LogCore, segment: Segment, plan: QueryPlan, before: Counted): Promise<Counted> {
  for (;;) {
    try {
      return await countBack(segment, plan, before.left, before.end);
    } catch (error) {
      if (segment.first < core.chain.first) return { left: before.left, end: core.chain.first };
      if (!(error instanceof IndexReplaced)) throw error;
    }
  }
}

async function countBack(segment: Segment, plan: QueryPlan, count: number, end: number): Promise<Counted> {
  if (segment.whole !== undefined && !segment.whole.mayMatch(0, plan)) return { left: count, end: segment.first };
  const table = await segment.table();
  let left = count;
  // What was appended while the table was read is behind `end`.
  let entryEnd = Math.min(end - segment.first, segment.entries);
  while (entryEnd > 0) {
    const page = table.find(entryEnd - 1);
    const from = firstOfGroup(table, page, plan);
    if (from > page) {
      entryEnd = table.firstEntry(page);
      continue;
    }
    const firstEntry = table.firstEntry(from);
    const columns = await segment.columns(table, from, page + 1);
    const found = countColumns(columns, plan, left, entryEnd - firstEntry);
    if (found.left === 0) return { left: 0, end: segment.first + firstEntry + found.end };
    left = found.left;
    entryEnd = firstEntry;
  }
  return { left, end: segment.first };
}

/** The first of up to PAGES_AT_ONCE pages that end with `page` and may match; page + 1 when that one cannot. */
function firstOfGroup(table: PageTable, page: number, plan: QueryPlan): number {
  let from = page + 1;
  while (from > 0 && page + 1 - from < PAGES_AT_ONCE && table.mayMatch(from - 1, plan)) from--;
  return from;
}

function countColumns(columns: Columns, plan: QueryPlan, count: number, end: number): Counted {
  let left = count;
  for (let i = end - 1; i >= 0; i--) {
    if (!plan.matches(columns, i)) continue;
    left--;
    if (left === 0) return { left, end: i };
  }
  return { left, end: 0 };
}
