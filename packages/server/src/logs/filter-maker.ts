// Makes segment filters on a thread of its own (filter-thread.ts), for all logs of a server.
//
// FM1. The thread begins with the first filter and ends with the server. It keeps no process alive.
// FM2. One segment at a time, a piece at a time: what is under way is one piece and the bits of one filter.
// FM3. When the thread dies, the filter under way fails with its reason, and the next one begins a new thread.
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { FilterMaker } from "../store/filter-builder.ts";
import type { FilterAnswer, FilterOrder } from "./filter-protocol.ts";

interface Thread {
  readonly worker: Worker;
  /** Who waits for the answer to the last order. */
  waiting: PromiseWithResolvers<FilterAnswer> | undefined;
}

export class ThreadFilterMaker implements FilterMaker, AsyncDisposable {
  #thread: Thread | undefined = undefined;
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  make(frameBytes: number, pieces: AsyncIterable<Uint8Array<ArrayBuffer>>): Promise<Uint8Array> {
    const made = this.#last.then(() => this.#make(frameBytes, pieces));
    this.#last = made.catch(() => undefined);
    return made;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const thread = this.#thread;
    if (thread === undefined) return;
    this.#end(thread, new Error("The server ends"));
    await thread.worker.terminate();
  }

  async #make(frameBytes: number, pieces: AsyncIterable<Uint8Array<ArrayBuffer>>): Promise<Uint8Array> {
    if (this.#isClosed) throw new Error("The server ends");
    const thread = (this.#thread ??= this.#start());
    await this.#ask(thread, { kind: "begin", frameBytes });
    try {
      for await (const frames of pieces) await this.#ask(thread, { kind: "piece", frames }, [frames.buffer]);
    } catch (error) {
      if (this.#thread === thread) await this.#ask(thread, { kind: "drop" });
      throw error;
    }
    const answer = await this.#ask(thread, { kind: "finish" });
    if (answer.kind !== "made") throw new Error("The thread of filters made none");
    return answer.blocks;
  }

  #ask(thread: Thread, order: FilterOrder, transfer: ArrayBuffer[] = []): Promise<FilterAnswer> {
    if (this.#thread !== thread) return Promise.reject(new Error("The thread of filters has ended"));
    thread.waiting = Promise.withResolvers();
    thread.worker.postMessage(order, transfer);
    return thread.waiting.promise;
  }

  #start(): Thread {
    // Beside this file, in the same form: source or compiled.
    const worker = new Worker(new URL(`./filter-thread${extname(import.meta.url)}`, import.meta.url));
    worker.unref();
    const thread: Thread = { worker, waiting: undefined };
    worker.on("message", (answer: FilterAnswer) => thread.waiting?.resolve(answer));
    worker.on("error", (error: Error) => this.#end(thread, error));
    worker.on("exit", (code) => this.#end(thread, new Error(`The thread of filters ended with code ${code}`)));
    return thread;
  }

  /** FM3. */
  #end(thread: Thread, why: Error): void {
    if (this.#thread === thread) this.#thread = undefined;
    thread.waiting?.reject(why);
    thread.waiting = undefined;
  }
}
