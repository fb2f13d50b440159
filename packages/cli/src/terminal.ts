// What a terminal gets and a pipe does not: colours and progress bars.
//
// T1. Nothing is drawn, and no escape sequence written, unless the stream is a terminal that can show it.
// T2. A progress bar is gone when something else is printed, and leaves nothing behind when it ends.
import { stripVTControlCharacters, styleText } from "node:util";

/** A stream to people: `process.stdout`, `process.stderr`, or a test's own. */
export type OutputStream = NodeJS.WritableStream & {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
};

export type Style = Parameters<typeof styleText>[0];

/** Puts a style on a text, or gives it back as it is. */
export type Paint = (style: Style, text: string) => string;

/** Colours for a terminal, unless NO_COLOR (https://no-color.org) is set, not empty, or the terminal is dumb. */
export function paintFor(stream: OutputStream, environment: NodeJS.ProcessEnv): Paint {
  if (!canDraw(stream, environment) || (environment["NO_COLOR"] ?? "") !== "") return (_style, text) => text;
  return (style, text) => styleText(style, text, { validateStream: false });
}

/** Progress of one job whose size is known, or not. */
export interface Progress {
  /** @param done so far, @param total all of it, both in the progress's unit. */
  update(done: number, total?: number): void;
  /** Takes the bar away. Idempotent. */
  end(): void;
}

export interface ProgressOptions {
  /** What is going on: "Verifying". */
  readonly label: string;
  /** How a number reads: 1048576 → "1.0 MiB". */
  readonly format?: (amount: number) => string;
  readonly environment: NodeJS.ProcessEnv;
  /** Monotonic ms; a test gives its own. */
  readonly nowMs?: () => number;
}

const REDRAW_MS = 100;
const BAR_WIDTH = 28;

/** A progress bar on a terminal; in a pipe it does nothing. It draws when told of progress: it owns no timer. */
export function openProgress(stream: OutputStream, options: ProgressOptions): Progress {
  if (!canDraw(stream, options.environment)) return { update: () => {}, end: () => {} };
  const nowMs = options.nowMs ?? (() => performance.now());
  const format = options.format ?? String;
  const paint = paintFor(stream, options.environment);
  const startedMs = nowMs();
  let drawnMs = Number.NEGATIVE_INFINITY;
  let isDrawn = false;

  function draw(done: number, total: number | undefined): void {
    const seconds = Math.max((nowMs() - startedMs) / 1000, 0.001);
    const rate = `${format(Math.round(done / seconds))}/s`;
    const amount = total === undefined ? format(done) : `${format(done)} of ${format(total)}`;
    const bar = total === undefined ? "" : ` ${paint("cyan", barOf(done, total))} ${percentOf(done, total)}`;
    const isUnderWay = total !== undefined && done > 0 && done < total;
    const left = isUnderWay ? `, ${formatSeconds(((total - done) / done) * seconds)} left` : "";
    const line = `${options.label}${bar} ${amount} ${rate}${left}`;
    stream.write(`\r\u001b[2K${clip(line, stream.columns ?? 80)}`);
    isDrawn = true;
  }

  return {
    update(done, total) {
      const now = nowMs();
      const isFinal = total !== undefined && done >= total;
      if (now - drawnMs < REDRAW_MS && !isFinal) return;
      drawnMs = now;
      draw(done, total);
    },
    end() {
      if (isDrawn) stream.write("\r\u001b[2K");
      isDrawn = false;
    },
  };
}

/** One line that is drawn again and again. */
export interface UpdatingLine {
  show(text: string): void;
  /** Leaves what was shown last. Idempotent. */
  end(): void;
}

/** A line that updates in place on a terminal that can do so, and else is printed anew. */
export function openLine(stream: OutputStream, environment: NodeJS.ProcessEnv): UpdatingLine {
  const isDrawn = canDraw(stream, environment);
  let isOpen = false;
  return {
    show(text) {
      stream.write(isDrawn ? `\r\u001b[2K${clip(text, stream.columns ?? 80)}` : `${text}\n`);
      isOpen = isDrawn;
    },
    end() {
      if (isOpen) stream.write("\n");
      isOpen = false;
    },
  };
}

/** 3700 → "1 h 1 min". */
export function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** 1536 → "1.5 KiB". */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let amount = bytes;
  let unit = 0;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${amount} B` : `${amount.toFixed(1)} ${units[unit]}`;
}

/** 1234567 → "1,234,567". */
export function formatCount(count: number | bigint): string {
  return count.toLocaleString("en-US");
}

/** "1 file", "2 files". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Whether a terminal is there that can be drawn on. */
export function canDraw(stream: OutputStream, environment: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && environment["TERM"] !== "dumb";
}

function barOf(done: number, total: number): string {
  const filled = total === 0 ? BAR_WIDTH : Math.min(BAR_WIDTH, Math.floor((done / total) * BAR_WIDTH));
  return "━".repeat(filled) + "╌".repeat(BAR_WIDTH - filled);
}

function percentOf(done: number, total: number): string {
  const percent = total === 0 ? 100 : Math.min(100, Math.floor((done / total) * 100));
  return `${String(percent).padStart(3)} %`;
}

// A line that wraps could not be erased again; a terminal that narrow gets no colours.
function clip(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  return plain.length < columns ? line : plain.slice(0, columns - 1);
}
