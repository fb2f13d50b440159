// How a log entry reads on a terminal: one line, its fields behind it.
import type { LogEntry } from "@sluice/client";
import type { Paint, Style } from "../terminal.ts";

export interface LineFormat {
  readonly paint: Paint;
  /** Times in UTC instead of local time. */
  readonly isUtc: boolean;
}

/** OpenTelemetry's ranges of four. */
const STYLES: readonly Style[] = ["gray", "blue", "green", "yellow", "red", ["bold", "red"]];
const NAMES = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/** "2026-11-21 08:43:01.123 INFO  shop: paid order=17 user="a b"". Further lines of a message are indented. */
export function formatLogLine(entry: LogEntry, format: LineFormat): string {
  const { paint } = format;
  const range = Math.ceil(entry.severityNumber / 4) - 1;
  const level = (entry.level === "" ? (NAMES[range] ?? "-") : entry.level).toUpperCase();
  const time = formatTime(entry.timestamp, format.isUtc);
  const fields = Object.entries(entry.fields).map(
    ([name, value]) => ` ${paint("dim", `${visible(name)}=`)}${quoted(value)}`,
  );
  const source =
    entry.sourceFile === "" ? "" : ` ${paint("dim", `(${visible(entry.sourceFile)}:${entry.lineNumber})`)}`;
  const application = paint("cyan", visible(entry.application));
  const message = visible(entry.message).replaceAll("\n", "\n    ");
  return `${paint("dim", time)} ${paint(STYLES[range] ?? "reset", visible(level).padEnd(5))} ${application}: ${message}${fields.join("")}${source}`;
}

/** Any int64 of nanoseconds. With milliseconds; the whole of the time is in the JSON form. */
export function formatTime(ns: bigint, isUtc: boolean): string {
  const date = new Date(Number(ns / 1_000_000n));
  if (isUtc) return date.toISOString().replace("T", " ");
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const milliseconds = String(date.getMilliseconds()).padStart(3, "0");
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${milliseconds}`;
}

/** Control characters other than tab and newline, shown instead of obeyed: a log must not steer a terminal. */
function visible(text: string): string {
  return text.replaceAll(/(?![\t\n])\p{Cc}/gu, (each) => `\\x${each.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

function quoted(value: string): string {
  return /^[^\s"=]+$/u.test(value) ? visible(value) : visible(JSON.stringify(value));
}
