import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SeriesTable } from "./series.ts";
import { SystemMetrics } from "./system.ts";
import { nativeTimers } from "./testing/native-timers.ts";

const MINUTE_MS = 60_000;
let clock: ManualClock;
let table: SeriesTable;
let system: SystemMetrics;
let files: Record<string, string>;

beforeEach(() => {
  clock = new ManualClock();
  table = new SeriesTable({ clock, seriesMax: 1000, silentMs: 5 * MINUTE_MS });
  files = {
    "/proc/stat": "cpu  100 0 0 900 0 0 0 0\ncpu0 100 0 0 900 0 0 0 0\n",
    "/proc/net/dev": "eth0: 100 1 0 0 0 0 0 0 50 1 0 0 0 0 0 0\neth1: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n",
  };
  system = new SystemMetrics({ table, clock, readFile: (path) => files[path] });
});
afterEach(() => {
  system[Symbol.dispose]();
  table[Symbol.dispose]();
});

const seriesOf = (name: string) => [...table.named(name)];
const isCpu = (name: string) => name === "cpu";

test("what nobody asked for is there when somebody does, however long that took", () => {
  clock.advance(60 * MINUTE_MS);
  expect(seriesOf("cpu")).toMatchObject([{ isStale: false, updates: 1 }]);
  files["/proc/stat"] = "cpu  200 0 0 1000 0 0 0 0\ncpu0 200 0 0 1000 0 0 0 0\n";
  system.refresh(isCpu);
  expect(seriesOf("cpu")).toMatchObject([{ isStale: false, updates: 2, point: { value: 2 }, previous: { value: 1 } }]);
});

test("as long as nobody asks it runs no timer, and it leaves none", () => {
  const before = nativeTimers();
  const other = new SystemMetrics({ table, clock, readFile: (path) => files[path] });
  other.sample();
  expect(nativeTimers()).toBe(before);
  clock.advance(MINUTE_MS);
  other.refresh(isCpu);
  expect(nativeTimers()).toBe(before + 1);
  other[Symbol.dispose]();
  expect(nativeTimers()).toBe(before);
});

test("it is measured only when one of its metrics is asked for, and not twice in a moment", () => {
  clock.advance(MINUTE_MS);
  system.refresh((name) => name === "http.requests");
  expect(seriesOf("cpu")).toMatchObject([{ updates: 1 }]);
  system.refresh(isCpu);
  clock.advance(50);
  system.refresh(isCpu);
  expect(seriesOf("cpu")).toMatchObject([{ updates: 2 }]);
});

test("a device that has gone is told as stale once it was looked for in vain for long enough, and goes", () => {
  files["/proc/net/dev"] = "eth0: 100 1 0 0 0 0 0 0 50 1 0 0 0 0 0 0\n";
  const devices = () =>
    new Map(
      seriesOf("system.network.io").map(({ description, isStale }) => [
        description.labels.map(([, value]) => value).join(" "),
        isStale,
      ]),
    );
  for (let minute = 0; minute < 6; minute++) {
    clock.advance(MINUTE_MS);
    system.refresh(isCpu);
  }
  expect(devices().get("eth1 receive")).toBe(true);
  expect(devices().get("eth0 receive")).toBe(false);
  for (let minute = 0; minute < 3; minute++) {
    clock.advance(MINUTE_MS);
    system.refresh(isCpu);
  }
  expect([...devices().keys()].toSorted()).toEqual(["eth0 receive", "eth0 transmit"]);
});
