// From a line to the entry that it becomes.
import { isUtf8 } from "node:buffer";
import type { NewLogEntry } from "@sluice/client";
import { parseAccessLine } from "./access-line.ts";
import { parseJsonLine } from "./json-line.ts";
import type { Piece } from "./line-splitter.ts";
import { parseLogfmtLine } from "./logfmt-line.ts";
import { countReplaced, decodeText } from "./text-bytes.ts";
import { parseTextLine } from "./text-line.ts";

/** What lines are said to be; "auto": each line says it itself. */
export const LINE_FORMATS = ["auto", "json", "logfmt", "syslog", "access", "docker", "cri", "journal", "text"] as const;
export type LineFormat = (typeof LINE_FORMATS)[number];

export interface LineSource {
  /** Whose lines these are when the lines do not say, or say otherwise and `isFixed`. */
  readonly application: string;
  /** The person who pushes named the application. What a line says of it becomes the field `program`. */
  readonly isFixed: boolean;
  /** See parseTextLine. */
  readonly nowMs: number;
  /** Default: "auto". */
  readonly format?: LineFormat;
  /** What is known of the file, for each of its entries. A line's own field of the same name wins. */
  readonly fields?: Readonly<Record<string, string>>;
}

/** What a line was. A line that fits nothing is text. */
export type FoundFormat = "json" | "logfmt" | "syslog" | "access" | "journal" | "text";

export interface ReadText {
  readonly entry: NewLogEntry;
  readonly format: FoundFormat;
}

export interface ReadLine extends ReadText {
  /** Invalid UTF-8 sequences, each replaced by U+FFFD. */
  readonly replaced: number;
}

/** Reads a line by itself; undefined: it is blank and says nothing. Never throws: what fits nothing is kept as text. */
export function readLine(piece: Piece, source: LineSource): ReadLine | undefined {
  if (piece.bytes.length === 0) return undefined;
  const text = decodeText(piece.bytes);
  const replaced = isUtf8(piece.bytes) ? 0 : countReplaced(text, piece.bytes);
  if (piece.part > 0) return { entry: readPart(piece, text, source), format: "text", replaced };
  return { ...readText(text, source), replaced };
}

/** A piece of a line that is too long for one entry. */
export function readPart(piece: Piece, text: string, source: LineSource): NewLogEntry {
  const part = { part: String(piece.part), ...(piece.isLast ? { part_last: "true" } : {}) };
  return withSource({ message: text, fields: part }, source);
}

/** Reads the text of a whole line. */
export function readText(text: string, source: LineSource): ReadText {
  const found = findEntry(text, source);
  return { format: found.format, entry: withSource(found.entry, source) };
}

function findEntry(text: string, { format = "auto", nowMs }: LineSource): ReadText {
  const may = (one: FoundFormat): boolean => format === one || !isParsed(format);
  const json = may("json") || format === "journal" ? parseJsonLine(text) : undefined;
  if (json !== undefined) return { entry: json, format: "json" };
  const access = may("access") ? parseAccessLine(text) : undefined;
  if (access !== undefined) return { entry: access, format: "access" };
  const logfmt = may("logfmt") ? parseLogfmtLine(text, { isSure: format === "logfmt" }) : undefined;
  if (logfmt !== undefined) return { entry: logfmt, format: "logfmt" };
  const { entry, format: found } = parseTextLine(text, { nowMs });
  return { entry, format: found };
}

/** What is in a container's lines is not said by their wrapping. */
function isParsed(format: LineFormat): boolean {
  return format !== "auto" && format !== "docker" && format !== "cri";
}

/** Adds whose entry it is, and what is known of its file. */
export function withSource(entry: NewLogEntry, source: LineSource): NewLogEntry {
  const known = source.fields === undefined ? entry : { ...entry, fields: { ...source.fields, ...entry.fields } };
  const own = entry.application;
  if (own === undefined || own === source.application) return { ...known, application: source.application };
  if (!source.isFixed) return known;
  return { ...known, application: source.application, fields: { program: own, ...known.fields } };
}
