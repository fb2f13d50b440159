// Policies of inboxes: what they may say, and when a user wants quiet.
import { Overflow, type Policy, type QuietHours } from "@sluice/api";
import { type FieldViolation, InvalidRequest } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { PRIORITIES } from "./cursor.ts";
import { checkPriority } from "./requests.ts";

const TIME = /^([01]\d|2[0-3]):([0-5]\d)$/;
const TTL_MS_MAX = 3650n * 24n * 3600n * 1000n;
const OVERFLOWS = new Set<number>(Object.values(Overflow));
const DEFAULT_BREAKING_PRIORITY = 7;

/** @throws InvalidRequest with all that is wrong */
export function checkPolicy(policy: Policy, limits: Limits): Policy {
  const violations: FieldViolation[] = [];
  const { maxItems, maxBytes, ttlMsByPriority, overflow, quietHours } = policy;
  if (maxItems > limits.inboxItemsMax) {
    const description = `${maxItems} is more than the server's limit, ${limits.inboxItemsMax}`;
    violations.push({ field: "policy.max_items", description });
  }
  if (maxBytes > BigInt(limits.inboxBytesMax)) {
    const description = `${maxBytes} is more than the server's limit, ${limits.inboxBytesMax}`;
    violations.push({ field: "policy.max_bytes", description });
  }
  if (ttlMsByPriority.length > PRIORITIES) {
    const description = `has ${ttlMsByPriority.length} times, there are ${PRIORITIES} priorities`;
    violations.push({ field: "policy.ttl_ms_by_priority", description });
  }
  for (const [i, ttlMs] of ttlMsByPriority.entries()) {
    if (ttlMs >= 0n && ttlMs <= TTL_MS_MAX) continue;
    const description = `${ttlMs} is not from 0 to ${TTL_MS_MAX}`;
    violations.push({ field: `policy.ttl_ms_by_priority[${i}]`, description });
  }
  if (!OVERFLOWS.has(overflow)) {
    violations.push({ field: "policy.overflow", description: `${overflow} is no way to go on` });
  }
  if (quietHours !== undefined) checkQuietHours(quietHours, violations);
  if (violations.length > 0) throw new InvalidRequest("BAD_POLICY", violations);
  return policy;
}

function checkQuietHours({ timeZone, start, end, breakingPriority }: QuietHours, violations: FieldViolation[]): void {
  const field = "policy.quiet_hours";
  if (timeZone !== "" && !isTimeZone(timeZone)) {
    violations.push({ field: `${field}.time_zone`, description: `"${timeZone.slice(0, 64)}" is no IANA time zone` });
  }
  for (const [name, time] of [
    ["start", start],
    ["end", end],
  ] as const) {
    if (timeZone === "" || TIME.test(time)) continue;
    violations.push({ field: `${field}.${name}`, description: `"${time.slice(0, 64)}" is no time as "22:30"` });
  }
  if (timeZone !== "" && start === end) {
    violations.push({ field: `${field}.end`, description: "is the same as start" });
  }
  checkPriority(breakingPriority, `${field}.breaking_priority`, violations);
}

function isTimeZone(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    return true;
  } catch {
    return false;
  }
}

/** Reads clocks on the wall, in any time zone. */
export class QuietClock {
  /** Making one costs a tenth of a millisecond; there are some 600 time zones. */
  readonly #formats = new Map<string, Intl.DateTimeFormat>();

  /** Whether a notification that was delivered then is to make no sound. @param atMs Unix ms */
  isQuiet(hours: QuietHours | undefined, atMs: number, priority: number): boolean {
    if (hours === undefined || hours.timeZone === "") return false;
    if (priority >= (hours.breakingPriority || DEFAULT_BREAKING_PRIORITY)) return false;
    const now = this.#minutesAt(hours.timeZone, atMs);
    const [start, end] = [minutesOf(hours.start), minutesOf(hours.end)];
    return start < end ? now >= start && now < end : now >= start || now < end;
  }

  #minutesAt(timeZone: string, atMs: number): number {
    let format = this.#formats.get(timeZone);
    if (format === undefined) {
      format = new Intl.DateTimeFormat("en-GB", { timeZone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
      this.#formats.set(timeZone, format);
    }
    return minutesOf(format.format(atMs));
  }
}

/** "22:30" is 1350. */
function minutesOf(time: string): number {
  const [, hours, minutes] = TIME.exec(time) ?? [];
  return Number(hours) * 60 + Number(minutes);
}
