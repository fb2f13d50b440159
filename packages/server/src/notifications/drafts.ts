// What a Publish brings: each notification is checked by itself, so that one bad one does not cost the others.
import type { Draft } from "@sluice/api";
import { type FieldViolation, InvalidRequest, LimitExceeded, type SluiceError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { PublishDraft } from "./contract.ts";
import { checkName, checkPriority } from "./requests.ts";

const TTL_MS_MAX = 3650n * 24n * 3600n * 1000n;

/** The drafts, each checked or with why it is refused. @throws LimitExceeded */
export function parseDrafts(drafts: readonly Draft[], limits: Limits): (PublishDraft | SluiceError)[] {
  if (drafts.length > limits.notificationBatchMax) {
    const text = `Cannot publish ${drafts.length} notifications at once: the limit is ${limits.notificationBatchMax}`;
    throw new LimitExceeded(text, "notifications of a request");
  }
  return drafts.map((draft, i) => parseDraft(draft, { field: `notifications[${i}]`, limits }));
}

function parseDraft(
  draft: Draft,
  { field, limits }: { readonly field: string; readonly limits: Limits },
): PublishDraft | SluiceError {
  const { userIds, topics, everyone, type, priority, collapseKey, idempotencyKey, ttlMs, deliverAt } = draft;
  const recipients = userIds.length + topics.length;
  if (recipients > limits.recipientsMax) {
    const text = `Cannot publish ${field}: it names ${recipients} users and topics, the limit is ${limits.recipientsMax}`;
    return new LimitExceeded(text, "users and topics of a notification");
  }
  const violations: FieldViolation[] = [];
  const checks = (name: string) => ({ field: `${field}.${name}`, limits, violations });
  if (recipients === 0 && !everyone) {
    violations.push({ field: `${field}.user_ids`, description: "name users, topics or everyone" });
  }
  for (const [i, user] of userIds.entries()) checkName(user, checks(`user_ids[${i}]`));
  for (const [i, topic] of topics.entries()) checkName(topic, checks(`topics[${i}]`));
  if (collapseKey !== "") checkName(collapseKey, checks("collapse_key"));
  if (idempotencyKey !== "") checkName(idempotencyKey, checks("idempotency_key"));
  checkPriority(priority, `${field}.priority`, violations);
  if (ttlMs < 0n || ttlMs > TTL_MS_MAX) {
    violations.push({ field: `${field}.ttl_ms`, description: `${ttlMs} is not from 0 to ${TTL_MS_MAX}` });
  }
  if (deliverAt < 0n) {
    violations.push({ field: `${field}.deliver_at`, description: `${deliverAt} is no Unix time in ns` });
  }
  if (violations.length > 0) return new InvalidRequest("BAD_NOTIFICATION", violations);
  const bytes = sizeOf(draft);
  if (bytes > limits.notificationBytesMax) {
    const text = `Cannot publish ${field}: it has ${bytes} bytes, the limit is ${limits.notificationBytesMax}`;
    return new LimitExceeded(text, "bytes of a notification");
  }
  const { title, message, metadata, actionUrl } = draft;
  return {
    userIds: unique(userIds),
    topics: unique(topics),
    everyone,
    type,
    title,
    message,
    priority,
    metadata,
    idempotencyKey,
    ttlMs: Number(ttlMs),
    collapseKey,
    deliverAt,
    actionUrl,
  };
}

/** Bytes of what a reader gets: its texts. */
function sizeOf({ type, title, message, metadata, collapseKey, actionUrl }: Draft): number {
  let bytes = 0;
  for (const text of [type, title, message, collapseKey, actionUrl]) bytes += Buffer.byteLength(text);
  for (const name in metadata) bytes += Buffer.byteLength(name) + Buffer.byteLength(metadata[name]!);
  return bytes;
}

function unique(names: readonly string[]): readonly string[] {
  return names.length < 2 ? names : [...new Set(names)];
}
