// Sizes and durations as people write them: "256MiB", "30s".

/** A text that is no size or no duration. */
export class UnitError extends Error {
  override readonly name = "UnitError";
}

const BYTE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1e3,
  m: 60e3,
  h: 3600e3,
  d: 86_400e3,
  w: 7 * 86_400e3,
};

/** What to tell whoever wrote something else. */
export const BYTES_ALLOWED = "a number of bytes, or one with a unit: 65536, 64KiB, 256MiB, 1.5GiB, 2GB";
export const DURATION_ALLOWED = "a number with a unit: 250ms, 30s, 5m, 12h, 7d, 2w; or 0";

/** "64KiB" → 65536. Units in any case; kB, MB, GB, TB are powers of 1000. @throws UnitError */
export function parseBytes(text: string): number {
  const { amount, unit } = split(text, BYTES_ALLOWED);
  const factor = unit === "" ? 1 : BYTE_UNITS[unit.toLowerCase()];
  if (factor === undefined) throw new UnitError(`"${text}" has an unknown unit; allowed is ${BYTES_ALLOWED}`);
  return whole(amount * factor, text, BYTES_ALLOWED);
}

/** "1h30m" → 5400000 ms. Units in lower case. @throws UnitError */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  if (trimmed === "0") return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+$/u.test(trimmed)) {
    throw new UnitError(`"${text}" is no duration; allowed is ${DURATION_ALLOWED}`);
  }
  let totalMs = 0;
  for (const [, amount, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/gu)) {
    totalMs += Number(amount) * (DURATION_UNITS[unit ?? ""] ?? Number.NaN);
  }
  return whole(totalMs, text, DURATION_ALLOWED);
}

/** 65536 → "64KiB": the largest binary unit that loses nothing, so that parseBytes gives the same number back. */
export function formatBytes(bytes: number): string {
  for (const [unit, factor] of [
    ["TiB", 2 ** 40],
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}

/** 90000 → "90s": seconds where they lose nothing, so that parseDuration gives the same number back. */
export function formatDuration(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

function split(text: string, allowed: string): { amount: number; unit: string } {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*$/u.exec(text);
  if (match === null) throw new UnitError(`"${text}" is no size; allowed is ${allowed}`);
  return { amount: Number(match[1]), unit: match[2] ?? "" };
}

function whole(value: number, text: string, allowed: string): number {
  const rounded = Math.round(value);
  if (!Number.isSafeInteger(rounded)) throw new UnitError(`"${text}" is too large; allowed is ${allowed}`);
  return rounded;
}
