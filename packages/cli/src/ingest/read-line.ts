// From the bytes of a line to the entry that it becomes.
import { isUtf8 } from "node:buffer";
import type { NewLogEntry } from "@sluice/client";
import { parseJsonLine } from "./json-line.ts";
import type { Piece } from "./line-splitter.ts";
import { parseTextLine } from "./text-line.ts";

export interface LineSource {
  /** Whose lines these are when the lines do not say, or say otherwise and `isFixed`. */
  readonly application: string;
  /** The person who pushes named the application. What a line says of it becomes the field `program`. */
  readonly isFixed: boolean;
  /** See parseTextLine. */
  readonly nowMs: number;
}

export interface ReadLine {
  readonly entry: NewLogEntry;
  readonly format: "json" | "text";
  /** Invalid UTF-8 sequences, each replaced by U+FFFD. */
  readonly replaced: number;
}

const decoder = new TextDecoder();
/** U+FFFD in UTF-8. */
const REPLACEMENT = Buffer.from("\uFFFD");

/** Reads a piece of a line; undefined: it is blank and says nothing. Never throws: what fits nothing is kept as text. */
export function readLine(piece: Piece, source: LineSource): ReadLine | undefined {
  if (piece.bytes.length === 0) return undefined;
  const text = decoder.decode(piece.bytes);
  const replaced = isUtf8(piece.bytes) ? 0 : countReplaced(text, piece.bytes);
  if (piece.part > 0) {
    const entry = {
      message: text,
      fields: { part: String(piece.part), ...(piece.isLast ? { part_last: "true" } : {}) },
    };
    return { entry: { ...entry, application: source.application }, format: "text", replaced };
  }
  const json = parseJsonLine(text);
  const parsed = json ?? parseTextLine(text, { nowMs: source.nowMs });
  return { entry: withApplication(parsed, source), format: json === undefined ? "text" : "json", replaced };
}

function withApplication(entry: NewLogEntry, source: LineSource): NewLogEntry {
  const own = entry.application;
  if (own === undefined || own === source.application) return { ...entry, application: source.application };
  if (!source.isFixed) return entry;
  return { ...entry, application: source.application, fields: { program: own, ...entry.fields } };
}

/** U+FFFD in the text that was not in the bytes. */
function countReplaced(text: string, bytes: Uint8Array): number {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let count = 0;
  for (let at = text.indexOf("\uFFFD"); at >= 0; at = text.indexOf("\uFFFD", at + 1)) count++;
  for (let at = buffer.indexOf(REPLACEMENT); at >= 0; at = buffer.indexOf(REPLACEMENT, at + 3)) count--;
  return count;
}
