// The experiment as an SVG: jobs beyond control over time, one line for each way, and the figures below.
import type { Measures, Step } from "./measures.ts";
import { type Scenario, type Way, WAY_NAMES } from "./scenario.ts";

const WIDTH = 860;
const HEIGHT = 520;
const PLOT = { left: 64, top: 56, right: WIDTH - 24, bottom: 340 };
const COLOURS: Readonly<Record<Way, string>> = { stream: "#c0392b", prefetch: "#d68910", credit: "#1e8449" };

/** @param runs in the order in which they are listed */
export function drawPicture(runs: readonly Measures[], scenario: Scenario): string {
  const endMs = niceCeil(Math.max(...runs.map(({ completedMs }) => completedMs), scenario.urgentAtMs), 1000);
  const top = niceCeil(Math.max(10, ...runs.map(({ beyondMax }) => beyondMax)), 50);
  const x = (ms: number): number => PLOT.left + ((PLOT.right - PLOT.left) * Math.min(ms, endMs)) / endMs;
  const y = (count: number): number => PLOT.bottom - ((PLOT.bottom - PLOT.top) * count) / top;
  const parts = [
    text("Jobs that no other worker can get, and nothing can pass", { x: PLOT.left, y: 28, size: 16, weight: "bold" }),
    ...axes({ endMs, top, x, y }),
    // On either side, so that they do not meet.
    ...mark(x(scenario.moreWorkersAtMs), `${scenario.moreWorkers} more workers`, "end"),
    ...mark(x(scenario.urgentAtMs), "an urgent job", "start"),
    ...runs.map((run) => line(run, endMs, { x, y })),
    ...table(runs),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

interface Scale {
  readonly x: (ms: number) => number;
  readonly y: (count: number) => number;
}

function axes({ endMs, top, x, y }: Scale & { readonly endMs: number; readonly top: number }): string[] {
  const parts: string[] = [];
  for (let step = 0; step <= 5; step++) {
    const count = (top * step) / 5;
    parts.push(rule({ x1: PLOT.left, y1: y(count), x2: PLOT.right, y2: y(count) }, "#e5e5e5"));
    parts.push(text(String(count), { x: PLOT.left - 8, y: y(count) + 4, anchor: "end" }));
  }
  const seconds = endMs / 1000;
  for (let second = 0; second <= seconds; second += Math.max(1, Math.round(seconds / 10))) {
    parts.push(text(`${second} s`, { x: x(second * 1000), y: PLOT.bottom + 18, anchor: "middle" }));
  }
  return parts;
}

function mark(at: number, label: string, anchor: "start" | "end"): string[] {
  const line = `<line x1="${round(at)}" y1="${PLOT.top}" x2="${round(at)}" y2="${PLOT.bottom}" stroke="#888888" stroke-dasharray="4 4"/>`;
  return [line, text(label, { x: anchor === "end" ? at - 5 : at + 5, y: PLOT.top - 6, anchor, colour: "#555555" })];
}

/** A step line, from the beginning to the end. */
function line({ way, beyond, completedMs }: Measures, endMs: number, { x, y }: Scale): string {
  const steps: readonly Step[] = [{ atMs: 0, count: 0 }, ...beyond];
  const path = steps.map(({ atMs, count }, i) =>
    i === 0 ? `M${round(x(0))} ${round(y(count))}` : `H${round(x(Math.max(0, atMs)))}V${round(y(count))}`,
  );
  path.push(`H${round(x(Math.min(completedMs, endMs)))}`);
  return `<path d="${path.join("")}" fill="none" stroke="${COLOURS[way]}" stroke-width="2.5"/>`;
}

function table(runs: readonly Measures[]): string[] {
  const columns = [PLOT.left, 340, 475, 620, 750];
  const header = ["", "most jobs beyond", "new workers begin", "urgent job waits", "all done"];
  const rows = runs.map((run) => [WAY_NAMES[run.way], ...figuresOf(run)]);
  return [header, ...rows].flatMap((row, i) => {
    const y = PLOT.bottom + 60 + i * 26;
    const run = runs[i - 1];
    const swatch =
      run === undefined
        ? []
        : [`<rect x="${PLOT.left}" y="${y - 10}" width="12" height="12" fill="${COLOURS[run.way]}"/>`];
    const cells = row.map((cell, column) =>
      text(cell, {
        x: columns[column]! + (column === 0 ? 20 : 0),
        y,
        ...(run === undefined ? { colour: "#555555", size: 12 } : { size: 13 }),
      }),
    );
    return [...swatch, ...cells];
  });
}

/** The four figures, for people. */
export function figuresOf(run: Measures): string[] {
  const began = run.newWorkersBeganAfterMs;
  return [
    String(run.beyondMax),
    began === undefined ? (run.newWorkersJobs === 0 ? "never" : "not all") : `after ${formatMs(began)}`,
    formatMs(run.urgentWaitMs),
    formatMs(run.completedMs),
  ];
}

/** 38 → "38 ms", 15960 → "16.0 s". */
function formatMs(ms: number): string {
  return ms < 1000 ? `${Math.max(0, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}

interface TextOptions {
  readonly x: number;
  readonly y: number;
  readonly size?: number;
  readonly anchor?: string;
  readonly colour?: string;
  readonly weight?: string;
}

function text(content: string, options: TextOptions): string {
  const { x, y, size = 12, anchor = "start", colour = "#222222", weight = "normal" } = options;
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${round(x)}" y="${round(y)}" font-size="${size}" text-anchor="${anchor}" fill="${colour}" font-weight="${weight}">${escaped}</text>`;
}

function rule(points: { x1: number; y1: number; x2: number; y2: number }, colour: string): string {
  const { x1, y1, x2, y2 } = points;
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${colour}"/>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function niceCeil(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
