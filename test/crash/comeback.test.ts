// How a log whose disk failed comes back by itself, without a restart: proven, brought to disk once more, nothing lost of
// what was acknowledged, nothing read of what was refused.
import { describe, expect, test } from "vitest";
import type { Fate } from "../support/fake-file-system.ts";
import { LogReadOnly, QuotaExceeded } from "../../packages/server/src/errors.ts";
import { makeBatch } from "../../packages/server/src/store/testing/frames.ts";
import { range, readThrough, sequencesOf } from "../../packages/server/src/store/testing/reading.ts";
import { append, makeEntry } from "../../packages/server/src/store/testing/writing.ts";
import { simulate } from "../support/crash-simulation.ts";
import { FIRST_FRAMES, FOLDER, isFrames, Place, write } from "../support/fake-log-place.ts";

const TICK_MS = 5000;

/** A log of entries 1..3 whose fourth could not be synced. */
async function failSync(place: Place) {
  const log = await place.open();
  await write(log, 1, 3);
  place.fail((operation) => operation.kind === "sync" && isFrames(operation), "EIO");
  const refused = append(log.writer, [makeEntry(4, { payload: "refused" })]);
  await expect(refused).rejects.toThrow(LogReadOnly);
  return log;
}

const payloadsOf = async (log: Awaited<ReturnType<Place["open"]>>) =>
  (await readThrough(log.reader)).entries.map(({ payload }) => payload);

