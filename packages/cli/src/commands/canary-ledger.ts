// What a canary wrote, what was acknowledged, and what came back.
//
// K1. An entry is on the books from its writing until it was both acknowledged and seen; whatever comes back and is not on
//     the books is a duplicate.
// K2. Only an acknowledged entry can be missing: when a later one came before it, or when the reader was connected for
//     `graceMs` since the acknowledgement and did not get it. Nobody is accused of what a lost connection explains.
// K3. An entry that comes after a later one is out of order, and then no longer missing.
import { Latency, type LatencySummary } from "./canary-latency.ts";

/** An entry on the books. */
interface Flight {
  readonly writtenMs: number;
  acknowledgedMs: number | undefined;
  isSeen: boolean;
}

/** The state of the books. Counts are of entries since the start. */
export interface CanaryCounts {
  readonly written: number;
  readonly acknowledged: number;
  /** Each counted once. */
  readonly seen: number;
  /** Acknowledged, and not delivered though it should have been (K2). */
  readonly missing: number;
  readonly duplicates: number;
  readonly outOfOrder: number;
  /** With this run's stamp, but never written by it. */
  readonly unknown: number;
  /** Acknowledged, and neither seen nor missing yet. */
  readonly onTheWay: number;
  /** Holes that the server told of, and how many entries of the log they covered. */
  readonly gaps: number;
  readonly gapEntries: bigint;
}

/** From `write` to the acknowledgement, and from `write` to the delivery. */
export interface CanaryLatencies {
  readonly acknowledgement: LatencySummary;
  readonly delivery: LatencySummary;
}

export interface LedgerOptions {
  /** How long a connected reader may take to get an acknowledged entry. */
  readonly graceMs: number;
}

export class CanaryLedger {
  readonly #graceMs: number;
  readonly #flights = new Map<number, Flight>();
  readonly #total = { acknowledgement: new Latency(), delivery: new Latency() };
  readonly #recent = { acknowledgement: new Latency(), delivery: new Latency() };
  #written = 0;
  #acknowledged = 0;
  #seen = 0;
  #highestSeen = 0;
  #duplicates = 0;
  #outOfOrder = 0;
  #unknown = 0;
  #gaps = 0;
  #gapEntries = 0n;
  /** Since when the reader is connected; undefined: it is not. */
  #connectedMs: number | undefined;

  constructor(options: LedgerOptions) {
    this.#graceMs = options.graceMs;
  }

  /** Entries on the books. */
  get pending(): number {
    return this.#flights.size;
  }

  /** The number of the entry that is written now. */
  write(nowMs: number): number {
    const number = ++this.#written;
    this.#flights.set(number, { writtenMs: nowMs, acknowledgedMs: undefined, isSeen: false });
    return number;
  }

  /** Everything up to `through` is durable. */
  acknowledge(through: number, nowMs: number): void {
    while (this.#acknowledged < Math.min(through, this.#written)) {
      const number = ++this.#acknowledged;
      const flight = this.#flights.get(number);
      if (flight === undefined) continue;
      flight.acknowledgedMs = nowMs;
      for (const each of [this.#total, this.#recent]) each.acknowledgement.record(nowMs - flight.writtenMs);
      if (flight.isSeen) this.#flights.delete(number); // K1
    }
  }

  /** An entry came back. */
  see(number: number, nowMs: number): void {
    this.readerIsConnected(nowMs);
    if (!Number.isInteger(number) || number < 1 || number > this.#written) {
      this.#unknown++;
      return;
    }
    const flight = this.#flights.get(number);
    if (flight === undefined || flight.isSeen) {
      this.#duplicates++; // K1
      return;
    }
    if (number < this.#highestSeen) this.#outOfOrder++; // K3
    this.#highestSeen = Math.max(this.#highestSeen, number);
    this.#seen++;
    flight.isSeen = true;
    for (const each of [this.#total, this.#recent]) each.delivery.record(nowMs - flight.writtenMs);
    if (flight.acknowledgedMs !== undefined) this.#flights.delete(number);
  }

  /** The server told of a hole. */
  noteGap(entries: bigint): void {
    this.#gaps++;
    this.#gapEntries += entries;
  }

  readerIsConnected(nowMs: number): void {
    this.#connectedMs ??= nowMs;
  }

  readerIsDisconnected(): void {
    this.#connectedMs = undefined;
  }

  counts(nowMs: number): CanaryCounts {
    const { missing, onTheWay } = this.#judge(nowMs);
    return {
      written: this.#written,
      acknowledged: this.#acknowledged,
      seen: this.#seen,
      missing,
      duplicates: this.#duplicates,
      outOfOrder: this.#outOfOrder,
      unknown: this.#unknown,
      onTheWay,
      gaps: this.#gaps,
      gapEntries: this.#gapEntries,
    };
  }

  /** Since the start. */
  latencies(): CanaryLatencies {
    return summaryOf(this.#total);
  }

  /** Since it was last asked. */
  takeRecent(): CanaryLatencies {
    const summary = summaryOf(this.#recent);
    for (const each of Object.values(this.#recent)) each.clear();
    return summary;
  }

  /** Of what is acknowledged and did not come: what is missing by K2, and what is not. */
  #judge(nowMs: number): { missing: number; onTheWay: number } {
    let missing = 0;
    let onTheWay = 0;
    const connectedMs = this.#connectedMs ?? Number.POSITIVE_INFINITY;
    for (const [number, { acknowledgedMs, isSeen }] of this.#flights) {
      if (acknowledgedMs === undefined || isSeen) continue;
      const isOvertaken = number < this.#highestSeen;
      const isOverdue = nowMs - Math.max(acknowledgedMs, connectedMs) > this.#graceMs;
      if (isOvertaken || isOverdue) missing++;
      else onTheWay++;
    }
    return { missing, onTheWay };
  }
}

function summaryOf({ acknowledgement, delivery }: { acknowledgement: Latency; delivery: Latency }): CanaryLatencies {
  return { acknowledgement: acknowledgement.summary(), delivery: delivery.summary() };
}
