import { ManualClock } from "@sluice/rpc/testing";
import { describe, expect, test } from "vitest";
import { type Rates, type Seat, Turns } from "./turns.ts";

const KIB = 1024;

/** Readers that always want more, and count what they got. */
class Readers {
  readonly clock = new ManualClock();
  readonly turns: Turns;
  readonly #read = new Map<string, number>();
  readonly #seats: Seat[] = [];

  constructor(rates: Rates) {
    this.turns = new Turns(this.clock, rates);
  }

  bytesOf(host: string): number {
    return this.#read.get(host) ?? 0;
  }

  /** Reads blocks of this size for ever, each in so many ms. */
  async readOn(host: string, blockBytes: number, readMs = 1): Promise<void> {
    const seat = this.turns.join(`${host}:4711`);
    this.#seats.push(seat);
    try {
      for (;;) {
        await seat.read(blockBytes, () => {
          this.#read.set(host, this.bytesOf(host) + blockBytes);
          return readMs === 0
            ? Promise.resolve()
            : new Promise<void>((resolve) => this.clock.setTimer(resolve, readMs));
        });
      }
    } catch (error) {
      expect(error).toMatchObject({ name: "AbortError" });
    }
  }

  /** Those who read end with the block that they have. */
  async leave(): Promise<void> {
    for (const seat of this.#seats) seat.leave();
    await this.clock.advanceInTurns(1);
  }
}

test("whose turn it is begins to read before `read` returns, so that the disk works while its caller sends", async () => {
  const turns = new Turns(new ManualClock());
  const begun: number[] = [];
  const ends = Promise.withResolvers<void>();
  const readers = Array.from({ length: 4 }, (_, i) => turns.join(`10.0.0.${i}:1`));
  const reads = readers.map((seat, i) =>
    seat.read(KIB, () => {
      begun.push(i);
      return ends.promise;
    }),
  );
  expect(begun).toEqual([0, 1, 2]);
  ends.resolve();
  await Promise.all(reads);
  expect(begun).toEqual([0, 1, 2, 3]);
  for (const seat of readers) seat.leave();
});

describe("fairness", () => {
  // Without a rate three reads run at once, and one download has one of them at most. In order of arrival it would be 0.02.
  test.each([
    { what: "the disk", rates: {}, shareMin: 0.24 },
    { what: "the server's rate", rates: { bytesPerSecond: 10_000 * KIB }, shareMin: 0.49 },
  ])("a peer with 50 downloads leaves a peer with one its part of $what", async ({ rates, shareMin }) => {
    const readers = new Readers(rates);
    const greedy = Array.from({ length: 50 }, () => readers.readOn("10.0.0.1", 256 * KIB));
    const modest = readers.readOn("10.0.0.2", 256 * KIB);
    await readers.clock.advanceInTurns(5_000);
    const share = readers.bytesOf("10.0.0.2") / (readers.bytesOf("10.0.0.1") + readers.bytesOf("10.0.0.2"));
    expect(share).toBeGreaterThan(shareMin);
    expect(share).toBeLessThan(0.51);
    await readers.leave();
    await Promise.all([...greedy, modest]);
  });

  test("turns are counted in bytes: small blocks are no disadvantage", async () => {
    const readers = new Readers({ bytesPerSecond: 10_000 * KIB });
    const all = [readers.readOn("10.0.0.1", 1024 * KIB, 0), readers.readOn("10.0.0.2", 16 * KIB, 0)];
    await readers.clock.advanceInTurns(20_000);
    expect(readers.bytesOf("10.0.0.2") / readers.bytesOf("10.0.0.1")).toBeGreaterThan(0.9);
    expect(readers.bytesOf("10.0.0.2") / readers.bytesOf("10.0.0.1")).toBeLessThan(1.1);
    await readers.leave();
    await Promise.all(all);
  });
});

describe("rates", () => {
  test("of the server: all together get it, and no more", async () => {
    const readers = new Readers({ bytesPerSecond: 1000 * KIB });
    const all = ["10.0.0.1", "10.0.0.2", "[::1]"].map((host) => readers.readOn(host, 64 * KIB));
    await readers.clock.advanceInTurns(10_000);
    const total = readers.bytesOf("10.0.0.1") + readers.bytesOf("10.0.0.2") + readers.bytesOf("[::1]");
    expect(total / KIB).toBeGreaterThan(9_900);
    expect(total / KIB).toBeLessThan(10_000 + 100 + 3 * 64);
    await readers.leave();
    await Promise.all(all);
    expect(readers.clock.timers).toBe(0);
  });

  test("of a peer: each gets its own, whatever the others do", async () => {
    const readers = new Readers({ bytesPerSecondPerPeer: 1000 * KIB });
    const all = ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"].map((host) => readers.readOn(host, 64 * KIB));
    await readers.clock.advanceInTurns(10_000);
    for (const host of ["10.0.0.1", "10.0.0.2"]) {
      expect(readers.bytesOf(host) / KIB).toBeGreaterThan(9_900);
      expect(readers.bytesOf(host) / KIB).toBeLessThan(10_000 + 100 + 64);
    }
    await readers.leave();
    await Promise.all(all);
    expect(readers.clock.timers).toBe(0);
  });

  test("of a peer cannot be had again by coming again; who has paid is forgotten", async () => {
    const clock = new ManualClock();
    const turns = new Turns(clock, { bytesPerSecondPerPeer: 100 * KIB });
    const first = turns.join("10.0.0.1:1");
    await first.read(200 * KIB, () => Promise.resolve());
    first.leave();

    const second = turns.join("10.0.0.1:2");
    let isRead = false;
    const reading = second.read(1, async () => void (isRead = true));
    await clock.advanceInTurns(1_800);
    expect(isRead).toBe(false);
    await clock.advanceInTurns(200);
    await reading;
    second.leave();

    clock.skip(60_000);
    turns.join("10.0.0.2:1").leave();
    expect(turns.peerCount).toBe(0);
  });
});

test("who leaves waits no longer, and holds nobody up", async () => {
  const clock = new ManualClock();
  const turns = new Turns(clock, { bytesPerSecond: 1 * KIB });
  const [early, late, other] = [turns.join("10.0.0.1:1"), turns.join("10.0.0.1:2"), turns.join("10.0.0.2:1")];
  await early.read(10 * KIB, () => Promise.resolve());
  const waiting = late.read(1 * KIB, () => Promise.reject(new Error("It left")));
  late.leave();
  await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
  await expect(late.read(1, () => Promise.resolve())).rejects.toMatchObject({ name: "AbortError" });
  expect(clock.timers).toBe(0);

  const reading = other.read(1 * KIB, () => Promise.resolve("read"));
  await clock.advanceInTurns(10_000);
  expect(await reading).toBe("read");
  for (const seat of [early, other]) seat.leave();
  expect(turns.peerCount).toBe(0);
});

test("three reads run at once, and one that failed makes room for the next", async () => {
  const turns = new Turns(new ManualClock());
  const seats = Array.from({ length: 5 }, (_, i) => turns.join(`10.0.0.${i}:1`));
  const running: ((error: Error) => void)[] = [];
  const reads = seats.map((seat) => seat.read(1, () => new Promise((_, reject) => running.push(reject))));
  await Promise.resolve();
  expect(running).toHaveLength(3);
  running[0]!(new Error("EIO"));
  await expect(reads[0]).rejects.toThrow("EIO");
  await Promise.resolve();
  expect(running).toHaveLength(4);
  running[1]!(new Error("EIO"));
  await expect(reads[1]).rejects.toThrow("EIO");
  await Promise.resolve();
  expect(running).toHaveLength(5);
  for (const [i, reject] of running.entries()) if (i > 1) reject(new Error("EIO"));
  await Promise.allSettled(reads);
});
