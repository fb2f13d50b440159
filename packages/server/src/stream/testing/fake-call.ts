// A call without a server.
import type { DescMethod } from "@bufbuild/protobuf";
import { LogService } from "@sluice/api";
import type { Call, Peer } from "@sluice/rpc";
import { Metadata } from "@sluice/rpc";

/** A call that the test ends. */
export class FakeCall implements Call {
  readonly method: DescMethod;
  readonly peer: Peer;
  readonly requestMetadata = new Metadata();
  readonly responseMetadata = new Metadata();
  readonly responseTrailers = new Metadata();
  readonly deadlineMs = undefined;
  isEnded = false;
  hasHeaders = false;
  readonly #abort = new AbortController();
  readonly #listeners: ((code: 0) => void)[] = [];

  constructor(method: DescMethod = LogService.method.streamLogs, address = "127.0.0.1:1") {
    this.method = method;
    this.peer = { address, isEncrypted: false };
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  onEnd(listener: (code: 0) => void): void {
    if (this.isEnded) listener(0);
    else this.#listeners.push(listener);
  }

  sendHeaders(): void {
    this.hasHeaders = true;
  }

  holdHeaders(): void {}

  end(): void {
    this.isEnded = true;
    this.#abort.abort();
    for (const listener of this.#listeners.splice(0)) listener(0);
  }
}
