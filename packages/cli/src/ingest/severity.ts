// What programs call their severities, as OpenTelemetry's numbers.
// Sources: OpenTelemetry's log data model, appendix B; the level tables of pino, bunyan, zap, winston and syslog.

/** Names in lower case. */
const NUMBER_OF_NAME: Readonly<Record<string, number>> = {
  trace: 1,
  silly: 1, // winston
  finest: 1, // java.util.logging, with those below
  finer: 3,
  debug: 5,
  fine: 5,
  verbose: 6, // winston: between info and debug
  http: 7, // winston: between info and verbose
  info: 9,
  information: 9,
  informational: 9,
  notice: 10,
  warn: 13,
  warning: 13,
  error: 17,
  err: 17,
  severe: 17, // java.util.logging
  dpanic: 18, // zap
  crit: 18,
  critical: 18,
  alert: 19,
  panic: 20, // zap
  fatal: 21,
  emerg: 21,
  emergency: 21,
};

/** OpenTelemetry's severity number (1 to 24) of a name in any case; undefined: no name that we know. */
export function findSeverity(name: string): number | undefined {
  return Object.hasOwn(NUMBER_OF_NAME, name.toLowerCase()) ? NUMBER_OF_NAME[name.toLowerCase()] : undefined;
}

const SYSLOG_NAMES = ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"];
const PINO_NAMES = ["trace", "debug", "info", "warn", "error", "fatal"];

/** The name behind a number: syslog's 0 to 7 (also GELF), pino's and bunyan's 10 to 69. Undefined: neither. */
export function findLevelName(level: number): string | undefined {
  if (Number.isInteger(level) && level >= 0 && level <= 7) return SYSLOG_NAMES[level];
  return level >= 10 && level < 70 ? PINO_NAMES[Math.floor(level / 10) - 1] : undefined;
}