describe("a log that is read-only after a failed sync", () => {
  test("opens again when the disk is well: what was refused is gone, what was acknowledged stays, also over a power cut", async () => {
    const place = new Place();
    const log = await failSync(place);
    place.heal();
    place.clock.advance(TICK_MS);
    await expect.poll(() => log.state.writer.kind).toBe("open");
    expect(place.events.at(-1)).toEqual({ kind: "writable" });
    await write(log, 4, 6);
    expect(await payloadsOf(log)).toEqual(range(1, 6).map((number) => `entry ${number}`));
    place.clock.forgetTimers();
    place.disk.cutPower("any-part-unsynced");
    await using again = await place.open();
    expect(again.report).toMatchObject({ lost: undefined, newEpoch: undefined, damagedEntries: 0 });
    expect(await payloadsOf(again)).toEqual(range(1, 6).map((number) => `entry ${number}`));
  });

  test("never shows what it refused, when the power goes just then", async () => {
    for (const operations of range(1, 14)) {
      const place = new Place();
      const log = await failSync(place);
      let left = operations;
      place.disk.plan = (): Fate => (left-- > 0 ? "done" : "killed");
      place.clock.advance(TICK_MS);
      await expect.poll(() => place.disk.isDead || log.state.writer.kind === "open").toBe(true);
      place.clock.forgetTimers();
      place.heal();
      place.disk.cutPower("any-part-unsynced");
      await using again = await place.open();
      expect(sequencesOf(await readThrough(again.reader)).slice(0, 3)).toEqual([1, 2, 3]);
      expect(again.report).toMatchObject({ lost: undefined, newEpoch: undefined });
    }
  });

  test("writes the page that it shares with what failed once more, and syncs it, before anything is acknowledged", async () => {
    const place = new Place();
    await using log = await failSync(place);
    const done: string[] = [];
    place.disk.plan = ({ kind, path }): Fate => {
      if (path === FIRST_FRAMES) done.push(kind);
      return "done";
    };
    place.clock.advance(TICK_MS);
    await expect.poll(() => log.state.writer.kind).toBe("open");
    expect(done.filter((kind) => kind !== "read")).toEqual(["open", "truncate", "write", "sync"]);
  });

  test("stays so while the disk fails, is tried ever more rarely, and says what is in the way", async () => {
    const place = new Place();
    await using log = await failSync(place);
    const tried: number[] = [];
    let tick = 0;
    place.disk.plan = (operation): Fate => {
      if (operation.kind !== "sync" || !isFrames(operation)) return "done";
      tried.push(tick);
      return { code: "EIO" };
    };
    for (tick = 1; tick <= 50; tick++) {
      place.clock.advance(TICK_MS);
      await turns();
    }
    expect(tried).toEqual([1, 3, 7, 15, 31, 47]);
    expect(log.state.writer).toMatchObject({ kind: "read-only", cause: expect.stringContaining("EIO") as unknown });
    expect(log.state.faults).toEqual([expect.stringMatching(/cannot open the log for writing again: EIO/u)]);
    expect(log.state.refusal).toMatch(/read-only since writing failed: EIO.*it opens again when it was verified/u);
    expect(await payloadsOf(log)).toEqual(range(1, 3).map((number) => `entry ${number}`));
  });

  test("stays so when its durable bytes do not prove themselves", async () => {
    const place = new Place();
    await using log = await failSync(place);
    place.heal();
    const bytes = place.disk.writtenBytesOf(FIRST_FRAMES);
    place.disk.shorten(FIRST_FRAMES, Math.floor(bytes.length / 4));
    place.clock.advance(TICK_MS);
    await expect.poll(() => log.state.faults).toEqual([expect.stringMatching(/prove themselves/u)]);
    expect(() => append(log.writer, [makeEntry(4)])).toThrow(LogReadOnly);
  });

  test("knows of producers what is durable, and no more", async () => {
    const place = new Place();
    await using log = await place.open();
    const { writer } = log;
    const send = (first: number) =>
      writer.append(writer.next, makeBatch(writer, [makeEntry(first)], { id: "p", first }));
    await send(1);
    place.fail((operation) => operation.kind === "sync" && isFrames(operation), "EIO");
    await expect(send(2)).rejects.toThrow(LogReadOnly);
    place.heal();
    place.clock.advance(TICK_MS);
    await expect.poll(() => log.state.writer.kind).toBe("open");
    expect(writer.producer("p")).toMatchObject({ lastProducerSequence: 1, lastSequence: 1 });
    expect([writer.next, writer.undone]).toEqual([2, 1]);
  });

  test("goes on with a new segment after the sync of its name had failed", async () => {
    const place = new Place({ segmentBytes: 200 });
    const log = await place.open();
    await write(log, 1, 3);
    place.fail(({ kind }) => kind === "sync-folder", "EIO");
    await expect(write(log, 4, 10)).rejects.toThrow(/syncing the folder failed/);
    const { sequence } = log.reader.head;
    const done: string[] = [];
    place.disk.plan = ({ kind, path }): Fate => {
      done.push(`${kind} ${path}`);
      return "done";
    };
    place.clock.advance(TICK_MS);
    await expect.poll(() => log.state.writer.kind).toBe("open");
    await write(log, sequence + 1, 12);
    // Whether its name is on disk is not known: it is made once more.
    const next = `${FOLDER}/${String(sequence + 1).padStart(20, "0")}.frames`;
    expect(done.filter((each) => each === `remove ${next}` || each === `create ${next}`)).toEqual([
      `remove ${next}`,
      `create ${next}`,
    ]);
    place.clock.forgetTimers();
    place.disk.cutPower("nothing-unsynced");
    await using again = await place.open();
    expect(sequencesOf(await readThrough(again.reader))).toEqual(range(1, 12));
  });

  test("goes on in a segment that had been made and has nothing yet", async () => {
    const place = new Place({ segmentBytes: 200 });
    const log = await place.open();
    place.disk.plan = (operation): Fate => {
      const isFirstOfLater = operation.kind === "sync" && isFrames(operation) && operation.path !== FIRST_FRAMES;
      return isFirstOfLater ? { code: "EIO" } : "done";
    };
    await expect(write(log, 1, 10)).rejects.toThrow(LogReadOnly);
    const { sequence } = log.reader.head;
    place.heal();
    place.clock.advance(TICK_MS);
    await expect.poll(() => log.state.writer.kind).toBe("open");
    await write(log, sequence + 1, 12);
    place.clock.forgetTimers();
    place.disk.cutPower("any-part-unsynced");
    await using again = await place.open();
    expect(again.report).toMatchObject({ newEpoch: undefined, lost: undefined });
    expect(sequencesOf(await readThrough(again.reader))).toEqual(range(1, 12));
  });

  test("keeps every promise, whatever fails and whenever the power goes: 12 seeds", async () => {
    let comebacks = 0;
    const onSync = (site: string): void => void (comebacks += site === "sync rewrite" ? 1 : 0);
    for (const seed of range(1, 12)) {
      const allowances = { retention: seed % 2 === 0, loss: false };
      expect(await simulate({ seed, lives: 5, allowances, isPersistent: true, onSync }), `seed ${seed}`).toEqual([]);
    }
    expect(comebacks).toBeGreaterThan(5);
  });

  test("is closed while it is being opened again, and leaves nothing behind", async () => {
    const place = new Place();
    const log = await failSync(place);
    const begun = new Promise<void>((resolve) => {
      place.disk.plan = ({ kind }): Fate => {
        if (kind === "truncate") resolve();
        return "done";
      };
    });
    place.clock.advance(TICK_MS);
    await begun;
    await log[Symbol.asyncDispose]();
    expect([place.clock.timers, log.state.writer.kind]).toEqual([0, "closed"]);
    await using again = await place.open();
    expect(again.reader.head.sequence).toBe(3);
  });
});

