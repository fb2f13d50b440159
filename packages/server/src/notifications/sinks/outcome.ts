// What became of telling somebody, in the words of the queue that the job came from.

export type SinkOutcome =
  | { readonly kind: "done" }
  /** `atMs`: Unix ms when to try again, 0: by the queue's back-off. */
  | { readonly kind: "failed"; readonly reason: string; readonly atMs: number }
  | { readonly kind: "rejected"; readonly reason: string };

export const DONE: SinkOutcome = { kind: "done" };

const RETRY_AFTER_MS_MAX = 24 * 3600 * 1000;
const REASON_CHARACTERS_MAX = 300;

/** Of an answer that is none of success. @param nowMs Unix ms */
export async function failureOf(response: Response, nowMs: number): Promise<SinkOutcome> {
  const text = (await response.text().catch(() => "")).trim().split("\n")[0] ?? "";
  const reason = `HTTP ${response.status}${text === "" ? "" : `: ${text.slice(0, REASON_CHARACTERS_MAX)}`}`;
  const after = retryAfterMs(response.headers.get("retry-after"), nowMs);
  return { kind: "failed", reason, atMs: after === undefined ? 0 : nowMs + after };
}

/** Seconds, or a date of HTTP. undefined: it is neither. */
function retryAfterMs(text: string | null, nowMs: number): number | undefined {
  if (text === null) return undefined;
  const ms = /^\d{1,9}$/u.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX);
}
