// What the policy of a user says: their own, or the default; within the bounds of the server.
import type { Policy } from "@sluice/api";
import type { InboxState } from "./state.ts";

/** Of the server: what a policy may allow at most, and what it says when it says nothing. */
export interface InboxBounds {
  readonly inboxItemsMax: number;
  readonly inboxBytesMax: number;
  readonly sharedItemsMax: number;
  readonly sharedBytesMax: number;
}

export const OVERFLOW_REJECT = 2;
const BREAKING_PRIORITY = 7;
const MINUTES_OF_DAY = 24 * 60;

export function policyOf(state: InboxState, user: number): Policy | undefined {
  return state.users.extra(user)?.policy ?? state.defaultPolicy;
}

export function itemsMaxOf(policy: Policy | undefined, { inboxItemsMax }: InboxBounds): number {
  return Math.min(policy?.maxItems || inboxItemsMax, inboxItemsMax);
}

export function bytesMaxOf(policy: Policy | undefined, { inboxBytesMax }: InboxBounds): number {
  return Math.min(Number(policy?.maxBytes ?? 0n) || inboxBytesMax, inboxBytesMax);
}

/** Of a notification that has none of its own; 0: for ever. */
export function ttlMsOf(policy: Policy | undefined, priority: number): number {
  return Number(policy?.ttlMsByPriority[priority] ?? 0n);
}

/** Knows what time it is elsewhere. */
export class QuietHoursWatch {
  /** There are some 600 zones. */
  readonly #formats = new Map<string, Intl.DateTimeFormat>();

  /** Whether something of this priority, delivered at this time (Unix ms), makes no sound. */
  isSilent(policy: Policy | undefined, priority: number, atMs: number): boolean {
    const quiet = policy?.quietHours;
    if (quiet === undefined || quiet.timeZone === "") return false;
    if (priority >= (quiet.breakingPriority || BREAKING_PRIORITY)) return false;
    const minute = this.#minuteOfDay(quiet.timeZone, atMs);
    const start = minuteOf(quiet.start);
    const end = minuteOf(quiet.end);
    return start <= end ? start <= minute && minute < end : minute >= start || minute < end;
  }

  #minuteOfDay(timeZone: string, atMs: number): number {
    let format = this.#formats.get(timeZone);
    if (format === undefined) {
      format = new Intl.DateTimeFormat("en-GB", { timeZone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
      this.#formats.set(timeZone, format);
    }
    return minuteOf(format.format(atMs));
  }
}

/** Of "HH:MM". */
function minuteOf(time: string): number {
  return (Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5))) % MINUTES_OF_DAY;
}
