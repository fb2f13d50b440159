import fc from "fast-check";
import { expect, test } from "vitest";
import { LeaseTable } from "./queue-lease-table.ts";

test("what one side holds, the other one reads, extends, and sees go", () => {
  const ours = new LeaseTable(3);
  const theirs = new LeaseTable(ours.memory);
  const seat = ours.hold({ jobId: "order:17", attempt: 2n ** 63n + 5n }, { leaseMs: 900, nowMs: 100 });
  const [lease, ...others] = theirs.leases();
  expect(others).toEqual([]);
  expect(lease).toMatchObject({ seat, jobId: "order:17", attempt: 2n ** 63n + 5n, leaseMs: 900, sinceMs: 100 });
  theirs.extended(lease!, 400);
  expect(ours.read(seat)?.sinceMs).toBe(400);
  ours.setLease(seat, { leaseMs: 5000, nowMs: 450 });
  expect(theirs.read(seat)).toMatchObject({ leaseMs: 5000, sinceMs: 450 });
  ours.release(seat);
  expect([...theirs.leases()]).toEqual([]);
});

test("an extension says nothing of a seat that was given to another job meanwhile", () => {
  const ours = new LeaseTable(1);
  const theirs = new LeaseTable(ours.memory);
  const seat = ours.hold({ jobId: "1", attempt: 1n }, { leaseMs: 900, nowMs: 100 });
  const [old] = theirs.leases();
  ours.release(seat);
  ours.hold({ jobId: "2", attempt: 2n }, { leaseMs: 900, nowMs: 200 });
  expect(theirs.isCurrent(old!)).toBe(false);
  theirs.extended(old!, 800);
  expect(ours.read(seat)?.sinceMs).toBe(200);
});

test("it holds exactly what was held and not released, up to its seats", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 9 }), { maxLength: 60 }), (steps) => {
      const table = new LeaseTable(4);
      const held = new Map<number, string>();
      let next = 1;
      for (const step of steps) {
        const [seat] = [...held.keys()].slice(step % 3);
        if (step < 5 && seat !== undefined) {
          table.release(seat);
          held.delete(seat);
        } else if (held.size < 4) {
          const jobId = "j".repeat((next % 128) + 1);
          held.set(table.hold({ jobId, attempt: BigInt(next++) }, { leaseMs: 10, nowMs: 0 }), jobId);
        }
        const read = Array.from(table.leases(), ({ seat, jobId }): [number, string] => [seat, jobId]);
        expect(new Map(read)).toEqual(held);
      }
    }),
  );
  const full = new LeaseTable(1);
  full.hold({ jobId: "1", attempt: 1n }, { leaseMs: 10, nowMs: 0 });
  expect(() => full.hold({ jobId: "2", attempt: 2n }, { leaseMs: 10, nowMs: 0 })).toThrow(RangeError);
});
