// Requests of a stream.

/** What is sent, when somebody says so. */
export class Outgoing<T> implements AsyncIterable<T> {
  #waiting: T[] = [];
  #isEnded = false;
  #wake: () => void = () => {};

  send(message: T): void {
    this.#waiting.push(message);
    this.#wake();
  }

  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const ready = this.#waiting;
      this.#waiting = [];
      yield* ready;
      if (this.#waiting.length > 0) continue;
      if (this.#isEnded) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
