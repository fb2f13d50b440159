// Deadlines: the `grpc-timeout` field, and one coarse timer for any number of calls.
//
// A call with a deadline costs two list operations, not a timer of the event loop. A deadline fires at most one slot
// (8 ms) late and never early. It may lie any time ahead: what is due beyond the wheel's horizon goes round again.

import type { Clock, ClockTimer } from "../clock.ts";

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
const TIMEOUT_DIGITS_MAX = 8;

/** Reads `grpc-timeout`: one to eight digits and a unit. Returns ms, or undefined when it is malformed. */
export function parseTimeout(text: string): number | undefined {
  const digits = text.length - 1;
  if (digits < 1 || digits > TIMEOUT_DIGITS_MAX) return undefined;
  let value = 0;
  for (let at = 0; at < digits; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  const unit = UNIT_MS[text.charAt(digits)];
  return unit === undefined ? undefined : value * unit;
}

/** Writes `grpc-timeout` in the finest unit that eight digits allow, rounded up. */
export function formatTimeout(ms: number): string {
  if (ms <= 0) return "0m";
  const max = 10 ** TIMEOUT_DIGITS_MAX - 1;
  if (ms < 1) return `${Math.min(Math.ceil(ms * 1e6), max)}n`;
  for (const unit of ["m", "S", "M"] as const) {
    const value = Math.ceil(ms / (UNIT_MS[unit] ?? 1));
    if (value <= max) return `${value}${unit}`;
  }
  return `${Math.min(Math.ceil(ms / 3_600_000), max)}H`;
}

const SLOT_MS = 8;
const SLOTS = 512;

/** What a wheel calls when the time has come. */
export interface DeadlineOwner {
  onDeadline(): void;
}

/** An armed deadline: a link in a slot's list. */
export class Deadline {
  readonly dueMs: number;
  readonly owner: DeadlineOwner;
  slot: number;
  previous: Deadline | undefined = undefined;
  next: Deadline | undefined = undefined;
  isArmed = true;

  constructor(dueMs: number, owner: DeadlineOwner, slot: number) {
    this.dueMs = dueMs;
    this.owner = owner;
    this.slot = slot;
  }
}

/** A hashed timing wheel (Varghese and Lauck, 1987) on one timer, which is armed only while there is something to wait for. */
export class DeadlineWheel {
  /** Armed deadlines. */
  size = 0;
  readonly #clock: Clock;
  readonly #slots: (Deadline | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  #timer: ClockTimer | undefined;
  /** The tick that the timer is armed for. */
  #armedTick = 0;
  /** All ticks up to here have been looked at. */
  #doneTick = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get nowMs(): number {
    return this.#clock.monotonicMs();
  }

  /** Arms a deadline at `dueMs` of the clock. @param nowMs the clock's time, when the caller has just read it */
  add(dueMs: number, owner: DeadlineOwner, nowMs = this.#clock.monotonicMs()): Deadline {
    if (this.size === 0) this.#doneTick = Math.floor(nowMs / SLOT_MS);
    const tick = Math.max(Math.ceil(dueMs / SLOT_MS), this.#doneTick + 1);
    const slot = tick % SLOTS;
    const deadline = new Deadline(dueMs, owner, slot);
    const first = this.#slots[slot];
    deadline.next = first;
    if (first !== undefined) first.previous = deadline;
    this.#slots[slot] = deadline;
    this.size++;
    if (this.#timer === undefined || tick < this.#armedTick) this.#arm(Math.min(tick, this.#doneTick + SLOTS), nowMs);
    return deadline;
  }

  /** Disarms; does nothing when it has fired. The timer stays as it is: at worst it wakes up once for nothing. */
  remove(deadline: Deadline): void {
    if (!deadline.isArmed) return;
    deadline.isArmed = false;
    this.size--;
    const { previous, next } = deadline;
    if (previous === undefined) this.#slots[deadline.slot] = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
  }

  #arm(tick: number, nowMs: number): void {
    this.#timer?.cancel();
    this.#armedTick = tick;
    this.#timer = this.#clock.setTimer(() => this.#onTimer(), Math.max(1, Math.ceil(tick * SLOT_MS - nowMs)));
  }

  #onTimer(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonicMs();
    const nowTick = Math.floor(nowMs / SLOT_MS);
    const due: Deadline[] = [];
    const firstTick = Math.max(this.#doneTick + 1, nowTick - SLOTS + 1);
    for (let tick = firstTick; tick <= nowTick; tick++) {
      for (let each = this.#slots[tick % SLOTS]; each !== undefined; each = each.next) {
        if (each.dueMs <= nowMs) due.push(each);
      }
    }
    this.#doneTick = Math.max(this.#doneTick, nowTick);
    for (const each of due) {
      // An earlier one of this round may have disarmed it.
      if (!each.isArmed) continue;
      this.remove(each);
      each.owner.onDeadline();
    }
    if (this.size > 0 && this.#timer === undefined) this.#arm(this.#nextTick(), nowMs);
  }

  /** The next slot that holds anything; at most one revolution ahead. */
  #nextTick(): number {
    for (let tick = this.#doneTick + 1; tick < this.#doneTick + SLOTS; tick++) {
      if (this.#slots[tick % SLOTS] !== undefined) return tick;
    }
    return this.#doneTick + SLOTS;
  }
}
