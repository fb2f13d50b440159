// Points in time as logs write them, in Unix nanoseconds.

const NS_PER_MS = 1_000_000n;

/** Date, T or blank, time, optional fraction after a point or a comma, optional zone. */
const ISO_SOURCE = String.raw`(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?(?: ?(Z|UTC|[+-]\d\d(?::?\d\d)?))?`;
const LEADING_ISO = new RegExp(`^${ISO_SOURCE}(?![\\d:])`, "u");
const ONLY_ISO = new RegExp(`^${ISO_SOURCE}$`, "u");
const LEADING_SYSLOG =
  /^(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?= )/u;
const CLF = /\[(\d\d)\/(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})\]/u;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_MS = 86_400_000;

/** A time at the beginning of a text, and what follows it. */
export interface LeadingTimestamp {
  readonly ns: bigint;
  /** How many characters it takes. */
  readonly length: number;
  /** It has a date, a T and a zone, as syslog daemons write it. */
  readonly isStrict: boolean;
}

/** An ISO 8601 time at the beginning: "2026-11-21T08:43:01.5Z", "2026-11-21 08:43:01,123", "2026/11/21 08:43:01". */
export function findLeadingIso(text: string): LeadingTimestamp | undefined {
  const match = LEADING_ISO.exec(text);
  if (match === null) return undefined;
  const ns = nsOfIso(match);
  return ns === undefined
    ? undefined
    : { ns, length: match[0].length, isStrict: match[0][10] === "T" && match[8] !== undefined };
}

/**
 * A syslog time at the beginning: "Nov 21 08:43:01", in local time. It has no year: the one is taken that does not put it
 * more than a day after `nowMs` (Unix ms).
 */
export function findLeadingSyslog(text: string, nowMs: number): LeadingTimestamp | undefined {
  const match = LEADING_SYSLOG.exec(text);
  if (match === null) return undefined;
  const [all, month = "", day, hour, minute, second, fraction] = match;
  const thisYear = new Date(nowMs).getFullYear();
  for (const year of [thisYear + 1, thisYear, thisYear - 1]) {
    const ms = localMs([year, MONTHS.indexOf(month), Number(day), Number(hour), Number(minute), Number(second)]);
    if (ms !== undefined && ms <= nowMs + DAY_MS) {
      return { ns: BigInt(ms) * NS_PER_MS + nsOfFraction(fraction), length: all.length, isStrict: false };
    }
  }
  return undefined;
}

/** The time of a web server's access line: "[21/Nov/2026:08:43:01 +0000]". */
export function findClfTimestamp(text: string): bigint | undefined {
  const match = CLF.exec(text);
  if (match === null) return undefined;
  const [, day, month = "", year, hour, minute, second, zone = ""] = match;
  const ms = utcMs([Number(year), MONTHS.indexOf(month), Number(day), Number(hour), Number(minute), Number(second)]);
  return ms === undefined ? undefined : BigInt(ms - zoneMs(zone)) * NS_PER_MS;
}

/**
 * A time as a JSON logger writes it: an ISO 8601 text, or a number, in text or not, of seconds (zap), milliseconds
 * (pino), microseconds or nanoseconds since 1970; which of them, its size says.
 */
export function findTimestamp(value: unknown): bigint | undefined {
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  const text = String(value);
  const iso = ONLY_ISO.exec(text);
  if (iso !== null) return nsOfIso(iso);
  const number = /^(\d{1,19})(?:\.(\d{1,9})\d*)?$/u.exec(text);
  if (number === null) return undefined;
  const [, whole = "", fraction = ""] = number;
  const digits = whole.replace(/^0+/u, "").length;
  if (digits < 9) return undefined; // before 1973: a counter, not a time
  const nsPerUnit = digits <= 11 ? 1_000_000_000n : digits <= 14 ? 1_000_000n : digits <= 17 ? 1000n : 1n;
  const ns = BigInt(whole) * nsPerUnit + (BigInt(fraction.padEnd(9, "0")) * nsPerUnit) / 1_000_000_000n;
  return ns < 2n ** 63n ? ns : undefined;
}

type DateFields = readonly [year: number, month: number, day: number, hour: number, minute: number, second: number];

function nsOfIso(match: RegExpExecArray): bigint | undefined {
  const [, year, month, day, hour, minute, second, fraction, zone] = match;
  const fields: DateFields = [
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
  ];
  const ms = zone === undefined ? localMs(fields) : utcMs(fields);
  if (ms === undefined) return undefined;
  return BigInt(ms - (zone === undefined ? 0 : zoneMs(zone))) * NS_PER_MS + nsOfFraction(fraction);
}

function nsOfFraction(digits: string | undefined): bigint {
  return BigInt((digits ?? "").padEnd(9, "0"));
}

/** "+02:00", "+0200", "+02", "Z", "UTC". */
function zoneMs(zone: string): number {
  if (zone === "Z" || zone === "UTC") return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3).replace(":", "") || 0);
  return (zone.startsWith("-") ? -1 : 1) * minutes * 60_000;
}

/** Unix ms; undefined for a day or an hour that does not exist. A leap second counts as the next second. */
function utcMs([year, month, day, hour, minute, second]: DateFields): number | undefined {
  const ms = Date.UTC(year, month, day, hour, minute, second);
  return areFieldsValid(month, day, hour, minute, second) && new Date(ms - second * 1000).getUTCDate() === day
    ? ms
    : undefined;
}

function localMs([year, month, day, hour, minute, second]: DateFields): number | undefined {
  const ms = new Date(year, month, day, hour, minute, second).getTime();
  return areFieldsValid(month, day, hour, minute, second) && new Date(ms - second * 1000).getDate() === day
    ? ms
    : undefined;
}

function areFieldsValid(month: number, day: number, hour: number, minute: number, second: number): boolean {
  return month >= 0 && month <= 11 && day >= 1 && day <= 31 && hour <= 23 && minute <= 59 && second <= 60;
}
