// Reads sealed segments in the background, slowly, and proves every page: damage is found while there may still be a
// copy of the data elsewhere, not when somebody needs it.
//
// X1. One page at a time is read, and after it the scrubber rests as long as `bytesPerSecond` asks for: it never competes
//     with readers.
import type { SegmentChain } from "./chain.ts";
import type { Clock, FrameCodec, Timer } from "./contract.ts";
import type { Incidents } from "./events.ts";
import type { PageTable } from "./page-table.ts";
import type { Segment } from "./segment.ts";
import { BufferPools } from "./buffer-pool.ts";
import { PAGE_BYTES } from "./page-table.ts";
import { isIntact, markDamage, readProvable, takeProof } from "./proof.ts";
import { IndexReplaced } from "./segment.ts";

export interface ScrubberOptions {
  readonly bytesPerSecond: number;
  /** Between the end of a round over all segments and the next one. */
  readonly restMs: number;
}

export class Scrubber {
  readonly #chain: SegmentChain;
  readonly #codec: FrameCodec;
  readonly #clock: Clock;
  readonly #incidents: Incidents;
  readonly #options: ScrubberOptions;
  readonly #buffers = new BufferPools([PAGE_BYTES], { freeBytesMax: PAGE_BYTES });
  /** Entries before it were proven in this round. */
  #next = 0;
  #timer: Timer | undefined;
  #working: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(parts: {
    chain: SegmentChain;
    codec: FrameCodec;
    clock: Clock;
    incidents: Incidents;
    options: ScrubberOptions;
  }) {
    this.#chain = parts.chain;
    this.#codec = parts.codec;
    this.#clock = parts.clock;
    this.#incidents = parts.incidents;
    this.#options = parts.options;
  }

  start(): void {
    this.#wake(this.#options.restMs);
  }

  /** Stops; resolves when nothing is being read any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#working;
  }

  #wake(ms: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#clock.setTimer(() => {
      this.#working = this.#step();
    }, ms);
  }

  async #step(): Promise<void> {
    const { bytesPerSecond, restMs } = this.#options;
    const segment = this.#chain.all.find((each) => each.last >= this.#next && each.sealedAtNs !== undefined);
    if (segment === undefined) {
      this.#next = 0;
      this.#wake(restMs);
      return;
    }
    let bytes = 0;
    try {
      const table = await segment.table();
      const page = table.find(Math.max(0, this.#next - segment.first));
      bytes = await this.#prove(segment, table, page);
      this.#next = segment.first + table.firstEntry(page) + table.entries(page);
    } catch (error) {
      if (!(error instanceof IndexReplaced)) this.#passOver(segment, error);
    }
    this.#wake(Math.ceil((bytes * 1000) / bytesPerSecond));
  }

  /** What cannot be read now is tried again in the next round; what retention took meanwhile is no fault. */
  #passOver(segment: Segment, error: unknown): void {
    this.#next = segment.last + 1;
    if (!this.#chain.all.includes(segment)) return;
    const why = error instanceof Error ? error.message : String(error);
    this.#incidents.fault(`cannot verify segment ${segment.first}: ${why}`);
  }

  /** Returns how many bytes were read. */
  async #prove(segment: Segment, table: PageTable, page: number): Promise<number> {
    const proof = takeProof(segment, table, page, page + 1);
    const bytes = this.#buffers.take(proof.end - proof.start);
    const [isRead, columns] = await Promise.all([
      readProvable(segment, proof, bytes),
      segment.columns(table, page, page + 1),
    ]);
    if (!isRead || !isIntact(segment, proof, bytes)) {
      for (let i = 0; i <= columns.capacity; i++) {
        columns.starts[i]! -= proof.start;
      }
      const read = { bytes: isRead ? bytes : bytes.subarray(0, 0), columns };
      markDamage(segment, proof, read, this.#codec, this.#incidents.noteDamage);
    }
    this.#buffers.give(bytes);
    return proof.end - proof.start;
  }
}
