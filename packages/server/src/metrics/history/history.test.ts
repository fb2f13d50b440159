import { describe, expect, test } from "vitest";
import { PastSeries } from "../series.ts";
import { History } from "./history.ts";

const SECOND_NS = 1_000_000_000n;
const EVERYTHING = { fromNs: -(2n ** 63n), toNs: 2n ** 63n };

function described(key: string): PastSeries {
  return new PastSeries(key, { name: key, type: "gauge", unit: "", description: "", labels: [], origin: "" });
}

class Fixture {
  nowMs = 0;
  live = new Set<string>();
  readonly history: History;

  constructor({ keepMs = 60_000, bytesMax = 1e9 } = {}) {
    const nowMs = (): number => this.nowMs;
    this.history = new History({ keepMs, bytesMax, slabBytes: 512, nowMs, isLive: ({ key }) => this.live.has(key) });
  }

  /** A point each second, at its time. */
  write(id: number, count: number): void {
    for (let i = 0; i < count; i++) {
      this.nowMs += 1000;
      const timestampNs = BigInt(this.nowMs / 1000) * SECOND_NS;
      const tick = this.history.ticks.add(timestampNs, this.nowMs / 1000);
      this.history.append(id, tick, { value: Math.sin(this.nowMs), timestampNs, startNs: 0n, isStale: false });
    }
  }
}

describe("a history", () => {
  test("lets go what is too old, and says up to where", () => {
    const fixture = new Fixture();
    const { history } = fixture;
    fixture.live.add("a");
    const id = history.add(described("a"));
    fixture.write(id, 300);
    history.seal(id);
    history.expire();
    const points = history.points(id, EVERYTHING);
    const oldest = points[0]!.timestampNs / SECOND_NS;
    expect(points.at(-1)!.timestampNs).toBe(300n * SECOND_NS);
    expect(points).toHaveLength(Number(301n - oldest));
    // The last minute is there, and not much more.
    expect(oldest).toBeLessThanOrEqual(240n);
    expect(oldest).toBeGreaterThan(150n);
    expect(history.lostUntilNs).toBe((oldest - 1n) * SECOND_NS);
    expect(history.lostSequence).toBe(Number(oldest - 1n));
  });

  test("forgets a series with its last point, unless it is live; its number is given again", () => {
    const fixture = new Fixture();
    const { history } = fixture;
    fixture.live.add("b");
    const gone = history.add(described("a"));
    const live = history.add(described("b"));
    fixture.write(gone, 10);
    history.seal(gone);
    fixture.nowMs += 61_000;
    history.expire();
    expect(history.find("a")).toBeUndefined();
    expect(history.find("b")).toBe(live);
    expect(history.add(described("c"))).toBe(gone);
    expect(history.points(gone, EVERYTHING)).toEqual([]);
  });

  test("takes no more memory than it may: the oldest goes sooner", () => {
    const bounded = new Fixture({ keepMs: 1e9, bytesMax: 500_000 });
    const id = bounded.history.add(described("a"));
    bounded.live.add("a");
    for (let round = 0; round < 20; round++) {
      bounded.write(id, 1000);
      bounded.history.seal(id);
      bounded.history.expire();
    }
    expect(bounded.history.bytes).toBeLessThanOrEqual(500_000);
    expect(bounded.history.lostUntilNs).toBeGreaterThan(0n);
    expect(bounded.history.points(id, EVERYTHING).at(-1)!.timestampNs).toBe(20_000n * SECOND_NS);
  });
});
