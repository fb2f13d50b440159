// How much waits at the streams of one connection for a window or the socket, weighed against what those of all
// connections may have waiting.
//
// Each stream's handler is told to stop at a mark; but a thousand streams a connection, and any number of connections, whose
// peers open no window, would still hold more than a server has. A queue is only weighed when something was added to it:
// what is not counted yet is `STEP_BYTES` a connection at most.
import type { SharedBytes } from "./flow.ts";
import type { StreamTable } from "./stream-table.ts";

/** Weighing looks at every stream; in steps of this size it costs nothing beside sending that much. */
const STEP_BYTES = 256 * 1024;

export class SendQueues {
  readonly #streams: StreamTable;
  readonly #shared: SharedBytes;
  #weighedBytes = 0;
  #addedBytes = 0;

  constructor(streams: StreamTable, shared: SharedBytes) {
    this.#streams = streams;
    this.#shared = shared;
    shared.connections += 1;
  }

  /** The connection is over, and its streams are. */
  close(): void {
    this.settle();
    this.#shared.connections -= 1;
  }

  /** So many bytes had to wait. Returns whether the stream they wait at has to give way (F4 in flow.ts). */
  add(bytes: number): boolean {
    this.#addedBytes += bytes;
    if (this.#addedBytes < STEP_BYTES) return false;
    this.#weigh();
    if (!this.#shared.isOverdrawn(this.#weighedBytes)) return false;
    // Until there is room again, each one more is looked at.
    this.#addedBytes = STEP_BYTES;
    return true;
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
