// What the writer and the readers of a log share: the chain of segments, the tail, the head.
//
// G1. All of it changes in one turn, when a group has become durable: no reader sees a part of a commit.
import type { Batch, Position } from "./contract.ts";
import type { SegmentChain } from "./chain.ts";
import type { Incidents } from "./events.ts";
import type { History } from "./history.ts";
import type { LabelDictionary } from "./labels.ts";
import type { Tail } from "./tail.ts";

export class LogCore {
  readonly name: string;
  readonly chain: SegmentChain;
  readonly tail: Tail;
  readonly history: History;
  readonly labels: LabelDictionary;
  /** Ascending; the last one is the present. */
  readonly epochs: readonly Position[];
  readonly #incidents: Incidents;
  readonly #listeners = new Set<() => void>();
  #head: Position;

  constructor(parts: {
    name: string;
    chain: SegmentChain;
    tail: Tail;
    history: History;
    labels: LabelDictionary;
    epochs: readonly Position[];
    incidents: Incidents;
  }) {
    this.name = parts.name;
    this.chain = parts.chain;
    this.tail = parts.tail;
    this.history = parts.history;
    this.labels = parts.labels;
    this.epochs = parts.epochs;
    this.#incidents = parts.incidents;
    this.#head = { epoch: parts.epochs.at(-1)!.epoch, sequence: parts.chain.open.last };
  }

  get head(): Position {
    return this.#head;
  }

  get headSequence(): number {
    return this.#head.sequence;
  }

  onHead(listener: () => void): () => void {
    // A wrapper of its own: the same function may listen twice.
    const own = () => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** G1. Batches that follow the head have become durable in the open segment. */
  publish(batches: readonly Batch[]): void {
    const index = this.chain.open.memoryIndex!;
    let count = 0;
    for (const batch of batches) {
      index.append(batch);
      this.tail.append(batch);
      count += batch.count;
    }
    this.#head = { epoch: this.#head.epoch, sequence: this.#head.sequence + count };
    for (const listener of this.#listeners) {
      try {
        listener();
      } catch (error) {
        // A reader's mistake is no failure of the commit, nor of the other readers.
        const why = error instanceof Error ? error.message : String(error);
        this.#incidents.fault(`a listener of the head failed: ${why}`);
      }
    }
  }
}
