// Controls of an inbox: what happened to what is in it.
import type { InboxEvent, ItemState } from "./contract.ts";
import { controlFrame, REMOVAL_REASONS } from "./item-frames.ts";

type EventOf<K extends InboxEvent["kind"]> = Extract<InboxEvent, { kind: K }>;

/** As NotificationState has it. */
function stateMessage({ snoozedUntilMs, revision, ...flags }: ItemState) {
  return { ...flags, snoozedUntil: BigInt(snoozedUntilMs) * 1_000_000n, revision: BigInt(revision) };
}

/** Those with the same state share a frame. The last one alone has the cursor: behind all of them. */
export function framesOfState({ changes }: EventOf<"state">, cursor: string): Uint8Array[] {
  const groups = new Map<string, { ids: string[]; state: ItemState }>();
  for (const { id, state } of changes) {
    const key = JSON.stringify(state);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { ids: [String(id)], state });
    else group.ids.push(String(id));
  }
  return [...groups.values()].map(({ ids, state }, i) => {
    const value = { ids, state: stateMessage(state), cursor: i === groups.size - 1 ? cursor : "" };
    return controlFrame({ case: "stateChange", value });
  });
}

export function frameOfThrough(
  { seen, read, archived }: EventOf<"through">,
  { throughCursor, cursor }: { readonly throughCursor: string; readonly cursor: string },
): Uint8Array {
  return controlFrame({ case: "stateChange", value: { throughCursor, state: { seen, read, archived }, cursor } });
}

export function frameOfRemoval({ reason, ids, count, replacedBy }: EventOf<"removal">, cursor: string): Uint8Array {
  const value = {
    reason: REMOVAL_REASONS[reason],
    ids: ids.map(String),
    count: BigInt(count),
    replacedBy: replacedBy === 0 ? "" : String(replacedBy),
    cursor,
  };
  return controlFrame({ case: "removal", value });
}
