// Lines of logfmt: `time=2026-11-21T08:43:01Z level=warn msg="only 2 left" article=teapot`.
//
// Source: https://brandur.org/logfmt, and what go-kit, logrus and slog's text handler write: a value is bare or in double
// quotes, with Go's escapes in it.
import type { NewLogEntry } from "@sluice/client";
import { entryOfRecord } from "./json-line.ts";

const START = /^\s*[\w.@/-]+=/u;
const PAIR = /\s*([^\s="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*)))?(?=\s|$)/uy;
/** A line of text may hold a pair or two. One that says what all loggers say is a record. */
const TELLING = new Set(["msg", "message", "level", "lvl", "severity", "time", "ts", "timestamp", "err", "error"]);
const PAIRS_MIN = 2;

/**
 * Reads a line that is pairs and nothing else; undefined: it is none, or does not fit into an entry.
 * @param options.isSure somebody says that these are such lines: any pair will do, and a word alone is a pair too.
 */
export function parseLogfmtLine(text: string, options: { readonly isSure: boolean }): NewLogEntry | undefined {
  if (!options.isSure && !START.test(text)) return undefined;
  const record: Record<string, string> = {};
  let pairs = 0;
  let isTelling = options.isSure;
  PAIR.lastIndex = 0;
  const end = text.trimEnd().length;
  while (PAIR.lastIndex < end) {
    const match = PAIR.exec(text);
    if (match === null) return undefined;
    const [, name = "", quoted, bare] = match;
    const hasValue = quoted !== undefined || bare !== undefined;
    if ((!hasValue && !options.isSure) || Object.hasOwn(record, name)) return undefined;
    // Not by assignment: a name may be "__proto__".
    const value = quoted === undefined ? (bare ?? "true") : unescape(quoted);
    Object.defineProperty(record, name, { value, enumerable: true });
    isTelling ||= TELLING.has(name);
    pairs++;
  }
  return isTelling && pairs >= (options.isSure ? 1 : PAIRS_MIN) ? entryOfRecord(record) : undefined;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r" };

function unescape(text: string): string {
  if (!text.includes("\\")) return text;
  return text.replace(
    /\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))/gsu,
    (_all, wide?: string, hex?: string, one?: string) =>
      wide !== undefined || hex !== undefined
        ? String.fromCharCode(Number.parseInt(wide ?? hex ?? "", 16))
        : (ESCAPES[one ?? ""] ?? one ?? ""),
  );
}
