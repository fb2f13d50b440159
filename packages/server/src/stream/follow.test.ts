import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DataLoss, Draining, LimitExceeded } from "../errors.ts";
import { parseCursor } from "./cursor.ts";
import { Followers } from "./followers.ts";
import type { FrameFilter } from "./frame-filter.ts";
import { MemoryLog } from "./testing/memory-log.ts";
import { endingIn, logOf, openSource, openStream, settle } from "./testing/open-stream.ts";
import { entriesOf, PulledStream } from "./testing/pulled-stream.ts";

describe("history and live", () => {
  test("history comes in order, then sync, then what is written", async () => {
    const log = await logOf(7);
    const { stream } = openStream(log);
    await settle();
    expect(stream.events).toEqual(["1", "2", "3", "4", "5", "6", "7", "sync"]);
    await log.write({ message: "m8" }, { message: "m9" });
    await settle();
    expect(stream.events.slice(8)).toEqual(["8", "9"]);
    expect(stream.ending).toBe("open");
  });

  test("without follow the stream ends with history, also when there is none", async () => {
    const some = openStream(await logOf(4), { isFollowing: false });
    const none = openStream(new MemoryLog(), { isFollowing: false });
    await settle();
    expect([some.stream.events, some.stream.ending]).toEqual([["1", "2", "3", "4"], "ended"]);
    expect([none.stream.events, none.stream.ending]).toEqual([[], "ended"]);
  });

  test("a log that grows as fast as it is read does not keep a reader of history for ever", async () => {
    const log = await logOf(3);
    log.runEntriesMax = 1;
    const { stream, follow } = openStream(log, { isFollowing: false });
    const pull = follow.pull.bind(follow);
    follow.pull = (maxBytes) => {
      void log.write({ message: "more" });
      return pull(maxBytes);
    };
    await settle();
    expect([stream.events, stream.ending]).toEqual([["1", "2", "3"], "ended"]);
  });

  test("sync comes on an empty log too, with a cursor to resume from", async () => {
    const { stream } = openStream(new MemoryLog());
    await settle();
    expect(stream.events).toEqual(["sync"]);
    const sync = stream.controls[0]?.control?.kind;
    expect(sync?.case === "sync" && parseCursor("default", sync.value.cursor, "")).toEqual({ epoch: 1, sequence: 0 });
  });

  test("sync stands where history ended, however far the log has got by then", async () => {
    const log = await logOf(3);
    const { stream } = openStream(log);
    await log.write({}, {});
    await settle();
    expect(stream.events).toEqual(["1", "2", "3", "sync", "4", "5"]);
    const sync = stream.controls[0]?.control?.kind;
    expect(sync?.case === "sync" && parseCursor("default", sync.value.cursor, "").sequence).toBe(3);
  });

  test("no hole and no repeat between the two, however appends and commits fall", async () => {
    const step = fc.constantFrom("write", "commit", "turn", "stall", "resume");
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.nat(12), fc.nat(8), async (steps, history, onDisk) => {
        const log = await logOf(history);
        log.onDiskTo = onDisk;
        log.isAutomatic = false;
        const { stream, follow } = openStream(log);
        const written: Promise<number>[] = [];
        for (const each of steps) {
          if (each === "write") written.push(log.write({ message: "live" }));
          else if (each === "commit") log.commit();
          else if (each === "stall") stream.isStalled = true;
          else if (each === "resume") stream.resume();
          else await settle(1);
        }
        log.commit();
        stream.resume();
        await Promise.all(written);
        await settle(30);
        const expected = Array.from({ length: log.head.sequence }, (_, i) => String(i + 1));
        expect(stream.events.filter((event) => event !== "sync")).toEqual(expected);
        expect(stream.events.filter((event) => event === "sync")).toHaveLength(1);
        expect(stream.events.indexOf("sync")).toBeGreaterThanOrEqual(history);
        follow.close();
      }),
      { numRuns: 60 },
    );
  });

  test("only what is durable is seen", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const { stream } = openStream(log, { controls: undefined });
    const written = log.write({ message: "m" });
    await settle();
    expect(stream.events).toEqual([]);
    log.commit();
    await written;
    await settle();
    expect(stream.events).toEqual(["1"]);
  });

  test("an unfiltered run passes by reference, from disk as at the head", async () => {
    const log = await logOf(2);
    const scan = log.scan(0);
    const runs: unknown[] = [];
    log.scan = () => ({
      position: 2,
      close: () => {
        scan.close();
      },
      next: (maxBytes) => {
        const run = scan.next(maxBytes);
        if (run !== undefined && "bytes" in run) runs.push(run.bytes);
        return run;
      },
    });
    const follow = openSource(log, { controls: undefined });
    const history = follow.pull(1000);
    expect(follow.pull(1000)).toBeUndefined();
    await log.write({});
    const live = follow.pull(1000);
    expect(history).toBe(runs[0]);
    expect(live).toBe(runs[1]);
    expect(entriesOf(live!).map((entry) => entry.sequence)).toEqual([3n]);
  });

  test("begins where it is told to, also when the place must be looked for", async () => {
    const log = await logOf(6);
    const at = openStream(log, { after: 4, isFollowing: false });
    const sought = openStream(log, { after: () => Promise.resolve(5), isFollowing: false });
    await settle();
    expect(at.stream.events).toEqual(["5", "6"]);
    expect(sought.stream.events).toEqual(["6"]);
  });

  test("a search that fails, and a read that fails, end the stream with their error", async () => {
    const error = new DataLoss("nothing left", {});
    const sought = openStream(await logOf(2), { after: () => Promise.reject(error) });
    const log = await logOf(2);
    log.readError = error;
    const read = openStream(log);
    await settle();
    expect(sought.stream.ending).toEqual({ error });
    expect(read.stream.ending).toEqual({ error });
    expect([sought.followers.count, read.followers.count]).toEqual([0, 0]);
  });

  test("applications that appear later come in as soon as they are known", async () => {
    const log = new MemoryLog();
    const labels = new Set<number>();
    const { stream } = openStream(log, {
      query: { labels },
      resolve: () => {
        const id = log.findLabel("late");
        if (id !== undefined) labels.add(id);
        return id === undefined;
      },
    });
    await settle();
    await log.write({ application: "other" }, { application: "late" }, { application: "late" });
    await settle();
    await log.write({ application: "other" }, { application: "late" });
    await settle();
    expect(stream.events).toEqual(["sync", "2", "3", "5"]);
  });
});

