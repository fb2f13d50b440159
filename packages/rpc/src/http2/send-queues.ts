// How much waits at the streams of one connection for a window or the socket, weighed against what those of all
// connections may have waiting.
//
// Each stream's handler is told to stop at a mark; but a thousand streams a connection, and any number of connections, whose
// peers open no window, would still hold more than a server has. A queue is only weighed when something was added to it:
// what is not counted yet is `STEP_BYTES` a connection at most.
import type { Holder, SharedBytes } from "./flow.ts";
import type { StreamTable } from "./stream-table.ts";

/** Weighing looks at every stream; in steps of this size it costs nothing beside sending that much. */
const STEP_BYTES = 256 * 1024;

export class SendQueues implements Holder {
  readonly #streams: StreamTable;
  readonly #shared: SharedBytes;
  readonly #giveWay: () => void;
  #weighedBytes = 0;
  #addedBytes = 0;

  /** @param giveWay resets the stream where most waits. */
  constructor(streams: StreamTable, shared: SharedBytes, giveWay: () => void) {
    this.#streams = streams;
    this.#shared = shared;
    this.#giveWay = giveWay;
    shared.join(this);
  }

  /** The connection is over, and its streams are. */
  close(): void {
    this.settle();
    this.#shared.leave(this);
  }

  get heldBytes(): number {
    return this.#weighedBytes;
  }

  giveWay(): void {
    this.#giveWay();
    this.#weigh();
  }

  /** So many bytes had to wait: whatever waits with most may be reset for it (F4 in flow.ts). */
  add(bytes: number): void {
    this.#addedBytes += bytes;
    if (this.#addedBytes < STEP_BYTES && !this.#shared.isOverdrawn) return;
    this.#weigh();
    this.#shared.relieve();
  }

  /** Something was sent, or a stream is over. */
  settle(): void {
    if (this.#weighedBytes > 0) this.#weigh();
  }

  #weigh(): void {
    let bytes = 0;
    for (const stream of this.#streams.all()) bytes += stream.queuedBytes;
    this.#shared.bytes += bytes - this.#weighedBytes;
    this.#weighedBytes = bytes;
    this.#addedBytes = 0;
  }
}
