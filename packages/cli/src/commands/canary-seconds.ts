// How long, as people type it.
import { InvalidArgumentError } from "commander";

const SECONDS_PER_UNIT: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds of "90s", "1h30m", "500ms". @throws InvalidArgumentError */
export function parseSeconds(text: string): number {
  let seconds = 0;
  if (/^(?:\d+(?:ms|[smhd]))+$/u.test(text)) {
    for (const [, count = "", unit = ""] of text.matchAll(/(\d+)(ms|[smhd])/gu)) {
      seconds += Number(count) * (SECONDS_PER_UNIT[unit] ?? 0);
    }
  }
  if (seconds <= 0) throw new InvalidArgumentError('Give a time such as "90s", "10m" or "1h30m".');
  return seconds;
}
