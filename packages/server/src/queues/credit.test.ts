import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Credit, type FlowWindow, type LaneWindow, PRIORITIES } from "./credit.ts";

/** The same, slowly: a list of what is under way. */
class Model {
  flow: FlowWindow = { seen: 0, window: 0, windowBytes: 0 };
  lanes: readonly LaneWindow[] = [];
  seen = 0;
  readonly left: { priority: number; bytes: number }[] = [];
  readonly reserved: { priority: number; bytes: number }[] = [];

  get underWay(): { priority: number; bytes: number }[] {
    return [...this.left.slice(this.seen), ...this.reserved];
  }

  allows(priority: number, bytes: number): boolean {
    const after = [...this.underWay, { priority, bytes }];
    const { seen, window, windowBytes } = this.flow;
    // Of the window in terms of what is known to be seen now.
    const room = seen + window - this.seen;
    if (after.length > room) return false;
    const sum = after.reduce((total, each) => total + each.bytes, 0);
    if (windowBytes > 0 && after.length > 1 && sum > windowBytes) return false;
    for (let lane = priority + 1; lane < PRIORITIES; lane++) {
      const kept = this.lanes.reduce((total, each) => total + (each.minPriority >= lane ? each.window : 0), 0);
      if (kept > 0 && after.filter((each) => each.priority < lane).length > room - kept) return false;
    }
    return true;
  }
}

type Step =
  | { kind: "flow"; seenShare: number; window: number; windowBytes: number }
  | { kind: "lanes"; lanes: LaneWindow[] }
  | { kind: "hand"; priority: number; bytes: number }
  | { kind: "leave" }
  | { kind: "release"; share: number };

const share = fc.double({ min: 0, max: 1, noNaN: true });
const priority = fc.nat(PRIORITIES - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("flow" as const),
    seenShare: share,
    window: fc.nat(40),
    windowBytes: fc.oneof(fc.constant(0), fc.nat(3000)),
  }),
  fc.record({
    kind: fc.constant("lanes" as const),
    lanes: fc.array(fc.record({ minPriority: priority, window: fc.nat(6) }), { maxLength: 3 }),
  }),
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("hand" as const), priority, bytes: fc.nat(1000) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("leave" as const) }) },
  fc.record({ kind: fc.constant("release" as const), share }),
);

function play(steps: readonly Step[]): { credit: Credit; model: Model } {
  const credit = new Credit();
  const model = new Model();
  for (const each of steps) {
    switch (each.kind) {
      case "flow": {
        const seen = Math.round(each.seenShare * model.left.length);
        const flow = { seen, window: each.window, windowBytes: each.windowBytes };
        credit.setFlow(flow);
        credit.setFlow(flow); // CR2
        model.flow = flow;
        model.seen = Math.max(model.seen, seen); // CR5
        break;
      }
      case "lanes":
        credit.setLanes(each.lanes);
        model.lanes = each.lanes;
        break;
      case "hand": {
        const isAllowed = credit.of(each.priority, each.bytes) > 0;
        expect(isAllowed).toBe(model.allows(each.priority, each.bytes)); // CR1, CR4
        if (!isAllowed) break;
        credit.reserve(each.priority, each.bytes);
        model.reserved.push(each);
        break;
      }
      case "leave": {
        const first = model.reserved.shift();
        if (first === undefined) break;
        model.left.push(first);
        expect(credit.send(first.priority, first.bytes)).toBe(model.left.length);
        break;
      }
      case "release": {
        const [taken] = model.reserved.splice(Math.floor(each.share * model.reserved.length), 1);
        if (taken !== undefined) credit.release(taken.priority, taken.bytes); // CR6
        break;
      }
    }
    expect(credit.underWay).toBe(model.underWay.length);
    const { seen, window } = model.flow;
    expect(credit.total).toBe(Math.max(0, seen + window - model.left.length - model.reserved.length));
  }
  return { credit, model };
}