describe("a log with a quota", () => {
  /** Of a segment of few entries. It is there with the first of them, so the quota may be exceeded by one. */
  const INDEX_BYTES = 18_000;
  const options = { segmentBytes: 2000, quotaBytes: 80_000 };

  async function fill(place: Place) {
    const log = await place.open();
    const filling = write(log, 1, 1000);
    await expect(filling).rejects.toThrow(QuotaExceeded);
    return log;
  }

  test("refuses what would exceed it, and keeps what it has", async () => {
    const place = new Place(options);
    await using log = await fill(place);
    const { sequence } = log.reader.head;
    expect(log.state.diskBytes).toBeGreaterThan(80_000 - 200);
    expect(log.state.diskBytes).toBeLessThan(80_000 + INDEX_BYTES);
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, sequence));
    expect(log.state.refusal).toMatch(/its quota is 80000$/u);
    expect(() => append(log.writer, [makeEntry(1)])).toThrow(
      expect.objectContaining({
        facts: expect.not.objectContaining({ retryAfterMs: expect.anything() as unknown }) as unknown,
      }) as Error,
    );
  });

  test("counts what is on its way to the disk", async () => {
    const place = new Place({ quotaBytes: 40_000 });
    await using log = await place.open();
    const { writer } = log;
    const entries = range(1, 100).map((number) => makeEntry(number, { payload: "x".repeat(100) }));
    const pending = [append(writer, entries)];
    expect(() => {
      for (const _ of range(1, 3)) pending.push(append(writer, entries));
    }).toThrow(QuotaExceeded);
    expect(pending).toHaveLength(2);
    await Promise.all(pending);
  });

  test("takes more when retention has made room, and says that it will", async () => {
    const place = new Place({ ...options, retentionAgeMs: 60_000 });
    await using log = await fill(place);
    expect(() => append(log.writer, [makeEntry(1)])).toThrow(
      expect.objectContaining({ facts: expect.objectContaining({ retryAfterMs: 30_000 }) as unknown }) as Error,
    );
    const { sequence } = log.reader.head;
    place.clock.advance(120_000);
    await expect.poll(() => log.state.refusal).toBe("");
    await write(log, sequence + 1, sequence + 3);
    expect(place.disk.names(FOLDER).filter((name) => name.endsWith(".frames")).length).toBeLessThan(4);
  });
});

async function turns(): Promise<void> {
  for (const _ of range(1, 60)) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
