// The order in which jobs would be handed out if all of them went now: what PeekJobs and ExplainJob show. It plays the same
// rules as `order.ts` on a copy of what they read, and changes nothing.
//
// P1. The first `limit` jobs come from the `limit` keys that are first now: each handout only puts its key back.
import { FairKey, TOP_LEVEL, comesFirst } from "./fair-key.ts";
import { Heap } from "./heap.ts";
import { type JobTable, NONE } from "./job-table.ts";
import { type ReadyOrder, isServedBefore } from "./order.ts";

interface Player {
  readonly index: number;
  readonly weight: number;
  level: number;
  active: number;
  virtualTime: number;
  /** By priority: the next one of each line. */
  readonly lines: ({ readonly rest: Iterator<number>; next: number } | undefined)[];
}

/** At most `limit` jobs that may be handed out, in order. Nothing may change while it is read. */
export function* preview(
  order: ReadyOrder,
  table: JobTable,
  options: { readonly limit: number; readonly ageMs: number },
): Generator<number> {
  const { limit, ageMs } = options;
  const players = new Heap<Player>({
    before: (a, b) => (a.level !== b.level ? a.level > b.level : isServedBefore(a, b)),
    moved: () => undefined,
  });
  for (const key of order.inTurn().take(limit)) players.push(playerOf(key));
  let virtualTime = order.virtualTime;
  for (let count = 0; count < limit; count++) {
    const player = players.first;
    if (player === undefined) return;
    yield takeFirst(player, table, ageMs);
    virtualTime = Math.max(virtualTime, player.virtualTime);
    player.virtualTime = virtualTime + 1 / player.weight;
    player.active++;
    // Served just now: it has not risen since.
    player.level = player.lines.findLastIndex((line) => line !== undefined);
    if (player.level === NONE) players.remove(0);
    else players.update(0);
  }
}

function playerOf(key: FairKey): Player {
  const lines: Player["lines"] = [];
  for (let priority = 0; priority <= TOP_LEVEL; priority++) {
    const rest = key.line(priority)?.inOrder();
    const first = rest?.next();
    lines.push(rest === undefined || first?.done !== false ? undefined : { rest, next: first.value });
  }
  const { index, weight, level, active, virtualTime } = key;
  return { index, weight, level, active, virtualTime, lines };
}

/** As `FairKey.first`, and the line moves on. */
function takeFirst(player: Player, table: JobTable, ageMs: number): number {
  let from = NONE;
  for (let priority = TOP_LEVEL; priority >= 0; priority--) {
    const line = player.lines[priority];
    if (line === undefined) continue;
    if (from === NONE || comesFirst(table, { slot: line.next, than: player.lines[from]!.next, ageMs })) from = priority;
  }
  const line = player.lines[from]!;
  const slot = line.next;
  const next = line.rest.next();
  if (next.done === true) player.lines[from] = undefined;
  else line.next = next.value;
  return slot;
}