describe("credit", () => {
  test("is what a list of all that is under way says, whatever happens", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => void play(steps)),
      { numRuns: 300 },
    );
  });

  test("cannot wedge: who has seen all gets the whole window, in any size", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80 }),
        fc.integer({ min: 1, max: 50 }),
        fc.nat(5000),
        (steps, window, bytes) => {
          const { credit, model } = play(steps);
          for (const { priority: each, bytes: size } of model.reserved.splice(0)) credit.release(each, size);
          credit.setLanes([]);
          credit.setFlow({ seen: credit.sent, window, windowBytes: 1 });
          expect(credit.underWay).toBe(0);
          expect(credit.of(0, bytes)).toBe(window);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("a worker over a slow network never holds more than its slots, recalled ones aside, and in the end has them all", () => {
    const event = fc.oneof(
      { weight: 3, arbitrary: fc.constant("deliver" as const) },
      { weight: 4, arbitrary: fc.constant("arrive" as const) },
      { weight: 3, arbitrary: fc.constant("flow arrives" as const) },
      { weight: 2, arbitrary: fc.constant("finish" as const) },
      { weight: 1, arbitrary: fc.constant("recall" as const) },
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 150 }), fc.integer({ min: 1, max: 4 }), (events, slots) => {
        const credit = new Credit();
        const down: { kind: "delivery" | "recall"; job: number }[] = [];
        const up: FlowWindow[] = [];
        const buffer = new Set<number>();
        let seen = 0;
        let jobs = 0;
        const withWorker = new Set<number>();
        const sayFlow = () => up.push({ seen, window: slots - buffer.size, windowBytes: 0 });
        const take = {
          deliver() {
            if (credit.of(3, 1) === 0) return;
            credit.reserve(3, 1);
            const job = credit.send(3, 1);
            jobs++;
            withWorker.add(job);
            down.push({ kind: "delivery", job });
          },
          arrive() {
            const next = down.shift();
            if (next === undefined) return;
            if (next.kind === "delivery") {
              seen++;
              buffer.add(next.job);
              expect(buffer.size).toBeLessThanOrEqual(slots); // CR1, CR7
            } else buffer.delete(next.job);
            sayFlow();
          },
          "flow arrives"() {
            const flow = up.shift();
            if (flow !== undefined) credit.setFlow(flow);
          },
          finish() {
            const [job] = buffer;
            if (job === undefined) return;
            buffer.delete(job);
            withWorker.delete(job);
            sayFlow();
          },
          recall() {
            const [job] = withWorker;
            if (job === undefined) return;
            withWorker.delete(job);
            credit.takeBack(1);
            down.push({ kind: "recall", job });
          },
        };
        sayFlow();
        for (const each of events) take[each]();
        while (down.length > 0) take.arrive();
        while (buffer.size > 0) take.finish();
        while (up.length > 0) take["flow arrives"]();
        expect(credit.sent).toBe(jobs);
        expect(credit.of(3, 1)).toBe(slots); // CR3
      }),
      { numRuns: 400 },
    );
  });

  test("counts of many that leave out of a small ring are kept", () => {
    const credit = new Credit();
    credit.setFlow({ seen: 0, window: 1000, windowBytes: 0 });
    for (let i = 0; i < 1000; i++) {
      credit.reserve(i % PRIORITIES, i);
      credit.send(i % PRIORITIES, i);
      if (i === 20) credit.setFlow({ seen: 7, window: 993, windowBytes: 0 });
    }
    expect(credit.of(7, 1)).toBe(0);
    credit.setFlow({ seen: 1000, window: 2, windowBytes: 0 });
    credit.setLanes([{ minPriority: 5, window: 1 }]);
    expect([credit.of(4, 1), credit.of(5, 1)]).toEqual([1, 2]);
  });

  test("a window can shrink below what is under way, and credit comes again when enough was seen", () => {
    const credit = new Credit();
    credit.setFlow({ seen: 0, window: 10, windowBytes: 0 });
    for (let i = 0; i < 10; i++) credit.reserve(3, 1);
    for (let i = 0; i < 10; i++) credit.send(3, 1);
    credit.setFlow({ seen: 2, window: 3, windowBytes: 0 });
    expect(credit.total).toBe(0);
    credit.setFlow({ seen: 8, window: 3, windowBytes: 0 });
    expect(credit.total).toBe(1);
    expect(() => credit.setFlow({ seen: 11, window: 3, windowBytes: 0 })).toThrow(RangeError);
    expect(credit.total).toBe(1);
  });

  test("a job larger than the byte window goes alone", () => {
    const credit = new Credit();
    credit.setFlow({ seen: 0, window: 10, windowBytes: 100 });
    expect(credit.of(3, 5000)).toBe(10);
    credit.reserve(3, 5000);
    expect(credit.of(3, 1)).toBe(0);
    credit.send(3, 5000);
    credit.setFlow({ seen: 1, window: 10, windowBytes: 100 });
    expect([credit.of(3, 100), credit.of(3, 101)]).toEqual([10, 10]);
    credit.reserve(3, 60);
    expect([credit.of(3, 40), credit.of(3, 41)]).toEqual([9, 0]);
  });
});
