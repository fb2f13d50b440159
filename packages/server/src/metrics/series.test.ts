import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { keyOf } from "./series-key.ts";
import { type Point, type Series, type SeriesDescription, SeriesTable } from "./series.ts";

const WIDE = 2n ** 63n - 1n;
const SILENT_MS = 60_000;

function described(name: string, labels: SeriesDescription["labels"] = [], rest: Partial<SeriesDescription> = {}) {
  return { name, type: "gauge", unit: "", description: "", labels, origin: "o", ...rest } as const;
}

function openTable(seriesMax = 1000) {
  const clock = new ManualClock();
  const table = new SeriesTable({ clock, seriesMax, silentMs: SILENT_MS });
  const write = (description: SeriesDescription, point: Partial<Point> = {}, key = keyOf(description)): Series => {
    table.write(key, { value: 1, timestampNs: clock.nowNs(), startNs: 0n, ...point }, () => description);
    return table.find(key)!;
  };
  return { clock, table, write, [Symbol.dispose]: () => table[Symbol.dispose]() };
}

/** Everything that there is of it, as it is now. */
function shown({ key, description, point, previous, updates, isStale, historyId }: Series) {
  const { name, type, unit, description: text, labels, origin, owner, rateScale, rateMax } = description;
  const about = { name, type, unit, text, labels, origin, owner, rateScale, rateMax };
  return { key, about, point, previous, updates, isStale, historyId };
}

test("a point comes out as it went in, whatever it is", () => {
  using opened = openTable();
  const { write } = opened;
  const shape = Uint8Array.of(1, 2, 3);
  const points: Point[] = [
    { value: -0, timestampNs: 1n, startNs: -(2n ** 63n), intValue: undefined, shape: undefined },
    { value: 7, timestampNs: 2n, startNs: 5n, intValue: 7n, shape: undefined },
    { value: Number(WIDE), timestampNs: 3n, startNs: 0n, intValue: WIDE, shape: undefined },
    { value: Number.NaN, timestampNs: 4n, startNs: 0n, intValue: undefined, shape },
    { value: 0, timestampNs: 5n, startNs: 0n, intValue: 0n, shape: undefined },
    { value: Infinity, timestampNs: 2n ** 63n - 1n, startNs: 0n, intValue: undefined, shape: undefined },
  ];
  for (const [i, point] of points.entries()) {
    const series = write(described("m"), point);
    expect(series.point).toEqual(point);
    expect(Object.is(series.point.value, point.value)).toBe(true);
    const { value, timestampNs, shape: before } = points[i - 1] ?? point;
    expect(series.previous).toEqual({ value, timestampNs, shape: before });
    expect([series.updates, series.value, series.timestampNs]).toEqual([i + 1, point.value, point.timestampNs]);
  }
});

test("labels are found in the key, or beside it where the key does not say them", () => {
  using opened = openTable();
  const { table, write } = opened;
  const odd = [
    ["a", "1=2,3"],
    ["b\\", "\n"],
    ["c", ""],
  ] as const;
  const plain = write(described("m", odd));
  const other = write(described("m", [["broken", "\ud800"]]), {}, "any key");
  const owned = write(described("m", [], { owner: "ada", rateScale: 100, unit: "s" }));
  expect([plain.description.labels, other.description.labels]).toEqual([odd, [["broken", "\ud800"]]]);
  expect([plain.label("a"), plain.label("b\\"), plain.label("d"), other.label("broken")]).toEqual([
    "1=2,3",
    "\n",
    "",
    "\ud800",
  ]);
  expect(shown(owned).about).toMatchObject({ owner: "ada", rateScale: 100, unit: "s" });
  expect([...table.named("m")]).toEqual([plain, other, owned]);
  expect(other.key).toBe("any key");
});

test("a series that has gone is what it was for whoever still holds it, although its row is another's", () => {
  using opened = openTable();
  const { clock, table, write } = opened;
  const removed: Series[] = [];
  table.listen({ onAdded() {}, onRemoved: (series) => removed.push(series) });
  const gone = write(described("gone", [["label", "x".repeat(50)]], { owner: "ada" }));
  write(described("gone", [["label", "x".repeat(50)]]), { value: 2, timestampNs: clock.nowNs() + 1n });
  gone.historyId = 7;
  clock.advance(SILENT_MS + 10_000);
  expect(gone.isStale).toBe(true);
  const before = shown(gone);
  const head = Buffer.from(gone.head).toString("latin1");
  clock.advance(70_000);
  expect(removed).toEqual([gone]);
  for (let i = 0; i < 10; i++) write(described(`new ${i}`, [["label", `${i}`]]), { value: 100 + i });
  expect(table.size).toBe(10);
  expect(gone.isGone).toBe(true);
  expect(shown(gone)).toEqual(before);
  expect(Buffer.from(gone.head).toString("latin1")).toBe(head);
  expect(table.find(gone.key)).toBeUndefined();
  expect([...table.names()]).not.toContain("gone");
});

test("thousands come and go: those who stay keep all they have, and who is gone leaves its room", () => {
  using opened = openTable(2000);
  const { clock, table, write } = opened;
  const long = "v".repeat(1000);
  const staying = () =>
    Array.from({ length: 100 }, (_, i) => {
      const series = write(described("stays", [["n", `${i}`]]), { value: i, intValue: WIDE - BigInt(i) });
      return { series, i };
    });
  for (let round = 0; round < 3; round++) {
    staying();
    for (let i = 0; i < 1500; i++) write(described(`goes ${round}`, [["n", `${i} ${long}`]]));
    for (let step = 0; step < 14; step++) {
      clock.advance(10_000);
      staying();
    }
    expect(table.size).toBe(100);
  }
  for (const { series, i } of staying()) {
    expect(series.label("n")).toBe(`${i}`);
    expect(series.point).toMatchObject({ value: i, intValue: WIDE - BigInt(i) });
  }
  expect([...table.names()]).toEqual(["stays"]);
});
