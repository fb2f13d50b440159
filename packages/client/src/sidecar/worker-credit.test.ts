import fc from "fast-check";
import { expect, test } from "vitest";
import { WorkerCredit } from "./worker-credit.ts";

/** What happens between a worker, the sidecar and the server's streams. */
const arbitrarySteps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("flow" as const), back: fc.nat(5), window: fc.nat(10) }),
    fc.record({ kind: fc.constant("deliver" as const) }),
    fc.record({ kind: fc.constant("restart" as const) }),
    fc.record({ kind: fc.constant("recall" as const), count: fc.nat(2) }),
  ),
  { maxLength: 60 },
);

test("the server may send what the worker would take, and never more, over any number of streams", () => {
  fc.assert(
    fc.property(arbitrarySteps, (steps) => {
      const credit = new WorkerCredit();
      let sent = 0; // to the worker, of all streams
      let ofStream = 0;
      let limit: number | undefined; // as the worker counts
      for (const step of steps) {
        if (step.kind === "flow") {
          const seen = Math.max(0, sent - step.back);
          credit.set({ seen: BigInt(seen), window: step.window, windowBytes: 0n });
          limit = seen + step.window;
        } else if (step.kind === "deliver") {
          sent++;
          ofStream++;
          expect(credit.deliver()).toBe(BigInt(sent));
          expect(credit.numberOf(BigInt(ofStream))).toBe(BigInt(sent));
        } else if (step.kind === "restart") {
          credit.restart();
          ofStream = 0;
        } else {
          credit.takeBack(step.count);
          if (limit !== undefined) limit += step.count;
        }
        const flow = credit.flow();
        expect(flow === undefined).toBe(limit === undefined);
        if (flow === undefined || limit === undefined) continue;
        const mayTake = Math.max(0, limit - sent);
        expect(credit.free).toBe(mayTake);
        expect(Math.max(0, Number(flow.seen) + flow.window - ofStream)).toBe(mayTake);
        expect(Number(flow.seen)).toBeLessThanOrEqual(ofStream);
      }
    }),
    { numRuns: 500 },
  );
});