describe("filters and limits", () => {
  test("a limit counts entries, not controls, and cuts within a run", async () => {
    const log = await logOf(7);
    const { stream } = openStream(log, { limit: 5 });
    await settle();
    expect([stream.events, stream.ending]).toEqual([["1", "2", "3", "4", "5"], "ended"]);
    const later = openStream(log, { limit: 9 });
    await settle();
    expect(later.stream.ending).toBe("open");
    await log.write({}, {}, {});
    await settle();
    expect(later.stream.events).toEqual(["1", "2", "3", "4", "5", "6", "7", "sync", "8", "9"]);
    expect(later.stream.ending).toBe("ended");
  });

  test("a limit of 0 ends at once", async () => {
    const { stream } = openStream(await logOf(2), { limit: 0 });
    await settle();
    expect([stream.events, stream.ending]).toEqual([[], "ended"]);
  });

  test.each([true, false])("a filter picks entries out of runs, costly: %s", async (isCostly) => {
    const log = await logOf(12);
    log.runEntriesMax = 5;
    const { stream } = openStream(log, { filter: endingIn("1468", isCostly) });
    await settle();
    expect(stream.events).toEqual(["1", "4", "6", "8", "11", "sync"]);
    await log.write({ message: "x1" }, { message: "x2" });
    await settle();
    expect(stream.events.slice(6)).toEqual(["13"]);
  });

  test("a filter and a limit together", async () => {
    const log = await logOf(12);
    log.runEntriesMax = 100;
    const { stream } = openStream(log, { filter: endingIn("1468"), limit: 3 });
    await settle();
    expect([stream.events, stream.ending]).toEqual([["1", "4", "6"], "ended"]);
  });

  test("a limit that ends with history ends the stream there: there is nothing live to announce", async () => {
    const log = await logOf(3);
    const { stream } = openStream(log, { limit: 3 });
    await settle();
    expect([stream.events, stream.ending]).toEqual([["1", "2", "3"], "ended"]);
  });

  test("filtering gives the event loop back when it has taken its share, and finds everything", async () => {
    const log = await logOf(40);
    log.runEntriesMax = 40;
    const clock = new ManualClock();
    const filter = endingIn("0", true);
    const slow: FrameFilter = {
      ...filter,
      matches(bytes, start, end) {
        clock.advance(1);
        return filter.matches(bytes, start, end);
      },
    };
    const { stream } = openStream(log, { filter: slow, heartbeatMs: 0 }, clock);
    await settle(1);
    expect(filter.looks).toBeLessThanOrEqual(6);
    await settle(60);
    expect(filter.looks).toBe(40);
    expect(stream.events).toEqual(["10", "20", "30", "40", "sync"]);
  });
});

test("while a run is being filtered its memory is kept, and the lag counts what was not looked at", async () => {
  const log = await logOf(3);
  const clock = new ManualClock();
  const filter = endingIn("123", true);
  const slow: FrameFilter = {
    ...filter,
    matches(bytes, start, end) {
      clock.skip(4);
      return filter.matches(bytes, start, end);
    },
  };
  const { follow, stream } = openStream(log, { filter: slow }, clock);
  stream.isStalled = true;
  while (stream.entries.length === 0) {
    stream.take();
    await settle(1);
  }
  follow.sent();
  expect([log.releases, filter.looks]).toEqual([0, 1]);
  follow.beat();
  stream.take();
  expect(stream.events).toEqual(["1", "heartbeat lag 2"]);
  stream.resume();
  await settle();
  follow.sent();
  expect(stream.events.slice(2)).toEqual(["2", "3", "sync"]);
  expect(log.releases).toBe(1);
});

