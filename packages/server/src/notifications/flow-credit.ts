// How much one device may be sent: the window that it sets.
//
//   credit = seen + window - sent
//
// FC1. A flow is set: saying it again changes nothing beside what was sent in between. `seen` does not go back.
// FC2. By bytes, one notification goes where nothing else is under way: else a large one would wait for ever.
import type { CheckedFlow } from "./requests.ts";

export class FlowCredit {
  #sent = 0;
  #seen = 0;
  /** seen + window. */
  #limit = Number.POSITIVE_INFINITY;
  #windowBytes = 0;
  #bytesUnderWay = 0;
  /** Bytes of what was sent since there is a limit: those of the notification `#firstSize` and of those behind it. */
  #sizes: number[] = [];
  #firstSize = 0;

  /** @param flow undefined: no limit until one is set */
  constructor(flow: CheckedFlow | undefined) {
    if (flow !== undefined) this.set(flow);
  }

  /** @throws RangeError when more was seen than was sent; nothing changes then */
  set({ seen, window, windowBytes }: CheckedFlow): void {
    if (seen > this.#sent) throw new RangeError(`${seen} notifications cannot be seen: ${this.#sent} were sent`);
    if (this.#limit === Number.POSITIVE_INFINITY) this.#firstSize = this.#sent;
    this.#seen = Math.max(this.#seen, seen);
    const passed = Math.max(0, this.#seen - this.#firstSize);
    for (const size of this.#sizes.slice(0, passed)) this.#bytesUnderWay -= size;
    this.#sizes = this.#sizes.slice(passed);
    this.#firstSize += passed;
    this.#limit = this.#seen + window;
    this.#windowBytes = windowBytes;
  }

  /** Whether so many more may be sent. */
  allows(count: number): boolean {
    if (this.#sent + count > this.#limit) return false;
    return this.#windowBytes === 0 || this.#bytesUnderWay < this.#windowBytes;
  }

  send(bytes: number): void {
    this.#sent++;
    if (this.#limit === Number.POSITIVE_INFINITY) return;
    this.#sizes.push(bytes);
    this.#bytesUnderWay += bytes;
  }
}
