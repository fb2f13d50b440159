import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Labels } from "./measured-series.ts";
import { ProcessMetrics } from "./system-process.ts";
import { nativeTimers } from "./testing/native-timers.ts";

let clock: ManualClock;
let metrics: ProcessMetrics;
let told: Map<string, number>;

beforeEach(() => {
  clock = new ManualClock();
  told = new Map();
  metrics = new ProcessMetrics({
    clock,
    readFile: (path) => (path === "/proc/self/status" ? "VmSize:\t    2048 kB\nThreads:\t11\n" : undefined),
    write: (name, _, value, labels: Labels = []) =>
      void told.set([name, ...labels.map(([, label]) => label)].join(" "), value),
  });
});
afterEach(() => metrics[Symbol.dispose]());

test("it tells of the process what the system and the runtime say of it", () => {
  const { user } = process.cpuUsage();
  metrics.measure();
  expect(told.get("process.cpu.time user")).toBeGreaterThanOrEqual(user / 1e6);
  expect(told.get("process.memory.virtual")).toBe(2 * 1024 * 1024);
  expect(told.get("process.thread.count")).toBe(11);
  expect(told.get("v8js.memory.heap.used old_space")).toBeGreaterThan(0);
  expect([...told.keys()].filter((name) => name.startsWith("nodejs.eventloop.delay"))).toEqual([]);
});

test("garbage collection is counted by kind, with what it took, while somebody asks", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  await turn();
  metrics.measure();
  expect(told.has("v8js.gc.collections major")).toBe(false);
  metrics.watch();
  collect();
  await expect
    .poll(() => {
      metrics.measure();
      return told.get("v8js.gc.collections major");
    })
    .toBeGreaterThanOrEqual(1);
  expect(told.get("v8js.gc.time major")).toBeGreaterThan(0);
});

test("what costs something is watched until nobody has asked for a minute", () => {
  const before = nativeTimers();
  metrics.watch();
  expect(nativeTimers()).toBe(before + 1);
  clock.advance(40_000);
  metrics.watch();
  expect(nativeTimers()).toBe(before + 1);
  clock.advance(59_999);
  expect(nativeTimers()).toBe(before + 1);
  clock.advance(1);
  expect(nativeTimers()).toBe(before);
  expect(clock.timers).toBe(0);
  metrics.watch();
  expect(nativeTimers()).toBe(before + 1);
});