describe("the end", () => {
  test("closing frees the scan, the place among the followers, the subscription and the timer", async () => {
    const log = await logOf(5);
    const { follow, followers, clock } = openStream(log);
    await settle();
    expect([followers.count, log.openScans, log.listeners, clock.timers]).toEqual([1, 1, 1, 1]);
    follow.close();
    follow.close();
    expect([followers.count, log.openScans, log.listeners, clock.timers]).toEqual([0, 0, 0, 0]);
  });

  test("closing in the midst of a read, a search or a turn leaves nothing behind", async () => {
    const log = await logOf(5);
    log.onDiskTo = 5;
    const reading = openStream(log);
    const searching = openStream(log, { after: () => Promise.resolve(1) });
    reading.follow.pull(100);
    reading.follow.close();
    searching.follow.close();
    await settle();
    expect([reading.stream.events, searching.stream.events]).toEqual([[], []]);
    expect(log.openScans).toBe(0);
  });

  test("a follow past the limit is refused and takes no place", async () => {
    const log = await logOf(1);
    const clock = new ManualClock();
    const followers = new Followers({ clock, max: 2 });
    openStream(log, { followers });
    const second = openStream(log, { followers });
    expect(() => openStream(log, { followers })).toThrow(LimitExceeded);
    expect(() => openStream(log, { followers, isFollowing: false })).not.toThrow();
    second.follow.close();
    expect(() => openStream(log, { followers })).not.toThrow();
    expect(followers.count).toBe(2);
  });

  test("all follows of all logs can be interrupted", async () => {
    const clock = new ManualClock();
    const followers = new Followers({ clock, max: 10 });
    const streams = [await logOf(1), await logOf(2)].flatMap((log) =>
      [1, 2, 3].map(() => openStream(log, { followers }).stream),
    );
    await settle();
    followers.interruptAll();
    expect(followers.count).toBe(0);
    for (const stream of streams) expect(stream.ending).toMatchObject({ error: { kind: "unavailable" } });
    expect(clock.timers).toBe(0);
  });

  test("an error before the transport has taken the source over reaches it then", () => {
    const follow = openSource(new MemoryLog());
    follow.fail(new Draining());
    expect(new PulledStream(follow).ending).toEqual({ error: new Draining() });
  });

  test("whoever leaves does not take the place of another with it", async () => {
    const log = await logOf(0);
    const followers = new Followers({ clock: new ManualClock(), max: 10 });
    const [first, second, third] = Array.from({ length: 3 }, () => openStream(log, { followers, controls: undefined }));
    await settle();
    first!.follow.close();
    third!.follow.close();
    await log.write({});
    await settle();
    expect([first, second, third].map((each) => each!.stream.events)).toEqual([[], ["1"], []]);
    expect([followers.count, log.listeners]).toEqual([1, 1]);
    second!.follow.close();
    expect([followers.count, log.listeners]).toEqual([0, 0]);
  });

  test("entries that become durable in one turn are told of once", async () => {
    const log = await logOf(0);
    const { follow, stream } = openStream(log, { controls: undefined });
    await settle();
    let tellings = 0;
    const onHead = follow.onHead.bind(follow);
    follow.onHead = () => {
      tellings++;
      onHead();
    };
    for (let i = 0; i < 5; i++) void log.write({});
    await settle();
    expect([tellings, stream.events]).toEqual([1, ["1", "2", "3", "4", "5"]]);
  });

  test("followers may leave while they are being told", async () => {
    const log = await logOf(0);
    const clock = new ManualClock();
    const followers = new Followers({ clock, max: 10 });
    const all = Array.from({ length: 5 }, () => openStream(log, { followers, controls: undefined }));
    await settle();
    all[4]!.follow.onHead = () => {
      all[4]!.follow.close();
      all[1]!.follow.close();
    };
    await log.write({});
    await settle();
    expect(followers.count).toBe(3);
    expect(all.map(({ stream }) => stream.events)).toEqual([["1"], [], ["1"], ["1"], []]);
  });
});

test("a search that finds nothing gives its memory back as it goes, and keeps what waits to leave", async () => {
  const log = await logOf(9);
  const follow = openSource(log, { isFollowing: false, filter: endingIn("4") });
  const stream = new PulledStream(follow);
  await settle();
  // Runs of three: nothing of the first had to leave; of the second one did, and nobody said so.
  expect([stream.events, log.releases]).toEqual([["4"], 1]);
});
