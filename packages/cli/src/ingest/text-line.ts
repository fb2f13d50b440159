// Lines that people read: a time, perhaps a host and a program, perhaps a severity, and a message.
import type { NewLogEntry } from "@sluice/client";
import { findSeverity } from "./severity.ts";
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
/** RFC 3164 and, after an ISO time, what rsyslog and journald write: "host program[17]: message". */
const SYSLOG_SENDER = /^ (?<host>[^\s:[\]]+) (?<program>[^\s:[\]]+)(?:\[(?<pid>\d+)\])?: ?/u;
const PRIORITY = /^<(\d{1,3})>/u;
const SYSLOG_SEVERITIES = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/** RFC 5424, behind its time: host, program, process, message id, structured data. */
const SYSLOG_5424_SENDER =
  /^ (?<host>\S+) (?<program>\S+) (?<pid>\S+) (?<messageId>\S+) (?<structured>-|(?:\[(?:[^\]\\]|\\.)*\])+)(?: |$)/u;
const SYSLOG_5424_VERSION = "1 ";

/** Reads a line of text. What is recognised moves into the entry's own fields; nothing is lost but the way it was written. */
export function parseTextLine(text: string, options: TextLineOptions): NewLogEntry {
  const priority = PRIORITY.exec(text);
  const levelOfPriority = priority === null ? undefined : SYSLOG_SEVERITIES[Number(priority[1]) % 8];
  const line = text.slice(priority?.[0].length ?? 0);
  const is5424 = priority !== null && line.startsWith(SYSLOG_5424_VERSION);
  const isBracketed = line.startsWith("[");
  const timeAt = isBracketed ? 1 : is5424 ? SYSLOG_5424_VERSION.length : 0;
  const time = findTime(line.slice(timeAt), options.nowMs);
  if (time === undefined) {
    const found = findLevel(text, { isAlone: true });
    const clf = findClfTimestamp(text.slice(0, 256));
    const level = levelFields(levelOfPriority ?? found.level);
    return { message: found.message, ...level, ...(clf === undefined ? {} : { timestamp: clf }) };
  }

  const timeEnd = timeAt + time.length;
  if (isBracketed && line[timeEnd] !== "]") {
    return { timestamp: time.ns, message: text, ...levelFields(findLevel(text, { isAlone: true }).level) };
  }
  const rest = line.slice(isBracketed ? timeEnd + 1 : timeEnd);
  const sender = time.isSyslog ? findSender(rest, is5424 ? SYSLOG_5424_SENDER : SYSLOG_SENDER) : undefined;
  if (sender !== undefined) {
    const level = levelFields(levelOfPriority ?? findLevel(sender.message, { isAlone: true }).level);
    return {
      timestamp: time.ns,
      application: sender.program,
      message: sender.message,
      fields: sender.fields,
      ...level,
    };
  }
  const found = findLevel(rest.replace(/^[:|]?\s+(?:[-|] +)?/u, ""), { isAlone: false });
  return { timestamp: time.ns, message: found.message, ...levelFields(levelOfPriority ?? found.level) };
}

/** `isSyslog`: a host and a program may follow. */
function findTime(text: string, nowMs: number): { ns: bigint; length: number; isSyslog: boolean } | undefined {
  const iso = findLeadingIso(text);
  if (iso !== undefined) return { ...iso, isSyslog: iso.isStrict };
  const syslog = findLeadingSyslog(text, nowMs);
  return syslog === undefined ? undefined : { ...syslog, isSyslog: true };
}

/** Who sent a syslog line. A severity where the host or the program would be says that it is none. */
function findSender(
  rest: string,
  form: RegExp,
): { program: string; message: string; fields: Record<string, string> } | undefined {
  const match = form.exec(rest);
  if (match === null) return undefined;
  const { program = "", ...others } = match.groups ?? {};
  const named = Object.entries(others).filter(
    (field): field is [string, string] => field[1] !== undefined && field[1] !== "-",
  );
  const fields = Object.fromEntries(named);
  if (findSeverity(program) !== undefined || findSeverity(fields["host"] ?? "") !== undefined) return undefined;
  return { program, message: rest.slice(match[0].length), fields };
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
