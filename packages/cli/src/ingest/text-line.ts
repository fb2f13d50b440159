// Lines that people read: a time, perhaps a host and a program, perhaps a severity, and a message.
import type { NewLogEntry } from "@sluice/client";
import { findSeverity } from "./severity.ts";
import { findPriority, findSender, type SyslogPriority, type SyslogSender } from "./syslog-line.ts";
import { findClfTimestamp, findLeadingIso, findLeadingSyslog } from "./timestamp.ts";

export interface TextLineOptions {
  /** Now, or when the file was last written, Unix ms: the year of a syslog line is found from it. */
  readonly nowMs: number;
}

/** "[", "(" or "<" around a word, or the word alone, followed by a colon, a bar or a blank. */
const LEADING_LEVEL =
  /^(?:\[ *([A-Za-z]{3,13}) *\]|<([A-Za-z]{3,13})>|\(([A-Za-z]{3,13})\)|([A-Za-z]{3,13})(?=:|\s|\||$))[:|]?\s*(?:[-|] +)?/u;
const WORDS_SEARCHED = 6;
const CAPITALS = /^[[(<]?([A-Z]{3,13})[\])>:|]*$/u;
const LEVEL_PAIR = /^(?:level|lvl|severity)="?([A-Za-z]{3,13})"?$/u;
const SYSLOG_5424_VERSION = "1 ";
/** update-alternatives and its like: the program stands before the time. */
const PROGRAM_FIRST = /^([A-Za-z][\w.-]*) (?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: )/u;
const PROGRAM_TIME_LENGTH = "2025-06-24 14:36:53".length;

export interface TextLine {
  readonly entry: NewLogEntry;
  /** Syslog says itself where a message ends: no other line belongs to it. */
  readonly format: "syslog" | "text";
}

/** Reads a line of text. What is recognised moves into the entry's own fields; nothing is lost but the way it was written. */
export function parseTextLine(text: string, options: TextLineOptions): TextLine {
  const priority = findPriority(text);
  const line = text.slice(priority?.length ?? 0);
  const is5424 = priority !== undefined && line.startsWith(SYSLOG_5424_VERSION);
  const isBracketed = line.startsWith("[");
  const program = priority === undefined ? PROGRAM_FIRST.exec(line) : null;
  const timeAt = isBracketed ? 1 : is5424 ? SYSLOG_5424_VERSION.length : (program?.[0].length ?? 0);
  const timeLengthMax = program === null ? line.length : PROGRAM_TIME_LENGTH;
  const time = findTime(line.slice(timeAt, timeAt + timeLengthMax), options.nowMs);
  if (time === undefined)
    return { entry: withoutTime(text, priority), format: priority === undefined ? "text" : "syslog" };

  const timeEnd = timeAt + time.length;
  if (isBracketed && line[timeEnd] !== "]") {
    const { level } = findLevel(text, { isAlone: true });
    return { entry: { timestamp: time.ns, message: text, ...levelFields(level) }, format: "text" };
  }
  const rest = line.slice(isBracketed ? timeEnd + 1 : timeEnd);
  const sender = time.isSyslog ? findSender(rest, { is5424, hasPriority: priority !== undefined }) : undefined;
  if (sender !== undefined) return { entry: entryOfSender(sender, time.ns, priority), format: "syslog" };
  const found = findLevel(rest.replace(/^[:|]?\s+(?:[-|] +)?/u, ""), { isAlone: false });
  const entry = {
    timestamp: time.ns,
    message: found.message,
    ...levelFields(priority?.level ?? found.level),
    ...(program?.[1] === undefined ? {} : { application: program[1] }),
    ...(priority === undefined ? {} : { fields: { facility: priority.facility } }),
  };
  return { entry, format: "text" };
}

/** A line whose beginning is no time. A priority says how bad it is, all the same. */
function withoutTime(text: string, priority: SyslogPriority | undefined): NewLogEntry {
  if (priority !== undefined) {
    const { level, facility, length } = priority;
    return { message: text.slice(length), ...levelFields(level), fields: { facility } };
  }
  const { message, level } = findLevel(text, { isAlone: true });
  const timestamp = findClfTimestamp(text.slice(0, 256));
  return { message, ...levelFields(level), ...(timestamp === undefined ? {} : { timestamp }) };
}

function entryOfSender(sender: SyslogSender, ns: bigint, priority: SyslogPriority | undefined): NewLogEntry {
  const { program, message, fields } = sender;
  return {
    timestamp: ns,
    message,
    fields: priority === undefined ? fields : { facility: priority.facility, ...fields },
    ...(program === undefined ? {} : { application: program }),
    ...levelFields(priority?.level ?? findLevel(message, { isAlone: true }).level),
  };
}

/** `isSyslog`: a host and a program may follow. */
function findTime(text: string, nowMs: number): { ns: bigint; length: number; isSyslog: boolean } | undefined {
  const iso = findLeadingIso(text);
  if (iso !== undefined) return { ...iso, isSyslog: iso.isStrict };
  const syslog = findLeadingSyslog(text, nowMs);
  return syslog === undefined ? undefined : { ...syslog, isSyslog: true };
}

/**
 * Finds a severity: at the beginning, where it is taken off when it is marked as one (brackets, a colon, capitals); in
 * capitals among the first words; or as "level=…".
 * @param options.isAlone no time stands before it: an unmarked word is then the beginning of a sentence.
 */
function findLevel(text: string, options: { isAlone: boolean }): { level?: string; message: string } {
  const leading = LEADING_LEVEL.exec(text);
  const bare = leading?.[4];
  const word = leading?.[1] ?? leading?.[2] ?? leading?.[3] ?? bare;
  if (leading !== null && word !== undefined && findSeverity(word) !== undefined) {
    const isMarked = bare === undefined || text[bare.length] === ":" || bare === bare.toUpperCase();
    if (isMarked) return { level: word, message: text.slice(leading[0].length) };
    if (!options.isAlone) return { level: word, message: text };
  }
  for (const each of text.slice(0, 256).split(/\s+/u, WORDS_SEARCHED)) {
    const found = CAPITALS.exec(each)?.[1] ?? LEVEL_PAIR.exec(each)?.[1];
    if (found !== undefined && findSeverity(found) !== undefined) return { level: found, message: text };
  }
  return { message: text };
}

function levelFields(level: string | undefined): Pick<NewLogEntry, "level" | "severityNumber"> {
  if (level === undefined) return {};
  return { level, severityNumber: findSeverity(level) ?? 0 };
}
