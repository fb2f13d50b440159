// How far a run is, on a terminal as a bar that stays where it is, elsewhere as a line now and then.
import { performance } from "node:perf_hooks";

const BAR_WIDTH = 30;
const TERMINAL_EVERY_MS = 200;
const PIPE_EVERY_MS = 15_000;

/** "500", "20k", "10M". @throws RangeError */
export function parseCount(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kM]?)$/.exec(text);
  const count = Number(match?.[1]) * ({ k: 1000, M: 1e6 }[match?.[2] ?? ""] ?? 1);
  if (Number.isInteger(count) && count > 0) return count;
  throw new RangeError(`Cannot run "${text}" inputs: give a number such as 500, 20k or 10M`);
}

export class Progress {
  readonly #inputs: number;
  readonly #startMs = performance.now();
  readonly #targets = new Map<string, { inputs: number; ms: number }>();
  #done = 0;
  #shownMs = performance.now();

  constructor(inputs: number) {
    this.#inputs = inputs;
  }

  add(target: string, inputs: number, ms: number): void {
    const sum = this.#targets.get(target) ?? { inputs: 0, ms: 0 };
    this.#targets.set(target, { inputs: sum.inputs + inputs, ms: sum.ms + ms });
    this.#done += inputs;
    const nowMs = performance.now();
    if (nowMs - this.#shownMs < (process.stdout.isTTY ? TERMINAL_EVERY_MS : PIPE_EVERY_MS)) return;
    this.#shownMs = nowMs;
    process.stdout.write(process.stdout.isTTY ? `\r${this.#line()}` : `${this.#line()}\n`);
  }

  /** What was run, by target: inputs, and how many a second in one process. */
  finish(): void {
    process.stdout.write(`${process.stdout.isTTY ? "\r" : ""}${this.#line()}\n`);
    for (const [target, { inputs, ms }] of this.#targets) {
      const rate = Math.round(inputs / (ms / 1000));
      process.stdout.write(
        `${target.padEnd(14)}${String(inputs).padStart(10)} inputs${String(rate).padStart(8)}/s a process\n`,
      );
    }
  }

  #line(): string {
    const part = Math.min(1, this.#done / this.#inputs);
    const bar = "█".repeat(Math.round(part * BAR_WIDTH)).padEnd(BAR_WIDTH, "░");
    const seconds = (performance.now() - this.#startMs) / 1000;
    return `${bar} ${this.#done} of ${this.#inputs}, ${Math.round(this.#done / seconds)}/s, ${Math.round(seconds)} s `;
  }
}
