// Entries of systemd's journal, whichever way journalctl wrote them.
//
// Source: systemd.journal-fields(7)
import { isUtf8 } from "node:buffer";
import type { NewLogEntry } from "@sluice/client";
import { findLevelName, findSeverity } from "./severity.ts";
import { countReplaced, decodeText } from "./text-bytes.ts";
import { findTimestamp } from "./timestamp.ts";

export interface JournalField {
  readonly name: string;
  readonly value: Uint8Array | string;
}

export interface JournalEntry {
  readonly entry: NewLogEntry;
  /** Invalid UTF-8 sequences, each replaced by U+FFFD. */
  readonly replaced: number;
}

/** The server takes 1,024 fields. */
const FIELDS_MAX = 1000;
/** In the order of preference. What is not taken stays a field under its own name. */
const TIMES = ["_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"];
const PROGRAMS = ["SYSLOG_IDENTIFIER", "_COMM", "_SYSTEMD_UNIT"];

/**
 * Undefined: it has more fields than an entry may have. A field that comes again gets a line behind its name. What is no
 * text becomes base64, in a field whose name says so; only the message stays readable.
 */
export function entryOfJournal(journal: readonly JournalField[]): JournalEntry | undefined {
  const fields = new Map<string, string>();
  let replaced = 0;
  for (const { name, value } of journal) {
    const isText = typeof value === "string" || isUtf8(value);
    const isMessage = name === "MESSAGE" && !fields.has(name);
    let free = isText || isMessage ? name : `${name}.base64`;
    while (fields.has(free)) free += "_";
    const text = typeof value === "string" ? value : isText || isMessage ? decodeText(value) : toBase64(value);
    if (!isText && isMessage) replaced += countReplaced(text, value);
    fields.set(free, text);
  }
  if (fields.size > FIELDS_MAX) return undefined;
  const message = take(fields, "MESSAGE") ?? "";
  const level = findLevelName(Number(fields.get("PRIORITY") || Number.NaN));
  if (level !== undefined) fields.delete("PRIORITY");
  const timestamp = findFirst(fields, TIMES, findTimestamp);
  const application = findFirst(fields, PROGRAMS, (text) => (text === "" ? undefined : text));
  return {
    entry: {
      message,
      ...(level === undefined ? {} : { level, severityNumber: findSeverity(level) ?? 0 }),
      ...(timestamp === undefined ? {} : { timestamp }),
      ...(application === undefined ? {} : { application }),
      ...sourceOf(fields),
      fields: Object.fromEntries(fields),
    },
    replaced,
  };
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}

function take(fields: Map<string, string>, name: string): string | undefined {
  const value = fields.get(name);
  fields.delete(name);
  return value;
}

function findFirst<T>(
  fields: Map<string, string>,
  names: readonly string[],
  read: (text: string) => T | undefined,
): T | undefined {
  for (const name of names) {
    const text = fields.get(name);
    const found = text === undefined ? undefined : read(text);
    if (found === undefined) continue;
    fields.delete(name);
    return found;
  }
  return undefined;
}

function sourceOf(fields: Map<string, string>): Pick<NewLogEntry, "sourceFile" | "lineNumber"> {
  const line = Number(fields.get("CODE_LINE"));
  if (!fields.has("CODE_FILE") || !Number.isInteger(line) || line < 1 || line >= 2 ** 31) return {};
  fields.delete("CODE_LINE");
  return { sourceFile: take(fields, "CODE_FILE") ?? "", lineNumber: line };
}

/**
 * The fields of an object that `journalctl -o json` wrote; undefined: it is none. A value is a text, a list of bytes where
 * it is none, a list of values where the field came more than once, or null where it was left out for its size.
 */
export function findJournalFields(record: Readonly<Record<string, unknown>>): JournalField[] | undefined {
  if (typeof record["__CURSOR"] !== "string" || typeof record["__REALTIME_TIMESTAMP"] !== "string") return undefined;
  const fields: JournalField[] = [];
  for (const [name, value] of Object.entries(record)) {
    const isList = Array.isArray(value) && value.some((each) => typeof each !== "number");
    for (const each of isList ? (value as unknown[]) : [value]) fields.push({ name, value: valueOf(each) });
  }
  return fields;
}

function valueOf(value: unknown): Uint8Array | string {
  if (typeof value === "string") return value;
  const isBytes = Array.isArray(value) && value.every((each) => Number.isInteger(each) && each >= 0 && each < 256);
  return isBytes ? Uint8Array.from(value as number[]) : JSON.stringify(value);
}
