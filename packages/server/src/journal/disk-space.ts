// What is free on the disk that holds journals, so that a refusal comes before anything has changed. Owned by
// whoever opened them; one for all of them.
//
// D1. Between two measurements, what journals have appended since counts as taken.
// D2. A disk that does not say what it has free refuses nothing: the write itself will tell.
import type { Clock, Timer } from "../store/contract.ts";
import type { FileSystem } from "../store/file-system.ts";

/** While somebody appends, or was refused. */
const MEASURE_MS = 1000;

export class DiskSpace implements AsyncDisposable {
  readonly #parts: { readonly folder: string; readonly fileSystem: FileSystem; readonly clock: Clock };
  #free = Number.POSITIVE_INFINITY;
  #taken = 0;
  #timer: Timer | undefined;
  #measuring: Promise<void> | undefined;
  #isClosed = false;

  constructor(parts: { folder: string; fileSystem: FileSystem; clock: Clock }) {
    this.#parts = parts;
  }

  /** Bytes, as far as is known. */
  get free(): number {
    return this.#free - this.#taken;
  }

  /** So many bytes are about to be written. */
  take(bytes: number): void {
    this.#taken += bytes;
    this.watch();
  }

  /** Somebody wants to know: measures soon, unless that is planned already. */
  watch(): void {
    if (this.#isClosed) return;
    this.#timer ??= this.#parts.clock.setTimer(() => {
      this.#timer = undefined;
      void this.measure();
    }, MEASURE_MS);
  }

  /** Measures now. Never rejects. */
  measure(): Promise<void> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = undefined;
    });
    return this.#measuring;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#measuring;
  }

  async #measure(): Promise<void> {
    const { fileSystem, folder } = this.#parts;
    const before = this.#taken;
    try {
      this.#free = await fileSystem.freeBytes(folder);
      this.#taken -= before;
    } catch {
      this.#free = Number.POSITIVE_INFINITY;
    }
  }
}
