// SHA-256 off the event loop's thread, in one thread that is started on first use.
//
// HA1. Memory given to a hash belongs to the thread until its callback.
// HA2. The thread keeps no process alive. When it dies, every hash that it had fails; the next one starts another thread.
import { createHash } from "node:crypto";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { type HashAnswer, type HashOrder, updateHash } from "./hash-protocol.ts";

/** A hash of bytes that come one after the other. */
export interface StreamHash {
  /** @param spans start, end, start, end, … in `memory` @param done the memory may be used again (HA1) */
  update(memory: SharedArrayBuffer, spans: Uint32Array, done: () => void): void;
  /** In hex, of all that was given. Once, last of all calls. */
  digest(): Promise<string>;
  /** Nobody wants it any more. What was given still comes back by its callbacks. */
  forget(): void;
}

/** In this thread, at once: for few bytes. */
export function hashHere(): StreamHash {
  const hash = createHash("sha256");
  return {
    update(memory, spans, done) {
      updateHash(hash, memory, spans);
      done();
    },
    digest: () => Promise.resolve(hash.digest("hex")),
    forget() {},
  };
}

/** What is under way in the thread. */
interface Job {
  /** Callbacks of updates, oldest first. */
  readonly updates: (() => void)[];
  readonly resolve: (digest: string) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly jobs: Map<number, Job>;
  /** Set when it died. */
  failure: Error | undefined;
}

export class Hasher implements AsyncDisposable {
  #thread: Thread | undefined;
  #nextId = 1;

  openStream(): StreamHash {
    const id = this.#nextId++;
    const thread = this.#running();
    const { promise, job } = open(thread, id);
    // Whoever never asks for the digest does not hear of a failure either.
    promise.catch(() => {});
    return {
      update(memory, spans, done) {
        if (thread.failure !== undefined) {
          done();
          return;
        }
        job.updates.push(done);
        send(thread, { kind: "update", id, memory, spans });
      },
      digest() {
        send(thread, { kind: "digest", id });
        return promise;
      },
      forget: () => send(thread, { kind: "forget", id }),
    };
  }

  /** Of the whole file; `fd` stays open until then. Rejects when the file gets shorter, and when `signal` is aborted. */
  async hashFile(fd: number, size: number, signal?: AbortSignal): Promise<string> {
    signal?.throwIfAborted();
    const id = this.#nextId++;
    const thread = this.#running();
    const { promise } = open(thread, id);
    const forget = (): void => send(thread, { kind: "forget", id });
    signal?.addEventListener("abort", forget, { once: true });
    send(thread, { kind: "file", id, fd, size });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", forget);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const thread = this.#thread;
    if (thread === undefined) return;
    await thread.worker.terminate();
    this.#end(thread, new Error("The hashing thread was ended"));
  }

  #running(): Thread {
    return (this.#thread ??= this.#start());
  }

  #start(): Thread {
    // Beside this file, in the same form: source or compiled.
    const worker = new Worker(new URL(`./hash-thread${extname(import.meta.url)}`, import.meta.url));
    worker.unref();
    const thread: Thread = { worker, jobs: new Map(), failure: undefined };
    worker.on("message", (answer: HashAnswer) => take(thread, answer));
    worker.on("error", (error: Error) => this.#end(thread, error));
    return thread;
  }

  /** HA2 */
  #end(thread: Thread, failure: Error): void {
    if (this.#thread === thread) this.#thread = undefined;
    thread.failure = failure;
    for (const { updates, reject } of thread.jobs.values()) {
      for (const done of updates) done();
      reject(failure);
    }
    thread.jobs.clear();
  }
}

function open(thread: Thread, id: number): { promise: Promise<string>; job: Job } {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const job: Job = { updates: [], resolve, reject };
  thread.jobs.set(id, job);
  return { promise, job };
}

function send(thread: Thread, order: HashOrder): void {
  if (thread.failure === undefined && thread.jobs.has(order.id)) thread.worker.postMessage(order);
}

function take(thread: Thread, answer: HashAnswer): void {
  const job = thread.jobs.get(answer.id);
  if (job === undefined) return;
  switch (answer.kind) {
    case "updated":
      job.updates.shift()?.();
      return;
    case "digest":
      thread.jobs.delete(answer.id);
      job.resolve(answer.digest);
      return;
    case "failed":
      thread.jobs.delete(answer.id);
      job.reject(new Error(answer.reason));
      return;
    default:
      answer satisfies never;
  }
}
