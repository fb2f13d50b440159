// An async iterable that a test fills by hand, as a server would fill a stream.

type Step<T> =
  | { readonly kind: "value"; readonly value: T }
  | { readonly kind: "end" }
  | { readonly kind: "error"; readonly error: unknown };

export class Feed<T> implements AsyncIterable<T> {
  readonly #steps: Step<T>[] = [];
  #wake: (() => void) | undefined;
  readonly #signal: AbortSignal;

  /** @param signal makes the pending read throw, as a call's signal does. */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#wake?.(), { once: true });
  }

  get isCancelled(): boolean {
    return this.#signal.aborted;
  }

  push(...values: T[]): void {
    for (const value of values) this.#steps.push({ kind: "value", value });
    this.#wake?.();
  }

  end(): void {
    this.#steps.push({ kind: "end" });
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#steps.push({ kind: "error", error });
    this.#wake?.();
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return {
      next: async () => {
        for (;;) {
          this.#signal.throwIfAborted();
          const step = this.#steps.shift();
          if (step?.kind === "value") return { done: false, value: step.value };
          if (step?.kind === "end") return { done: true, value: undefined };
          if (step?.kind === "error") throw step.error;
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      },
    };
  }
}
