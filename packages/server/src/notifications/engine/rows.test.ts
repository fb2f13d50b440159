// Rows that are read as they were frozen, whatever becomes of them meanwhile.
import fc from "fast-check";
import { expect, test } from "vitest";
import { type RowChunk, ROWS_PER_CHUNK, Rows } from "./rows.ts";

const FLOATS = 2;
const INTEGERS = 3;

function filled(rows: number): Rows {
  const made = new Rows(FLOATS, INTEGERS);
  for (let i = 0; i < rows; i++) {
    const row = made.take();
    made.setFloat(row, 0, row + 0.5);
    made.setInteger(row, 2, row);
  }
  return made;
}

function restored(shape: ReturnType<Rows["freeze"]>, chunks: readonly RowChunk[]): Rows {
  const rows = new Rows(FLOATS, INTEGERS);
  rows.restore(shape);
  for (const { floats, integers } of chunks) {
    const chunk = rows.addChunk();
    chunk.floats.set(floats);
    chunk.integers.set(integers);
  }
  return rows;
}

/** Every value of the rows around the place where two chunks meet, and the rows that come next. */
function contentOf(rows: Rows) {
  const values: number[][] = [];
  for (let row = ROWS_PER_CHUNK - 8; row < ROWS_PER_CHUNK + 8; row++) {
    values.push([
      rows.float(row, 0),
      rows.float(row, 1),
      rows.integer(row, 0),
      rows.integer(row, 1),
      rows.integer(row, 2),
    ]);
  }
  return { values, size: rows.size, next: [rows.take(), rows.take(), rows.take()] };
}

const change = fc.oneof(
  fc.record({ kind: fc.constantFrom("float" as const, "integer" as const), row: fc.nat(), value: fc.nat(1000) }),
  fc.record({
    kind: fc.constantFrom("release" as const, "take" as const, "read" as const),
    row: fc.nat(),
    value: fc.constant(0),
  }),
);
type Change = typeof change extends fc.Arbitrary<infer C> ? C : never;

function apply(rows: Rows, step: Change, free: Set<number>, end: number): void {
  const row = step.row % end;
  if (step.kind === "take") free.delete(rows.take());
  else if (step.kind === "read" || free.has(row)) return;
  else if (step.kind === "release") {
    rows.release(row);
    free.add(row);
  } else if (step.kind === "float") rows.setFloat(row, step.row % FLOATS, step.value);
  else rows.setInteger(row, step.row % INTEGERS, step.value);
}

test("a frozen chunk is as it was, and what is made of all of them goes on in the same way", () => {
  const end = ROWS_PER_CHUNK + 8;
  // Where chunks meet: the rows that change are few enough to change often.
  const near = (row: number) => ROWS_PER_CHUNK - 8 + (row % 16);
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), fc.array(change, { maxLength: 60 }), (before, meanwhile) => {
      const [rows, same] = [filled(end), filled(end)];
      const free = new Set<number>();
      const sameFree = new Set<number>();
      for (const step of before) {
        apply(rows, { ...step, row: near(step.row) }, free, end);
        apply(same, { ...step, row: near(step.row) }, sameFree, end);
      }
      const shape = rows.freeze();
      const chunks: RowChunk[] = [];
      for (const step of meanwhile) {
        if (step.kind === "read" && chunks.length < shape.chunks) chunks.push(rows.readFrozen());
        apply(rows, { ...step, row: near(step.row) }, free, end);
      }
      while (chunks.length < shape.chunks) chunks.push(rows.readFrozen());
      expect(rows.kept).toBe(0);
      rows.thaw();
      expect(contentOf(restored(shape, chunks))).toEqual(contentOf(same));
    }),
    { numRuns: 100 },
  );
});
