// The server's own structured log: pino makes the records, this file says where they go and how they read.
import { type Logger, pino } from "pino";
import type { Clock } from "../store/contract.ts";

export type { Logger } from "pino";

export interface LoggerOptions {
  readonly format: "text" | "json";
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal";
  readonly clock: Clock;
  /** Takes what people or programs read: one line, its newline included. */
  readonly write: (line: string) => void;
  /** Takes a copy of every record, as JSON: the server's own log is kept in the store as well. */
  readonly copy?: (line: string) => void;
}

/** A logger. Everything that is written has left for `write` when the call returns. */
export function createLogger({ format, level, clock, write, copy }: LoggerOptions): Logger {
  const destination = {
    write(line: string): void {
      write(format === "json" ? line : formatRecord(JSON.parse(line) as LogRecord));
      copy?.(line);
    },
  };
  return pino(
    {
      level,
      base: null,
      messageKey: "message",
      errorKey: "error",
      timestamp: () => `,"time":"${new Date(Number(clock.nowNs() / 1_000_000n)).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
}

/** One record as pino writes it here. */
export interface LogRecord {
  readonly level: string;
  readonly time: string;
  readonly message?: string;
  /** Names what happened, for programs: "listening". */
  readonly event?: string;
  readonly [field: string]: unknown;
}

/**
 * A record as people read it: `10:20:30.123 WARN  sentence key=value`.
 * Those that say where the server listens are bare: scripts wait for `listening on HOST:PORT`.
 */
export function formatRecord(record: LogRecord): string {
  const { level, time, message, event, ...fields } = record;
  if (event === "listening" || event === "listening-health") return `${message ?? ""}\n`;
  const facts = Object.entries(fields).map(([key, value]) => ` ${key}=${formatField(value)}`);
  return `${time.slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${message ?? ""}${facts.join("")}\n`;
}

/** A field's value in one line: bare when it is one word, else as JSON; an error by its stack. */
export function formatField(value: unknown): string {
  if (typeof value === "object" && value !== null && "stack" in value && typeof value.stack === "string") {
    return JSON.stringify(value.stack);
  }
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /^[^\s"=]+$/u.test(text) ? text : JSON.stringify(text);
}
