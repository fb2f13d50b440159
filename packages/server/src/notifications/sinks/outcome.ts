// What became of telling somebody, in the words of the queue that the job came from.
import { parseRetryAfter } from "../../stream/retry-after.ts";

export type SinkOutcome =
  | { readonly kind: "done" }
  /** `atMs`: Unix ms when to try again, 0: by the queue's back-off. */
  | { readonly kind: "failed"; readonly reason: string; readonly atMs: number }
  | { readonly kind: "rejected"; readonly reason: string };

export const DONE: SinkOutcome = { kind: "done" };

const REASON_CHARACTERS_MAX = 300;

/** Of an answer that is none of success. @param nowMs Unix ms */
export async function failureOf(response: Response, nowMs: number): Promise<SinkOutcome> {
  const text = (await response.text().catch(() => "")).trim().split("\n")[0] ?? "";
  const reason = `HTTP ${response.status}${text === "" ? "" : `: ${text.slice(0, REASON_CHARACTERS_MAX)}`}`;
  const after = parseRetryAfter(response.headers.get("retry-after"), nowMs);
  return { kind: "failed", reason, atMs: after === undefined ? 0 : nowMs + after };
}
