// How long what goes to many is under way to each of them.

/** Of milliseconds, up to 60 s: a million samples a second cannot be kept. */
class Histogram {
  readonly #counts = new Uint32Array(60_001);
  #total = 0;

  add(ms: number, count: number): void {
    this.#counts[Math.min(60_000, Math.max(0, Math.ceil(ms)))]! += count;
    this.#total += count;
  }

  percentile(part: number): number {
    let seen = 0;
    for (const [ms, count] of this.#counts.entries()) {
      seen += count;
      if (seen >= part * this.#total) return ms;
    }
    return 60_000;
  }
}

/** When each message was sent, and its sending answered. */
export class DeliveryTimes {
  readonly appended: number[] = [];
  readonly acknowledged: number[] = [];
  readonly sinceAck = new Histogram();
  readonly sinceAppend = new Histogram();
  deliveries = 0;

  /** A follower has the entries from..to. */
  deliver(from: number, to: number, nowMs: number): void {
    this.deliveries += to - from;
    for (let entry = from; entry < to; entry++) {
      this.sinceAppend.add(nowMs - (this.appended[entry] ?? nowMs), 1);
      this.sinceAck.add(nowMs - (this.acknowledged[entry] ?? nowMs), 1);
    }
  }
}
