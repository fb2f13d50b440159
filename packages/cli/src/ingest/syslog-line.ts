// Who sent a line of syslog, by RFC 3164 and RFC 5424, and what it says beside its text.
import { findSeverity } from "./severity.ts";

const PRIORITY = /^<(\d{1,3})>/u;
const PRIORITY_MAX = 191;
const SEVERITIES = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/** RFC 5424, table 1, by the names that rsyslog and journald have for them. */
const FACILITIES = (
  "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock " +
  "local0 local1 local2 local3 local4 local5 local6 local7"
).split(" ");

/** RFC 3164 and, after an ISO time, what rsyslog and journald write: "host program[17]: message". */
const SENDER = /^ (?<host>[^\s:[\]]+) (?<program>[^\s:[\]]+)(?:\[(?<pid>\d+)\])?: ?/u;
/** What programs write to /dev/log: their host is known there. Only behind a priority: else it would be any text. */
const LOCAL_SENDER = /^ (?<program>[^\s:[\]]+)(?:\[(?<pid>\d+)\])?: ?/u;
/** RFC 5424, behind its time: host, program, process, message id, structured data. */
const SENDER_5424 =
  /^ (?<host>\S+) (?<program>\S+) (?<pid>\S+) (?<messageId>\S+) (?<structured>-|(?:\[(?:"(?:[^"\\]|\\.)*"|[^\]"])*\])+)(?: |$)/su;
const ELEMENT = /\[([^\s\]="]+)((?: [^\s\]="]+="(?:[^"\\]|\\.)*")*)\]/gsu;
const PARAMETER = / ([^\s\]="]+)="((?:[^"\\]|\\.)*)"/gsu;
const BYTE_ORDER_MARK = "\uFEFF";

/** "<165>": where a message comes from, and how bad it is. */
export interface SyslogPriority {
  readonly level: string;
  readonly facility: string;
  /** How many characters it takes. */
  readonly length: number;
}

export interface SyslogSender {
  /** Undefined where the line says "-". */
  readonly program: string | undefined;
  readonly message: string;
  readonly fields: Record<string, string>;
}

/** Finds a priority at the beginning of a line. */
export function findPriority(text: string): SyslogPriority | undefined {
  const match = PRIORITY.exec(text);
  const value = Number(match?.[1]);
  if (match === null || value > PRIORITY_MAX) return undefined;
  return { level: SEVERITIES[value % 8] ?? "", facility: FACILITIES[value >> 3] ?? "", length: match[0].length };
}

/** Finds who sent it, behind the time. A severity where the host or the program would be says that it is no syslog. */
export function findSender(
  rest: string,
  form: { readonly is5424: boolean; readonly hasPriority: boolean },
): SyslogSender | undefined {
  const match = form.is5424
    ? SENDER_5424.exec(rest)
    : (SENDER.exec(rest) ?? (form.hasPriority ? LOCAL_SENDER.exec(rest) : null));
  if (match === null) return undefined;
  const { program = "-", structured = "-", ...others } = match.groups ?? {};
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(others)) if (value !== undefined && value !== "-") fields[name] = value;
  if (findSeverity(program) !== undefined || findSeverity(fields["host"] ?? "") !== undefined) return undefined;
  const message = rest.slice(match[0].length);
  return {
    program: program === "-" ? undefined : program,
    message: message.startsWith(BYTE_ORDER_MARK) ? message.slice(1) : message,
    fields: { ...fields, ...structuredFields(structured) },
  };
}

/** "[id name=\"value\"]" is the field "id.name". An element without parameters, and what is no element, stay as they are. */
function structuredFields(structured: string): Record<string, string> {
  if (structured === "-") return {};
  const fields: Record<string, string> = {};
  let understood = 0;
  for (const [element, id = "", parameters = ""] of structured.matchAll(ELEMENT)) {
    const found = Array.from(parameters.matchAll(PARAMETER));
    if (found.length === 0) break;
    for (const [, name = "", value = ""] of found) {
      const key = `${id}.${name}`;
      if (Object.hasOwn(fields, key)) return { structured };
      fields[key] = value.replace(/\\(["\\\]])/gu, "$1");
    }
    understood += element.length;
  }
  return understood === structured.length ? fields : { structured };
}
