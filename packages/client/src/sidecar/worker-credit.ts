// What a worker is ready to take, told to the server of each of its streams: a worker counts its deliveries from the first
// to the last, the server counts those of one stream.
//
//   credit = seen + window - sent
//
// WC1. The server is never told of more than the worker said: what is under way to the worker counts against its window, also
//      when it came by an earlier stream.
// WC2. What was taken back frees its place at once, as at the server, until the worker says anew how it is.
import { badRequest } from "./work-messages.ts";

/** As in the contract: a Flow. */
export interface Window {
  readonly seen: bigint;
  readonly window: number;
  readonly windowBytes: bigint;
}

export class WorkerCredit {
  /** Deliveries to the worker. */
  #sent = 0n;
  /** Those of earlier streams. */
  #before = 0n;
  #seen = 0n;
  /** seen + window of the worker's last flow. */
  #limit = 0n;
  #windowBytes = 0n;
  #isSet = false;

  /** The worker's number of its last delivery. */
  get sent(): bigint {
    return this.#sent;
  }

  /** How many more it would take. */
  get free(): number {
    return this.#limit > this.#sent ? Number(this.#limit - this.#sent) : 0;
  }

  /** A new stream: the server counts from 1 again. */
  restart(): void {
    this.#before = this.#sent;
  }

  /** Whether the server's numbers are the worker's. */
  get isPlain(): boolean {
    return this.#before === 0n;
  }

  /** @throws RpcError INVALID_ARGUMENT for a worker that has seen what it was not sent */
  set({ seen, window, windowBytes }: Window): void {
    if (seen > this.#sent) {
      throw badRequest("flow.seen", `${seen} deliveries cannot have been seen: ${this.#sent} were sent`);
    }
    this.#seen = seen;
    this.#limit = seen + BigInt(window);
    this.#windowBytes = windowBytes;
    this.#isSet = true;
  }

  /** One more is on its way. Returns its number for the worker. */
  deliver(): bigint {
    return ++this.#sent;
  }

  /** WC2 */
  takeBack(count: number): void {
    this.#limit += BigInt(count);
  }

  /** The worker's number of a delivery of this stream. */
  numberOf(sent: bigint): bigint {
    return this.#before + sent;
  }

  /** For the server of this stream (WC1); undefined: the worker has not said anything yet. */
  flow(): Window | undefined {
    if (!this.#isSet) return undefined;
    const seen = this.#seen > this.#before ? this.#seen - this.#before : 0n;
    const window = this.#limit - this.#before - seen;
    return { seen, window: window > 0n ? Number(window) : 0, windowBytes: this.#windowBytes };
  }
}
