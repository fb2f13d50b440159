// A web server that hears of notifications whose user is away. Signed as Standard Webhooks has it (standardwebhooks.com,
// v1 with a symmetric key), which many libraries verify: HMAC-SHA-256 of "ID.TIMESTAMP.BODY".
import { createHmac } from "node:crypto";
import { toJson } from "@bufbuild/protobuf";
import { type Notification, NotificationSchema } from "@sluice/api";
import { DONE, failureOf, type SinkOutcome } from "./outcome.ts";

export interface WebhookTarget {
  readonly name: string;
  readonly url: URL;
}

export interface Webhook {
  readonly target: WebhookTarget;
  /** undefined: it is not signed. */
  readonly secret: Uint8Array | undefined;
}

const TIMEOUT_MS = 15_000;
/** "I do not want this any more": nothing that is tried again. */
const GONE = 410;

/** Posts `{"user_id": …, "notification": …}`; the same delivery has the same webhook-id, however often it comes. */
export async function postWebhook(
  { target, secret }: Webhook,
  { userId, notification }: { readonly userId: string; readonly notification: Notification },
  { nowMs, signal }: { readonly nowMs: number; readonly signal: AbortSignal },
): Promise<SinkOutcome> {
  const json = toJson(NotificationSchema, notification, { useProtoFieldName: true });
  const body = JSON.stringify({ user_id: userId, notification: json });
  const id = `${notification.id}.${encodeURIComponent(userId)}`;
  const timestamp = String(Math.floor(nowMs / 1000));
  const response = await fetch(target.url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "user-agent": "sluice",
      "webhook-id": id,
      "webhook-timestamp": timestamp,
      ...(secret === undefined ? {} : { "webhook-signature": sign(secret, `${id}.${timestamp}.${body}`) }),
    },
    body,
    // Wherever it leads, nobody configured that.
    redirect: "manual",
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  if (response.ok) {
    await response.body?.cancel();
    return DONE;
  }
  const failure = await failureOf(response, nowMs);
  return response.status === GONE && failure.kind === "failed" ? { kind: "rejected", reason: failure.reason } : failure;
}

function sign(secret: Uint8Array, text: string): string {
  return `v1,${createHmac("sha256", secret).update(text).digest("base64")}`;
}
