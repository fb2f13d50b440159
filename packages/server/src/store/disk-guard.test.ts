import { afterEach, describe, expect, test } from "vitest";
import { ManualClock } from "@sluice/rpc/testing";
import type { FileSystem } from "./file-system.ts";
import { DiskGuard, type GuardedLog } from "./disk-guard.ts";
import { nodeFileSystem } from "./file-system-node.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { drain, range, sequencesOf } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

const MIB = 1024 * 1024;

/** A log of segments of 10 MiB each, sealed at these times. */
class Shelf implements GuardedLog {
  reason: string | undefined;
  readonly sealed: bigint[];
  readonly #disk: Disk;

  constructor(disk: Disk, ...sealed: bigint[]) {
    this.#disk = disk;
    this.sealed = sealed;
  }

  get oldestSealedAtNs(): bigint | undefined {
    return this.sealed[0];
  }

  async dropOldest(): Promise<number> {
    if (this.#disk.isStuck || this.sealed.shift() === undefined) return 0;
    if (!this.#disk.isHeldOpen) this.#disk.free += 10 * MIB;
    return 10 * MIB;
  }

  hold(why: string | undefined): void {
    this.reason = why;
  }
}

class Disk {
  free = 0;
  /** What is removed comes free later: somebody has it open. */
  isHeldOpen = false;
  /** Nothing can be removed. */
  isStuck = false;
  fault: Error | undefined;
  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    freeBytes: () => (this.fault === undefined ? Promise.resolve(this.free) : Promise.reject(this.fault)),
  };
}

const guards: DiskGuard[] = [];
afterEach(async () => {
  for (const guard of guards.splice(0)) await guard[Symbol.asyncDispose]();
});

function guardOf(disk: Disk) {
  const clock = new ManualClock();
  const faults: string[] = [];
  const { fileSystem } = disk;
  const guard = new DiskGuard({ folder: "/data", fileSystem, clock, onFault: (text) => faults.push(text) });
  guards.push(guard);
  return { guard, clock, faults };
}

describe("a disk with too little free", () => {
  test("costs the oldest segments of all logs, no more than are needed", async () => {
    const disk = new Disk();
    const { guard } = guardOf(disk);
    const old = new Shelf(disk, 1n, 4n, 9n);
    const young = new Shelf(disk, 2n, 3n, 8n);
    guard.add(old, 35 * MIB);
    guard.add(young, 35 * MIB);
    await guard.look();
    expect([old.sealed, young.sealed]).toEqual([[9n], [8n]]);
    expect([old.reason, young.reason]).toEqual([undefined, undefined]);
    await guard.look();
    expect([old.sealed, young.sealed]).toEqual([[9n], [8n]]);
  });

  test("costs nothing of logs that want less, nor of what was not asked to be watched", async () => {
    const disk = new Disk();
    disk.free = 20 * MIB;
    const { guard } = guardOf(disk);
    const modest = new Shelf(disk, 1n);
    const spare = new Shelf(disk, 5n, 6n);
    guard.add(modest, 10 * MIB);
    guard.add(spare, 30 * MIB);
    await guard.look();
    expect([modest.sealed, spare.sealed]).toEqual([[1n], [6n]]);
  });

  test("is not asked for the same bytes twice while readers still hold them open", async () => {
    const disk = new Disk();
    disk.isHeldOpen = true;
    const { guard } = guardOf(disk);
    const log = new Shelf(disk, 1n, 2n, 3n);
    guard.add(log, 10 * MIB);
    await guard.look();
    expect(log.sealed).toEqual([2n, 3n]);
    expect(log.reason).toBeUndefined();
  });

  test("stops the writing when nothing is left to remove, and lets it go on when there is room again", async () => {
    const disk = new Disk();
    const { guard, clock } = guardOf(disk);
    const log = new Shelf(disk, 1n);
    guard.add(log, 20 * MIB);
    await guard.look();
    expect(log.sealed).toEqual([]);
    expect(log.reason).toBe("the disk has 0 bytes free, less than 20971520");
    disk.free = 20 * MIB;
    clock.advance(1000);
    await expect.poll(() => log.reason).toBeUndefined();
  });

  test("stops the writing of a log whose segments cannot be removed, after the others have given theirs", async () => {
    const disk = new Disk();
    disk.isStuck = true;
    const { guard } = guardOf(disk);
    const log = new Shelf(disk, 1n, 2n);
    guard.add(log, 20 * MIB);
    await guard.look();
    expect(log.reason).toMatch(/less than 20971520/u);
  });
});

test("a disk that does not say what it has free stops nobody, and is told of once", async () => {
  const disk = new Disk();
  disk.fault = new Error("EIO: statfs");
  const { guard, faults } = guardOf(disk);
  const log = new Shelf(disk, 1n);
  guard.add(log, MIB);
  await guard.look();
  await guard.look();
  expect(faults).toEqual(["cannot find out how much of the disk is free: EIO: statfs"]);
  expect([log.sealed, log.reason]).toEqual([[1n], undefined]);
});

test("without a log to watch nothing is looked at, and no timer is armed", async () => {
  const disk = new Disk();
  disk.fault = new Error("nobody asks");
  const { guard, clock, faults } = guardOf(disk);
  await guard.look();
  expect([faults, clock.timers]).toEqual([[], 0]);
});

test("a reader that was behind hears exactly what went for space, and writers when they are stopped", async () => {
  await using place = await openEmbeddedPlace({ segmentBytes: 300, tailBytes: 100, historyBytesMax: 100 });
  await using log = await place.open();
  // Blocks of the tail hold 2,048 entries; all but the last must be read from disk.
  for (const part of range(0, 4)) {
    await append(
      log.writer,
      range(1, 2048).map((i) => makeEntry(part * 2048 + i)),
    );
  }
  const slow = log.reader.scan(0);
  const first = await slow.next(1);
  expect(first).toMatchObject({ kind: "entries", first: 1 });
  const read = first?.kind === "entries" ? first.last : 0;

  const disk = new Disk();
  const { guard } = guardOf(disk);
  guard.add(log, 500_000);
  await guard.look();
  const kept = log.reader.first;
  expect(kept).toBeGreaterThan(read + 1);
  const rest = await drain(slow, 1_000_000);
  slow.close();
  // What it had in hand before it is still given.
  const [gap] = rest.gaps;
  expect(rest.gaps).toEqual([{ kind: "gap", first: gap?.first, last: kept - 1, reason: "retention" }]);
  expect(sequencesOf(rest)).toEqual([...range(read + 1, (gap?.first ?? 0) - 1), ...range(kept, 10_240)]);
  const removed = place.events.filter((event) => event.kind === "segment-removed");
  expect(new Set(removed.map(({ reason }) => reason))).toEqual(new Set(["space"]));

  while (log.oldestSealedAtNs !== undefined) await log.dropOldest();
  await guard.look();
  expect(() => append(log.writer, [makeEntry(1)])).toThrow(
    /^Cannot append to log "default": the disk has 0 bytes free/u,
  );
  expect(await log.dropOldest()).toBe(0);
  disk.free = 500_000;
  await guard.look();
  await append(log.writer, [makeEntry(1)]);
  expect(log.reader.head.sequence).toBe(10_241);
});
