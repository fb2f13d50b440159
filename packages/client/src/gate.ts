// Wakes one waiting task. What happened is kept elsewhere: the task looks again after each wake-up.

export class Gate {
  #wake: (() => void) | undefined;
  #isOpen = false;

  /** Resolves at the next `open`; at once when there was one since the last wait. */
  async wait(): Promise<void> {
    if (!this.#isOpen) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#isOpen = false;
    this.#wake = undefined;
  }

  open(): void {
    this.#isOpen = true;
    this.#wake?.();
  }
}
