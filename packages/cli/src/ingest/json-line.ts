// Lines of JSON as loggers write them: pino, zap, bunyan, winston, and those that name things alike.
//
// J1. Nothing is lost: what has no place in an entry becomes a field, under its own name, nested names joined by points.
// J2. Numbers keep the digits that were written, also those that a double cannot hold.
import type { NewLogEntry } from "@sluice/client";
import { entryOfJournal, findJournalFields } from "./journal-entry.ts";
import { findLevelName, findSeverity } from "./severity.ts";
import { findTimestamp } from "./timestamp.ts";

/** The server takes 1,024 fields; a line with more than this stays text. */
const FIELDS_MAX = 1000;
/** A short line can say a long name many times over, once for each field that is nested in it. At three bytes each, this
 *  many characters stay below the server's limit of 1 MiB. A line has fewer of its own (LINE_BYTES_MAX). */
const CHARACTERS_MAX = 300_000;
/** What is nested deeper stays JSON. */
const DEPTH_MAX = 8;

/** In the order of preference; of several the first that fits is taken, the others become fields. */
const MESSAGE_NAMES = ["msg", "message", "@message", "short_message", "log", "event"];
const LEVEL_NAMES = ["level", "severity", "lvl", "log.level", "@level", "levelname", "loglevel"];
const TIME_NAMES = ["time", "ts", "timestamp", "@timestamp", "datetime", "date", "t", "asctime"];
const APPLICATION_NAMES = ["application", "app", "service.name", "service"];
const TRACE_NAMES = ["trace_id", "traceId", "trace.id", "traceID"];
const SPAN_NAMES = ["span_id", "spanId", "span.id", "spanID"];

/** Reads a line that is one JSON object; undefined: it is none, or none that fits into an entry. */
export function parseJsonLine(text: string): NewLogEntry | undefined {
  if (!/^\s*\{/u.test(text)) return undefined;
  const record = parseObject(text);
  if (record === undefined) return undefined;
  const journal = findJournalFields(record);
  return journal === undefined ? entryOfRecord(record) : entryOfJournal(journal)?.entry;
}

/** Finds in a record what an entry has a place for; the rest becomes fields. Undefined: it does not fit into one. */
export function entryOfRecord(record: Readonly<Record<string, unknown>>): NewLogEntry | undefined {
  const rest = new Map(Object.entries(record));
  const entry: Writable<NewLogEntry> = { message: take(rest, MESSAGE_NAMES, textOf) ?? "" };
  const level = take(rest, LEVEL_NAMES, levelOf);
  if (level !== undefined) Object.assign(entry, level);
  const timestamp = take(rest, TIME_NAMES, timeOf);
  if (timestamp !== undefined) entry.timestamp = timestamp;
  // pino's and bunyan's `name` is the program; elsewhere it may be the name of anything.
  const isBunyanLike = rest.has("pid") && rest.has("hostname");
  const application = take(rest, isBunyanLike ? [...APPLICATION_NAMES, "name"] : APPLICATION_NAMES, filledTextOf);
  if (application !== undefined) entry.application = application;
  const source = take(rest, ["caller", "src", "source"], sourceOf);
  if (source !== undefined) Object.assign(entry, source);
  const traceId = take(rest, TRACE_NAMES, (value) => bytesOf(value, 16));
  if (traceId !== undefined) entry.traceId = traceId;
  const spanId = take(rest, SPAN_NAMES, (value) => bytesOf(value, 8));
  if (spanId !== undefined) entry.spanId = spanId;
  const fields = flatten(rest);
  if (fields === undefined) return undefined;
  entry.fields = fields;
  return entry;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** A number whose digits a double would change. */
class ExactNumber {
  readonly digits: string;
  constructor(digits: string) {
    this.digits = digits;
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    // Only a number of 16 digits or with an exponent can lose any; the reviver costs several times the parsing.
    const value: unknown = /\d{16}|\d[eE][+-]?\d/u.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined; // not JSON: a line of text that begins with a brace
  }
}

function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source;
  return typeof value === "number" && source !== undefined && String(value) !== source
    ? new ExactNumber(source)
    : value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber);
}

/** Takes the first of `names` whose value `read` understands out of the record. */
function take<T>(
  rest: Map<string, unknown>,
  names: readonly string[],
  read: (value: unknown) => T | undefined,
): T | undefined {
  for (const name of names) {
    const value = rest.get(name);
    const found = value === undefined ? undefined : read(value);
    if (found === undefined) continue;
    rest.delete(name);
    return found;
  }
  return undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function filledTextOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function timeOf(value: unknown): bigint | undefined {
  return findTimestamp(value instanceof ExactNumber ? value.digits : value);
}

/** A name stays as the logger says it; a number gets the name that its logger gives it. */
function levelOf(value: unknown): Pick<NewLogEntry, "level" | "severityNumber"> | undefined {
  const name = typeof value === "number" ? findLevelName(value) : filledTextOf(value);
  return name === undefined ? undefined : { level: name, severityNumber: findSeverity(name) ?? 0 };
}

/** zap: "pkg/file.go:12"; bunyan and Go's slog: an object with file, line and perhaps a function, which stays a field. */
function sourceOf(value: unknown): Pick<NewLogEntry, "sourceFile" | "lineNumber"> | undefined {
  const caller = typeof value === "string" ? /^(\S+):(\d{1,9})$/u.exec(value) : null;
  if (caller !== null) return { sourceFile: caller[1] ?? "", lineNumber: Number(caller[2]) };
  if (!isRecord(value) || Object.keys(value).length !== 2) return undefined;
  const { file, line } = value;
  const isSource = typeof file === "string" && Number.isInteger(line) && Number(line) > 0 && Number(line) < 2 ** 31;
  return isSource ? { sourceFile: file, lineNumber: Number(line) } : undefined;
}

function bytesOf(value: unknown, count: number): Uint8Array<ArrayBuffer> | undefined {
  return typeof value === "string" && value.length === count * 2 && /^[0-9a-f]+$/iu.test(value)
    ? Uint8Array.fromHex(value)
    : undefined;
}

/** Undefined: too many. A name that is there already gets a line behind it, so that neither hides the other. */
function flatten(rest: ReadonlyMap<string, unknown>): Record<string, string> | undefined {
  const fields = new Map<string, string>();
  let characters = 0;
  function add(name: string, value: unknown, depth: number): boolean {
    if (isRecord(value) && depth < DEPTH_MAX) {
      const inner = Object.entries(value);
      if (inner.length > 0) return inner.every(([key, each]) => add(`${name}.${key}`, each, depth + 1));
    }
    let free = name;
    while (fields.has(free)) free += "_";
    const text = fieldText(value);
    fields.set(free, text);
    characters += free.length + text.length;
    return fields.size <= FIELDS_MAX && characters <= CHARACTERS_MAX;
  }
  for (const [name, value] of rest) if (!add(name, value, 1)) return undefined;
  return Object.fromEntries(fields);
}

function fieldText(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof ExactNumber) return value.digits;
  return toJson(value);
}

/** JSON in which exact numbers keep their digits. */
function toJson(value: unknown): string {
  if (value instanceof ExactNumber) return value.digits;
  if (Array.isArray(value)) return `[${value.map(toJson).join(",")}]`;
  if (isRecord(value)) {
    return `{${Object.entries(value)
      .map(([key, each]) => `${JSON.stringify(key)}:${toJson(each)}`)
      .join(",")}}`;
  }
  return JSON.stringify(value);
}
