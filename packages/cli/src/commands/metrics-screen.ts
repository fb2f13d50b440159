// Metrics on a terminal: a table that is drawn over itself, each series with its newest value and a sparkline.
//
// MS1. What is drawn is drawn once for each batch of points, in one write.
// MS2. What it keeps is bounded: SPARKS values of a series, and no more series than the terminal has rows.
import type { MetricPoint } from "@sluice/client";
import type { CommandContext } from "../output.ts";
import { canDraw, formatBytes, type OutputStream, type Paint, paintFor } from "../terminal.ts";

const SPARKS = 30;
const LEVELS = "▁▂▃▄▅▆▇█";
const ROWS = 24;

/** `name{label="value"}`, as Prometheus writes it. */
export function seriesName({ name, labels }: Pick<MetricPoint, "name" | "labels">): string {
  const pairs = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return pairs.length === 0 ? name : `${name}{${pairs.map(([key, value]) => `${key}="${value}"`).join(",")}}`;
}

/** A value for people: bytes as such, shares as percentages. */
export function formatValue(value: number, unit: string): string {
  if (unit === "By" && value >= 0) return formatBytes(Math.round(value));
  if (unit === "By/s" && value >= 0) return `${formatBytes(Math.round(value))}/s`;
  const text = Number.isInteger(value) ? String(value) : value.toPrecision(4);
  if (unit === "%") return `${text} %`;
  return unit === "" || unit === "1" || unit.startsWith("{") ? text : `${text} ${unit}`;
}

/** "p99" of 0.99, "p99.9" of 0.999. */
export function quantileName(quantile: number): string {
  return `p${Number((100 * quantile).toPrecision(6))}`;
}

interface Row {
  readonly title: string;
  readonly unit: string;
  readonly values: number[];
  isStale: boolean;
}

export class MetricsScreen {
  readonly #stream: OutputStream;
  readonly #paint: Paint;
  readonly #rows = new Map<string, Row>();
  #more = 0;
  #drawnLines = 0;
  #isDue = false;

  constructor(stream: OutputStream, paint: Paint) {
    this.#stream = stream;
    this.#paint = paint;
  }

  /** Each quantile has a row of its own; a histogram without any shows its count. */
  take(point: MetricPoint): void {
    const title = seriesName(point);
    const isCount = point.metricType === "histogram" || point.metricType === "summary";
    if (point.quantiles.length === 0) this.#put(title, { ...point, unit: isCount ? "" : point.unit });
    for (const { quantile, value } of point.quantiles) {
      this.#put(`${title} ${quantileName(quantile)}`, { value, unit: point.unit, stale: point.stale });
    }
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => this.#draw());
  }

  #put(title: string, { value, unit, stale }: Pick<MetricPoint, "value" | "unit" | "stale">): void {
    let row = this.#rows.get(title);
    if (row === undefined) {
      if (this.#rows.size >= this.#rowsMax) {
        this.#more++;
        return;
      }
      row = { title, unit, values: [], isStale: false };
      this.#rows.set(title, row);
    }
    row.isStale = stale;
    row.values.push(value);
    if (row.values.length > SPARKS) row.values.shift();
  }

  /** Leaves what was drawn last. */
  end(): void {
    if (this.#isDue) this.#draw();
  }

  get #rowsMax(): number {
    return Math.max(1, (this.#stream.rows ?? ROWS) - 2);
  }

  /** MS1. */
  #draw(): void {
    if (!this.#isDue) return;
    this.#isDue = false;
    const rows = [...this.#rows.values()];
    const width = Math.min(60, Math.max(...rows.map(({ title }) => title.length)));
    const lines = rows.map((row) => this.#lineOf(row, width));
    if (this.#more > 0) lines.push(this.#paint("dim", "and others, for which there is no room: name those you want"));
    const up = this.#drawnLines === 0 ? "" : `\u001b[${this.#drawnLines}A`;
    this.#stream.write(`${up}${lines.map((line) => `\r\u001b[2K${line}\n`).join("")}`);
    this.#drawnLines = lines.length;
  }

  #lineOf({ title, unit, values, isStale }: Row, width: number): string {
    const name = title.length > width ? `${title.slice(0, width - 1)}…` : title.padEnd(width);
    const value = isStale
      ? this.#paint("red", "stale".padStart(14))
      : formatValue(values.at(-1) ?? 0, unit).padStart(14);
    return `${name} ${value} ${this.#paint("cyan", sparkline(values))}`;
  }
}

/** The screen of a terminal; undefined: there is none to draw on. */
export function openMetricsScreen({ stdout, environment }: CommandContext): MetricsScreen | undefined {
  return canDraw(stdout, environment) ? new MetricsScreen(stdout, paintFor(stdout, environment)) : undefined;
}

/** Values between their least and their greatest. */
function sparkline(values: readonly number[]): string {
  const least = Math.min(...values);
  const span = Math.max(...values) - least;
  return values
    .map((value) => LEVELS[span === 0 ? 0 : Math.round(((value - least) / span) * (LEVELS.length - 1))])
    .join("");
}
