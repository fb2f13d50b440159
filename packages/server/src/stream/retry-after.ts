// When an HTTP server wants to be asked again (RFC 9110, 10.2.3).

const DAY_MS = 24 * 3600 * 1000;

/** From now, ms, a day at most: of seconds, or of a date. undefined: it says neither. @param nowMs Unix ms */
export function parseRetryAfter(field: string | null | undefined, nowMs: number): number | undefined {
  if (field === null || field === undefined) return undefined;
  const ms = /^\d{1,9}$/u.test(field.trim()) ? Number(field) * 1000 : Date.parse(field) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), DAY_MS);
}
