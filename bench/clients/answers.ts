// Whether the answers of a run were good ones. Header blocks are only counted while it is measured; afterwards each
// different one is read.

import { readFields } from "./hpack.ts";

export class Answers {
  readonly #blocks = new Map<string, number>();

  count(block: Buffer): void {
    const key = block.toString("latin1");
    this.#blocks.set(key, (this.#blocks.get(key) ?? 0) + 1);
  }

  /** @throws Error unless exactly `calls` calls ended with status OK. */
  verify(calls: number): void {
    let succeeded = 0;
    for (const [block, count] of this.#blocks) {
      const fields = readFields(Buffer.from(block, "latin1"));
      const status = fields.get("grpc-status");
      if (status === undefined) continue;
      if (status !== "0") throw new Error(`A call ended with status ${status}: ${fields.get("grpc-message") ?? ""}`);
      succeeded += count;
    }
    if (succeeded !== calls) throw new Error(`${succeeded} of ${calls} calls ended with status OK`);
  }
}
