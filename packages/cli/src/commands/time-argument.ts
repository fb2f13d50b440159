// Points in time as people type them: "10m" ago, or a date.
import { InvalidArgumentError } from "commander";

const NS_PER_UNIT: Readonly<Record<string, bigint>> = {
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
  d: 86_400_000_000_000n,
  w: 604_800_000_000_000n,
};
const DURATION = /^(?:\d+(?:ms|[smhdw]))+$/u;
const RFC3339 = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.(\d{1,9}))?)?)(Z|[+-]\d\d:\d\d)?)?$/u;

/**
 * Unix ns of "10m", "2h", "1h30m" (before `nowNs`), "2026-11-21T08:43:01.5Z", or "2026-11-21 08:43" and "2026-11-21", which
 * are local. @throws InvalidArgumentError
 */
export function parseTimeArgument(text: string, nowNs: bigint): bigint {
  const ago = parseDuration(text);
  if (ago !== undefined) return nowNs - ago;
  const match = RFC3339.exec(text);
  const [, date = "", time = "00:00", fraction = "", zone = ""] = match ?? [];
  const ms = new Date(`${date}T${time.replace(/\..*$/u, "")}${zone}`).getTime();
  if (match === null || Number.isNaN(ms)) {
    throw new InvalidArgumentError('Give how long ago ("10m", "2h", "1d") or a time ("2026-11-21T08:43:01Z").');
  }
  return BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}

/** Nanoseconds of "10m", "500ms", "1h30m"; undefined when it is no duration. */
export function parseDuration(text: string): bigint | undefined {
  if (!DURATION.test(text)) return undefined;
  let duration = 0n;
  for (const [, count = "", unit = ""] of text.matchAll(/(\d+)(ms|[smhdw])/gu)) {
    duration += BigInt(count) * (NS_PER_UNIT[unit] ?? 0n);
  }
  return duration;
}

/** Milliseconds of "30s", "10m", "1h30m". @throws InvalidArgumentError */
export function parseDurationMs(text: string): number {
  const duration = parseDuration(text);
  if (duration === undefined) throw new InvalidArgumentError('Give a time as "500ms", "30s", "10m" or "1h30m".');
  return Number(duration / 1_000_000n);
}
