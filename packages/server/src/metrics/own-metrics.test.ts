import { fromBinary } from "@bufbuild/protobuf";
import { LogService, MetricPointSchema } from "@sluice/api";
import { type Call, Code } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CallMetrics, observeBoth } from "../telemetry/call-metrics.ts";
import { fileReporter, heldReporter, logReporter, queueReporter } from "../telemetry/server-metrics.ts";
import { OwnMetrics } from "./own-metrics.ts";
import { SeriesTable } from "./series.ts";

let clock: ManualClock;
let table: SeriesTable;
let own: OwnMetrics;
beforeEach(() => {
  clock = new ManualClock();
  table = new SeriesTable({ clock, seriesMax: 1000, silentMs: 300_000 });
  own = new OwnMetrics({ table, clock });
});
afterEach(() => table[Symbol.dispose]());

const valuesOf = (name: string) =>
  new Map(
    [...table.named(name)].map(({ description, point }) => [
      description.labels.map(([, value]) => value).join(" "),
      point.value,
    ]),
  );
const read = LogService.method.streamLogs;
const call = { method: read } as unknown as Call;

test("calls are counted by method and code as they come and go, with how long they took", () => {
  const calls = new CallMetrics();
  own.add(calls);
  const observers = [calls.observe(call), calls.observe(call), calls.observe(call)];
  expect(new Set(observers).size).toBe(1);
  const [observer] = observers;
  observer?.received?.(1, 10);
  observer?.wrote?.(500);
  observer?.wrote?.(500);
  observer?.ended?.(Code.OK, 3);
  observer?.ended?.(Code.CANCELLED, 700_000);
  clock.advance(1000);
  own.refresh((name) => name === "rpc.server.call.duration");
  expect(valuesOf("sluice.calls.open")).toEqual(new Map([["sluice.logs.v1.LogService/StreamLogs grpc", 1]]));
  expect(valuesOf("sluice.calls.io")).toEqual(
    new Map([
      ["receive sluice.logs.v1.LogService/StreamLogs grpc", 10],
      ["transmit sluice.logs.v1.LogService/StreamLogs grpc", 1000],
    ]),
  );
  const [cancelled, ok] = [...table.named("rpc.server.call.duration")].toSorted((a, b) =>
    a.label("rpc.response.status_code") < b.label("rpc.response.status_code") ? -1 : 1,
  );
  const histogram = fromBinary(MetricPointSchema, ok!.point.shape!).histogram;
  expect(histogram).toMatchObject({ count: 1n, sum: 0.003 });
  expect(histogram?.explicitBounds[histogram.bucketCounts.indexOf(1n)]).toBe(0.005);
  expect(fromBinary(MetricPointSchema, cancelled!.point.shape!).histogram?.bucketCounts.at(-1)).toBe(1n);
});

test("two observers hear the same", () => {
  const [first, second] = [new CallMetrics(), new CallMetrics()];
  const both = observeBoth(first.observe, second.observe)(call);
  both?.received?.(2, 20);
  both?.wrote?.(30);
  both?.ended?.(Code.OK, 1);
  for (const calls of [first, second]) own.add(calls);
  expect(valuesOf("sluice.calls.received")).toEqual(new Map([["sluice.logs.v1.LogService/StreamLogs grpc", 2]]));
  expect([...valuesOf("rpc.server.call.duration").values()]).toEqual([1]);
});

test("nobody is asked while none of theirs is asked for, nor twice in a moment", () => {
  let asked = 0;
  const held = {
    connections: 0,
    followers: 0,
    writingBytes: 0,
    downloads: 0,
    watches: 0,
    subscriptions: 0,
    workers: 0,
    enqueuingBytes: 0,
    devices: 0,
    publishingBytes: 0,
  };
  own.add(heldReporter(() => ({ ...held, connections: ++asked })));
  clock.advance(1000);
  own.refresh((name) => name === "cpu");
  expect(valuesOf("sluice.connections")).toEqual(new Map([["", 1]]));
  own.refresh((name) => name === "sluice.connections");
  clock.advance(99);
  own.refresh((name) => name === "sluice.connections");
  expect(valuesOf("sluice.connections")).toEqual(new Map([["", 2]]));
});

test("logs and queues are told by name; a queue that has gone is stale after a while, and then gone, too", () => {
  own.add(
    logReporter({
      logs: [{ name: "default", reader: { head: { sequence: 7 } }, status: () => ({ bytes: 9 }) }],
      delivered: { entries: 3, gaps: 1 },
    }),
  );
  const counts = {
    waiting: 1,
    offered: 0,
    running: 2,
    delayed: 0,
    dead: 0,
    enqueued: 5,
    done: 2,
    expired: 0,
    removed: 0,
    failures: 4,
  };
  const queues = [{ name: "mail", engine: { counts: () => counts }, journal: { diskBytes: 11 } }];
  own.add(queueReporter(() => queues));
  own.add(fileReporter({ uploads: 6 }));
  expect(valuesOf("sluice.file.uploads")).toEqual(new Map([["", 6]]));
  expect(valuesOf("sluice.log.entries")).toEqual(new Map([["default", 7]]));
  expect(valuesOf("sluice.log.delivered")).toEqual(new Map([["", 3]]));
  expect(valuesOf("sluice.queue.jobs").get("mail running")).toBe(2);
  expect(valuesOf("sluice.queue.failures")).toEqual(new Map([["mail", 4]]));
  queues.pop();
  for (let minute = 0; minute < 8; minute++) {
    clock.advance(60_000);
    own.refresh(() => true);
  }
  expect(valuesOf("sluice.queue.size")).toEqual(new Map());
  expect(valuesOf("sluice.log.size")).toEqual(new Map([["default", 9]]));
});

test("when programs have taken all the room, what is known goes on", () => {
  const full = new SeriesTable({ clock, seriesMax: 4, silentMs: 300_000 });
  const other = new OwnMetrics({ table: full, clock });
  other.add(logReporter({ logs: [], delivered: { entries: 3, gaps: 1 } }));
  other.add(new CallMetrics());
  other.add(
    heldReporter(() => ({
      connections: 1,
      followers: 2,
      writingBytes: 3,
      downloads: 4,
      watches: 5,
      subscriptions: 6,
      workers: 7,
      enqueuingBytes: 8,
      devices: 9,
      publishingBytes: 10,
    })),
  );
  expect([...full.names()]).toHaveLength(4);
  full[Symbol.dispose]();
});
