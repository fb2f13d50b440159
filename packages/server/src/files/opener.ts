// Opens files for those who read many, in threads of their own.
//
// OP1. A folder that is shared has its thread, up to `THREADS_MAX`: a network's file system that takes its time to open a file holds up
//      who opens files there, neither the event loop nor the threads that everything else writes with. (What is large is then read by
//      these all the same, `READS_MAX` of turns.ts at once.)
// OP2. What is asked for in one turn of the event loop goes to a thread in one message.
// OP3. A thread is started on first use and keeps no process alive. When it dies, what it was asked for fails, and the next
//      one starts another.
// OP4. What a thread has opened it closes (OT2 in open-thread.ts), unless it has ended before.
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { FilePath, FileRoot } from "./file-path.ts";
import type { OpenAnswer, OpenOrder } from "./open-protocol.ts";
import {
  closeFd,
  explainFailure,
  isDescriptorWalk,
  OpenFile,
  openInside,
  placeOf,
  refuseFolder,
} from "./open-inside.ts";

const THREADS_MAX = 4;
/** Files up to here are read while they are opened: the way to a thread and back costs more than their bytes. */
export const SMALL_BYTES = 64 * 1024;

export class Opener implements AsyncDisposable {
  readonly #roots: readonly FileRoot[];
  readonly #threads: readonly OpenThread[];

  constructor(roots: readonly FileRoot[]) {
    this.#roots = roots;
    this.#threads = Array.from({ length: Math.min(roots.length, THREADS_MAX) }, () => new OpenThread());
  }

  /**
   * Opens a file for reading. @param options `contentsMax`: what has no more bytes is read as well
   * @throws PermissionDenied, LimitExceeded (no more descriptors), InvalidRequest (a folder)
   */
  async openFile(
    path: FilePath,
    { contentsMax, field = "file_path" }: { readonly contentsMax: number; readonly field?: string },
  ): Promise<OpenFile> {
    const opened = (await this.#openAtOnce(path, contentsMax)) ?? (await openInside(path));
    return await refuseFolder(opened, path, field);
  }

  /** undefined: it has to be walked to. */
  async #openAtOnce(path: FilePath, contentsMax: number): Promise<OpenFile | undefined> {
    const place = isDescriptorWalk ? placeOf(path) : undefined;
    const thread = this.#threads[this.#roots.indexOf(path.root) % THREADS_MAX];
    if (place === undefined || thread === undefined) return undefined;
    const answer = await thread.ask({ kind: "open", place, contentsMax });
    switch (answer.kind) {
      case "opened":
        return new OpenFile(answer, (fd) => thread.close(fd));
      case "elsewhere":
      case "closed":
        return undefined;
      case "failed":
        throw explainFailure(answer);
      default:
        return answer satisfies never;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread[Symbol.asyncDispose]()));
  }
}

/** Of a union, each of its types. */
type Unnumbered<T> = T extends unknown ? Omit<T, "id"> : never;

class OpenThread implements AsyncDisposable {
  #worker: Worker | undefined;
  #orders: OpenOrder[] = [];
  readonly #asked = new Map<number, PromiseWithResolvers<OpenAnswer>>();
  #lastId = 0;
  #isEnded = false;

  ask(order: Unnumbered<OpenOrder>): Promise<OpenAnswer> {
    if (this.#isEnded) return Promise.reject(hasEnded());
    const id = ++this.#lastId;
    const asked = Promise.withResolvers<OpenAnswer>();
    this.#asked.set(id, asked);
    // OP2
    if (this.#orders.push({ ...order, id }) === 1) queueMicrotask(() => this.#send());
    return asked.promise;
  }

  /** OP4 */
  async close(fd: number): Promise<void> {
    if (this.#isEnded) await closeFd(fd);
    else await this.ask({ kind: "close", fd });
  }

  #send(): void {
    const orders = this.#orders;
    if (orders.length === 0) return;
    this.#orders = [];
    this.#worker ??= this.#start();
    this.#worker.postMessage(orders);
  }

  #start(): Worker {
    // Beside this file, in the same form: source or compiled. What it has opened is in use also when it has died.
    const worker = new Worker(new URL(`./open-thread${extname(import.meta.url)}`, import.meta.url), {
      trackUnmanagedFds: false,
    });
    worker.unref();
    worker.on("message", (answers: readonly OpenAnswer[]) => {
      for (const answer of answers) {
        this.#asked.get(answer.id)?.resolve(answer);
        this.#asked.delete(answer.id);
      }
    });
    worker.on("error", (error: Error) => this.#end(error));
    return worker;
  }

  /** OP3 */
  #end(failure: Error): void {
    this.#worker = undefined;
    this.#orders = [];
    for (const { reject } of this.#asked.values()) reject(failure);
    this.#asked.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const worker = this.#worker;
    if (worker !== undefined && !this.#isEnded) {
      const ended = new Promise((resolve) => worker.once("exit", resolve));
      void this.ask({ kind: "end" }).catch(() => {});
      await ended;
    }
    this.#isEnded = true;
    this.#end(hasEnded());
  }
}

function hasEnded(): Error {
  return new Error("The opening thread was ended");
}
