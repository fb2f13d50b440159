// Consecutive entries in memory, with their columns: a piece of the tail, or of history as it was read from disk. Runs
// are cut out of it by reference.
//
// B1. Bytes and columns of entries below `count` never change (C3); only a tail's block grows behind them.
import type { EntryRun, Run } from "./contract.ts";
import type { Columns } from "./columns.ts";
import type { QueryPlan } from "./query.ts";
import { DAMAGED } from "./columns.ts";

/** Matching stretches shorter than this are copied side by side instead of being handed out one by one. */
const COMPACT_BELOW_BYTES = 4096;
const STRETCHES_MAX = 2048;

export interface Block {
  /** Sequence of the first entry. */
  readonly first: number;
  readonly count: number;
  /** The frames; `columns.starts` counts from here. */
  readonly bytes: Uint8Array;
  readonly columns: Columns;
  readonly hasDamage: boolean;
}

/** The index behind the last entry that fits into `maxBytes`, starting with `from`; at least one does. */
export function fit(columns: Columns, from: number, to: number, maxBytes: number): number {
  const { starts } = columns;
  const end = starts[from]! + maxBytes;
  if (starts[to]! <= end) return to;
  let low = from + 1;
  let high = to;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (starts[middle]! <= end) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The entries from..to as a run that shares the block's memory. */
export function cut(block: Block, from: number, to: number): EntryRun {
  const { starts } = block.columns;
  const base = starts[from]!;
  const count = to - from;
  const own = new Uint32Array(count + 1);
  for (let i = 0; i <= count; i++) {
    own[i] = starts[from + i]! - base;
  }
  return {
    kind: "entries",
    first: block.first + from,
    last: block.first + to - 1,
    count,
    bytes: block.bytes.subarray(base, starts[to]),
    starts: own,
  };
}

/**
 * The next run of from..to for a query: matching entries, or the damaged ones that come first. Undefined: nothing of
 * interest is there.
 */
export function nextRun(block: Block, plan: QueryPlan, from: number, to: number, maxBytes: number): Run | undefined {
  const { columns } = block;
  if (plan.isOpen && !block.hasDamage) return cut(block, from, fit(columns, from, to, maxBytes));
  const start = nextOfInterest(columns, plan, from, to);
  if (start === to) return undefined;
  if (columns.severities[start] === DAMAGED) return damagedRun(block, start, to);
  const limit = fit(columns, start, to, maxBytes);
  const end = stretchEnd(columns, plan, start, limit);
  const { starts } = columns;
  if (end === to || end === limit || starts[end]! - starts[start]! >= COMPACT_BELOW_BYTES)
    return cut(block, start, end);
  return gather(block, plan, start, end, to, maxBytes);
}

/** Whether all entries from..to match. */
export function allMatch(block: Block, plan: QueryPlan, from: number, to: number): boolean {
  return stretchEnd(block.columns, plan, from - 1, to) === to;
}

function damagedRun(block: Block, from: number, to: number): Run {
  let end = from;
  while (end < to && block.columns.severities[end] === DAMAGED) end++;
  return { kind: "gap", first: block.first + from, last: block.first + end - 1, reason: "corruption" };
}

/** The first entry of from..to that matches or is damaged; `to` when there is none. */
function nextOfInterest(columns: Columns, plan: QueryPlan, from: number, to: number): number {
  const { severities } = columns;
  for (let i = from; i < to; i++) {
    if (severities[i] === DAMAGED || plan.matches(columns, i)) return i;
  }
  return to;
}

/** The end of the stretch of matching entries that begins at `from`. */
function stretchEnd(columns: Columns, plan: QueryPlan, from: number, to: number): number {
  let end = from + 1;
  while (end < to && plan.matches(columns, end)) end++;
  return end;
}

/** Where matching stretches begin and end; used within one call only. */
const stretches = new Uint32Array(2 * STRETCHES_MAX);

/** Copies scattered stretches side by side; the first of them is start..end. Stops at `maxBytes` and before damage. */
function gather(block: Block, plan: QueryPlan, start: number, end: number, to: number, maxBytes: number): EntryRun {
  const { columns } = block;
  const { starts } = columns;
  let count = end - start;
  let bytes = starts[end]! - starts[start]!;
  let used = 1;
  stretches[0] = start;
  stretches[1] = end;
  let next = nextOfInterest(columns, plan, end, to);
  while (next < to && used < STRETCHES_MAX && columns.severities[next] !== DAMAGED) {
    const room = maxBytes - bytes;
    if (starts[next + 1]! - starts[next]! > room) break;
    const stop = stretchEnd(columns, plan, next, fit(columns, next, to, room));
    stretches[2 * used] = next;
    stretches[2 * used + 1] = stop;
    used++;
    count += stop - next;
    bytes += starts[stop]! - starts[next]!;
    next = nextOfInterest(columns, plan, stop, to);
  }
  return used === 1 ? cut(block, start, end) : compact(block, used, count, bytes);
}

function compact(block: Block, used: number, count: number, byteCount: number): EntryRun {
  const { starts } = block.columns;
  const bytes = new Uint8Array(byteCount);
  const own = new Uint32Array(count + 1);
  let at = 0;
  let entry = 0;
  for (let k = 0; k < used; k++) {
    const from = stretches[2 * k]!;
    const to = stretches[2 * k + 1]!;
    const base = starts[from]!;
    bytes.set(block.bytes.subarray(base, starts[to]), at);
    for (let i = from; i < to; i++) {
      own[entry++] = at + starts[i]! - base;
    }
    at += starts[to]! - base;
  }
  own[count] = at;
  const last = stretches[2 * used - 1]! - 1;
  return { kind: "entries", first: block.first + stretches[0]!, last: block.first + last, count, bytes, starts: own };
}
