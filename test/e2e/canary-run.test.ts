// A canary beside logs that do not keep their word.
import type { LogEvent, LogWriterOptions, NewLogEntry } from "@sluice/client";
import { ManualClock } from "@sluice/rpc/testing";
import { create } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/client";
import { expect, test } from "vitest";
import { Canary, type CanaryClient } from "../../packages/cli/src/commands/canary-run.ts";

const OPTIONS = { run: "r", application: "canary", log: undefined, rate: 100, graceMs: 1000 };

const entryEvent = (entry: NewLogEntry): LogEvent => ({ kind: "entry", entry: create(LogEntrySchema, entry) });
const lost: LogEvent = { kind: "disconnected", error: new Error("lost"), retryInMs: 1, failures: 1 };

/** A log in memory that acknowledges at once, and gives what `tamper` makes of what was written. */
function openFalseLog(tamper: (number: number, event: LogEvent) => LogEvent[]): CanaryClient & { queries: object[] } {
  const queries: object[] = [];
  const events: LogEvent[] = [{ kind: "sync", cursor: "" }];
  let wake = (): void => {};
  const untilWoken = (): Promise<void> => new Promise((resolve) => (wake = resolve));
  let written = 0;
  return {
    queries,
    openLogWriter: ({ onAcknowledged }: LogWriterOptions) => ({
      write(entry) {
        written++;
        onAcknowledged?.(written, { duplicates: 0, cursor: "" });
        events.push(...tamper(written, entryEvent(entry)));
        wake();
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    }),
    streamLogs: (query, { signal }) => ({
      async *events() {
        queries.push(query);
        signal?.addEventListener("abort", () => wake());
        while (signal?.aborted === false) {
          const event = events.shift();
          if (event !== undefined) yield event;
          else await untilWoken();
        }
      },
    }),
  };
}

/** Lets a canary write `count` entries. */
async function runCanary(client: CanaryClient, count: number): Promise<Canary> {
  const clock = new ManualClock();
  const stop = new AbortController();
  const canary = new Canary(client, { ...OPTIONS, clock, stop: stop.signal });
  const working = canary.work();
  await clock.advanceInTurns(10 * count - 5);
  expect(canary.report().written).toBe(count);
  stop.abort();
  await clock.advanceInTurns(3000);
  await working;
  expect(clock.timers).toBe(0);
  return canary;
}

test("a log that keeps its word", async () => {
  const canary = await runCanary(
    openFalseLog((_, event) => [event]),
    20,
  );
  expect(canary.report()).toMatchObject({ written: 20, acknowledged: 20, seen: 20, isReaderConnected: true });
  expect(canary.report()).toMatchObject({ missing: 0, duplicates: 0, outOfOrder: 0, unknown: 0, onTheWay: 0 });
});

test("only this run's entries are asked for, also those from before the first connection stood", async () => {
  const log = openFalseLog((_, event) => [event]);
  await runCanary(log, 2);
  expect(log.queries).toMatchObject([{ applications: ["canary"], filters: ["canary_run=r"], follow: true }]);
  expect(log.queries[0]).not.toHaveProperty("tailLines");
});

test("a log that loses one entry in the midst and the last one", async () => {
  const log = openFalseLog((number, event) => (number === 7 || number === 20 ? [] : [event]));
  expect((await runCanary(log, 20)).report()).toMatchObject({ seen: 18, missing: 2, duplicates: 0, outOfOrder: 0 });
});

test("a log that gives an entry twice", async () => {
  const log = openFalseLog((number, event) => (number === 7 ? [event, event] : [event]));
  expect((await runCanary(log, 20)).report()).toMatchObject({ seen: 20, missing: 0, duplicates: 1, outOfOrder: 0 });
});

test("a log that changes the order", async () => {
  let kept: LogEvent[] = [];
  const log = openFalseLog((number, event) => {
    if (number === 7) {
      kept = [event];
      return [];
    }
    return [event, ...kept.splice(0)];
  });
  expect((await runCanary(log, 20)).report()).toMatchObject({ seen: 20, missing: 0, duplicates: 0, outOfOrder: 1 });
});

test("what does not come because the connection is lost is not missing", async () => {
  const log = openFalseLog((number, event) => (number === 10 ? [lost] : number > 10 ? [] : [event]));
  const report = (await runCanary(log, 20)).report();
  expect(report).toMatchObject({ seen: 9, missing: 0, onTheWay: 11, isReaderConnected: false, readerDisconnects: 1 });
});

test("a reader that fails for good ends the canary with its error", async () => {
  const clock = new ManualClock();
  const client: CanaryClient = {
    openLogWriter: () => ({ write: () => Promise.resolve(), close: () => Promise.resolve() }),
    streamLogs: () => ({
      events: () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("no right to it")) }) }),
    }),
  };
  const canary = new Canary(client, { ...OPTIONS, clock, stop: new AbortController().signal });
  const working = canary.work();
  const failed = expect(working).rejects.toThrow("no right to it");
  await clock.advanceInTurns(1000);
  await failed;
});

test("after an outage the rate is not exceeded for more than a second", async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  const log = openFalseLog((_, event) => [event]);
  const canary = new Canary(log, { ...OPTIONS, clock, stop: stop.signal });
  const working = canary.work();
  clock.skip(60_000); // as when the process was stopped
  await clock.advanceInTurns(95);
  expect(canary.report().written).toBeLessThanOrEqual(112);
  expect(canary.report().written).toBeGreaterThan(100);
  stop.abort();
  await clock.advanceInTurns(3000);
  await working;
});
