import { PassThrough } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { MetricPointSchema } from "@sluice/api";
import { expect, test } from "vitest";
import { formatValue, MetricsScreen, quantileName } from "./metrics-screen.ts";

const ESCAPE = "\u001b[";

/** A screen, and what it wrote of each batch, each line without what moves the cursor. */
function openScreen(rows = 24) {
  const writes: string[] = [];
  const stream = new PassThrough();
  stream.on("data", (chunk: Buffer) => writes.push(chunk.toString()));
  const screen = new MetricsScreen(Object.assign(stream, { rows }), (_, text) => text);
  return {
    take: async (...points: MessageInitShape<typeof MetricPointSchema>[]): Promise<string[]> => {
      for (const point of points) screen.take(create(MetricPointSchema, point));
      await turn();
      expect(writes.length).toBeLessThanOrEqual(1);
      const text = writes.splice(0).join("");
      // Each line begins with the order to clear it, the first one after that to go up.
      return text
        .split(`\r${ESCAPE}2K`)
        .slice(1)
        .map((line) => line.replace("\n", ""));
    },
  };
}

test("each series is a line with its newest value and a sparkline, drawn once for all points of a turn", async () => {
  const { take } = openScreen();
  const cpu = { name: "cpu", unit: "%", metricType: "gauge" };
  expect(await take({ ...cpu, value: 0 }, { ...cpu, value: 50, unit: "" }, { ...cpu, value: 100, unit: "" })).toEqual([
    "cpu          100 % ▁▅█",
  ]);
  const disk = { name: "disk", labels: { b: "2", a: "1" }, unit: "By", value: 2048 };
  expect(await take(disk)).toEqual(["cpu                        100 % ▁▅█", 'disk{a="1",b="2"}        2.0 KiB ▁']);
  expect(await take({ ...cpu, value: 7, stale: true })).toEqual([
    "cpu                        stale ▁▅█▁",
    'disk{a="1",b="2"}        2.0 KiB ▁',
  ]);
});

test("a histogram shows its count, or each of its quantiles", async () => {
  const { take } = openScreen();
  const latency = { name: "latency", unit: "s", metricType: "histogram", value: 12 };
  expect(await take(latency)).toEqual(["latency             12 ▁"]);
  const quantiles = [
    { quantile: 0.5, value: 0.25 },
    { quantile: 0.999, value: 3 },
  ];
  expect(await take({ ...latency, name: "wait", quantiles })).toEqual([
    "latency                12 ▁",
    "wait p50         0.2500 s ▁",
    "wait p99.9            3 s ▁",
  ]);
});

test("there are no more lines than the terminal has; who is left out is said", async () => {
  const { take } = openScreen(4);
  const lines = await take({ name: "a" }, { name: "b" }, { name: "c" });
  expect(lines).toHaveLength(3);
  expect(lines[2]).toMatch(/^and others/u);
});

test("a sparkline is of the last thirty values", async () => {
  const { take } = openScreen();
  const [line] = await take(...Array.from({ length: 40 }, (_, value) => ({ name: "a", value })));
  expect(line?.split(" ").at(-1)).toHaveLength(30);
});

test.each([
  [0.5, "p50"],
  [0.99, "p99"],
  [0.999, "p99.9"],
  [0, "p0"],
  [1, "p100"],
])("the %f quantile is %s", (quantile, name) => {
  expect(quantileName(quantile)).toBe(name);
});

test.each([
  [1536, "By", "1.5 KiB"],
  [1536, "By/s", "1.5 KiB/s"],
  [0.123_456, "1", "0.1235"],
  [12, "%", "12 %"],
  [3, "{cpu}", "3"],
  [2.5, "s", "2.500 s"],
])("%f in %s is %s", (value, unit, text) => {
  expect(formatValue(value, unit)).toBe(text);
});
