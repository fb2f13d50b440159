import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Clock } from "../clock.ts";
import { DeadlineWheel, formatTimeout, parseTimeout, type Deadline } from "./deadline.ts";

describe("grpc-timeout", () => {
  test.each([
    ["0n", 0],
    ["1n", 1e-6],
    ["1u", 1e-3],
    ["1m", 1],
    ["1S", 1000],
    ["1M", 60_000],
    ["99999999H", 359_999_996_400_000],
  ])("%s is %d ms", (text, ms) => {
    expect(parseTimeout(text)).toBeCloseTo(ms, 9);
  });

  test.each(["", "1", "S", "1s", "1h", "123456789S", "-1S", "1.0S", "1 S", "0x1S", "1e3S", "１S"])(
    "%j is malformed",
    (text) => {
      expect(parseTimeout(text)).toBeUndefined();
    },
  );

  test("what is written is read as the same or a little more, never less", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 3e14, noNaN: true }), (ms) => {
        const text = formatTimeout(ms);
        expect(text).toMatch(/^\d{1,8}[HMSmun]$/);
        const back = parseTimeout(text) ?? Number.NaN;
        expect(back).toBeGreaterThanOrEqual(ms * (1 - 1e-12));
        // Milliseconds are fine enough below a day, seconds below three years.
        expect(back - ms).toBeLessThanOrEqual(Math.max(1, ms * 1.1e-2));
      }),
    );
  });

  test("no time left is no time", () => {
    expect([formatTimeout(0), formatTimeout(-5)]).toEqual(["0m", "0m"]);
  });
});

/** Time that a test moves, with one timer, as a wheel needs it. */
class Stage implements Clock {
  nowMs = 12_345.678;
  timer: { dueMs: number; callback: () => void } | undefined;
  timersSet = 0;

  monotonicMs(): number {
    return this.nowMs;
  }

  setTimer(callback: () => void, ms: number) {
    const timer = { dueMs: this.nowMs + ms, callback };
    this.timer = timer;
    this.timersSet++;
    return {
      cancel: () => {
        if (this.timer === timer) this.timer = undefined;
      },
    };
  }

  runUntil(endMs: number): void {
    while (this.timer !== undefined && this.timer.dueMs <= endMs) {
      const { dueMs, callback } = this.timer;
      this.timer = undefined;
      this.nowMs = Math.max(this.nowMs, dueMs);
      callback();
    }
    this.nowMs = Math.max(this.nowMs, endMs);
  }
}

describe("DeadlineWheel", () => {
  test("every deadline fires once, never early, at most a slot late, unless it was removed", () => {
    const plan = fc.array(
      fc.record({ afterMs: fc.double({ min: -5, max: 20_000, noNaN: true }), isRemoved: fc.boolean() }),
      {
        maxLength: 100,
      },
    );
    fc.assert(
      fc.property(plan, (deadlines) => {
        const stage = new Stage();
        const wheel = new DeadlineWheel(stage);
        const fired: number[] = deadlines.map(() => 0);
        const armed: Deadline[] = deadlines.map(({ afterMs }, at) => {
          const dueMs = stage.nowMs + afterMs;
          return wheel.add(dueMs, {
            onDeadline() {
              fired[at] = (fired[at] ?? 0) + 1;
              expect(stage.nowMs).toBeGreaterThanOrEqual(dueMs);
              expect(stage.nowMs).toBeLessThanOrEqual(Math.max(dueMs, 12_345.678) + 17);
            },
          });
        });
        deadlines.forEach(({ isRemoved }, at) => {
          const each = armed[at];
          if (isRemoved && each !== undefined) wheel.remove(each);
        });
        stage.runUntil(stage.nowMs + 30_000);
        expect(fired).toEqual(deadlines.map(({ isRemoved }) => (isRemoved ? 0 : 1)));
        expect(wheel.size).toBe(0);
        expect(stage.timer).toBeUndefined();
      }),
    );
  });

  test("deadlines that come and go need no timer each", () => {
    const stage = new Stage();
    const wheel = new DeadlineWheel(stage);
    for (let call = 0; call < 10_000; call++) {
      stage.runUntil(stage.nowMs + 0.01);
      wheel.remove(wheel.add(stage.nowMs + 1000, { onDeadline: () => expect.unreachable() }));
    }
    expect(stage.timersSet).toBeLessThan(5);
  });

  test("an earlier deadline than the one waited for brings the timer forward", () => {
    const stage = new Stage();
    const wheel = new DeadlineWheel(stage);
    const order: string[] = [];
    wheel.add(stage.nowMs + 2000, { onDeadline: () => order.push("late") });
    wheel.add(stage.nowMs + 100, { onDeadline: () => order.push("early") });
    stage.runUntil(stage.nowMs + 120);
    expect(order).toEqual(["early"]);
    stage.runUntil(stage.nowMs + 3000);
    expect(order).toEqual(["early", "late"]);
  });

  test("one that fires may remove another that is due, and add a new one", () => {
    const stage = new Stage();
    const wheel = new DeadlineWheel(stage);
    const order: string[] = [];
    const dueMs = stage.nowMs + 100;
    const others: Deadline[] = [];
    const first = {
      onDeadline() {
        order.push("first");
        for (const other of others) wheel.remove(other);
        wheel.add(stage.nowMs + 50, { onDeadline: () => order.push("new") });
      },
    };
    others.push(wheel.add(dueMs, { onDeadline: () => order.push("removed") }));
    // Added last, so it is first in its slot.
    wheel.add(dueMs, first);
    stage.runUntil(stage.nowMs + 500);
    expect(order).toEqual(["first", "new"]);
  });

  test("a process that slept wakes up to all that is due", () => {
    const stage = new Stage();
    const wheel = new DeadlineWheel(stage);
    let fired = 0;
    const owner = { onDeadline: () => fired++ };
    for (let at = 0; at < 100; at++) wheel.add(stage.nowMs + at * 100, owner);
    const timer = stage.timer;
    stage.nowMs += 1e7;
    timer?.callback();
    expect(fired).toBe(100);
  });
});
