// Browsers that are not connected, by their push service: RFC 8030, the message encrypted for the browser alone (RFC 8291),
// ourselves known by a key (VAPID, RFC 8292). The library makes the request; it is sent here, so that it ends when it should.
//
// WP1. The server posts to hosts that the configuration lists, nowhere else: an endpoint is what some client said.
import { createHash } from "node:crypto";
import type { Notification } from "@sluice/api";
import webPush from "web-push";
import { matchesGlob } from "../../stream/glob.ts";
import type { WebPushTarget } from "../contract.ts";
import { DONE, failureOf, type SinkOutcome } from "./outcome.ts";

export interface WebPushKeys {
  /** base64url, as a browser's `applicationServerKey`. */
  readonly publicKey: string;
  readonly privateKey: string;
}

export interface WebPushSettings {
  /** Whom a push service asks when something is wrong: "mailto:…" or "https://…". */
  readonly subject: string;
  readonly keys: WebPushKeys;
  /** Globs of names of hosts, which must be https; or whole origins. */
  readonly hosts: readonly string[];
}

/** What becomes of a browser's subscription, beside what becomes of the job. */
export type WebPushOutcome = SinkOutcome | { readonly kind: "unsubscribed" };

const TIMEOUT_MS = 15_000;
/** What a push service takes (RFC 8030, 7.2: at least 4096 bytes), less what encryption adds. */
const PAYLOAD_BYTES_MAX = 3_900;
const TTL_SECONDS_MAX = 28 * 24 * 3600;
/** By priority from 0 to 7: RFC 8030, 5.3. */
const URGENCIES = ["very-low", "low", "normal", "normal", "normal", "high", "high", "high"] as const;

/** Why nothing may be sent there (WP1); undefined: it may. */
export function refuseEndpoint(endpoint: string, hosts: readonly string[]): string | undefined {
  const url = URL.parse(endpoint);
  if (url === null) return "is no URL";
  if (url.username !== "" || url.password !== "") return "has a user in it";
  const isListed = hosts.some((each) =>
    each.includes("://") ? each === url.origin : url.protocol === "https:" && matchesGlob(each, url.host),
  );
  if (isListed) return undefined;
  return `is not of a push service that this server sends to (${hosts.join(", ")}); notifications.webPushHosts lists them`;
}

/** Why these are no keys of a browser; undefined: they are. */
export function refuseKeys({ p256dh, auth }: Pick<WebPushTarget, "p256dh" | "auth">): string | undefined {
  const point = Buffer.from(p256dh, "base64url");
  if (point.length !== 65 || point[0] !== 4) return "p256dh is no uncompressed point of P-256 in base64url";
  if (Buffer.from(auth, "base64url").length !== 16) return "auth is not 16 bytes in base64url";
  return undefined;
}

/** @throws what `fetch` throws when the service cannot be reached */
export async function sendWebPush(
  { subject, keys, hosts }: WebPushSettings,
  { target, notification }: { readonly target: WebPushTarget; readonly notification: Notification },
  { nowMs, signal }: { readonly nowMs: number; readonly signal: AbortSignal },
): Promise<WebPushOutcome> {
  const { endpoint, p256dh, auth } = target;
  const refusal = refuseEndpoint(endpoint, hosts) ?? refuseKeys(target);
  if (refusal !== undefined) return { kind: "rejected", reason: `the endpoint ${refusal}` };
  const { headers, body } = webPush.generateRequestDetails(
    { endpoint, keys: { p256dh, auth } },
    payloadOf(notification),
    {
      vapidDetails: { subject, ...keys },
      contentEncoding: "aes128gcm",
      TTL: secondsLeft(notification, nowMs),
      urgency: URGENCIES[notification.priority] ?? "normal",
      ...(notification.collapseKey === "" ? {} : { topic: topicOf(notification.collapseKey) }),
    },
  );
  const response = await fetch(endpoint, {
    method: "POST",
    headers: headers as Record<string, string>,
    body: Uint8Array.from(body),
    redirect: "manual",
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  if (response.ok) {
    await response.body?.cancel();
    return DONE;
  }
  // RFC 8030, 7.3: the subscription is no more.
  if (response.status === 404 || response.status === 410) {
    await response.body?.cancel();
    return { kind: "unsubscribed" };
  }
  return await failureOf(response, nowMs);
}

/** What fits: without metadata when it is too long, then with a shorter message. */
function payloadOf({ id, type, title, message, priority, actionUrl, metadata, silent }: Notification): Buffer {
  const facts = { id, type, title, message, priority, action_url: actionUrl, silent };
  const whole = Buffer.from(JSON.stringify({ ...facts, metadata }));
  if (whole.length <= PAYLOAD_BYTES_MAX) return whole;
  let text = message;
  for (;;) {
    const short = Buffer.from(JSON.stringify({ ...facts, message: text, truncated: true }));
    if (short.length <= PAYLOAD_BYTES_MAX) return short;
    if (text === "") return Buffer.from(JSON.stringify({ id, priority, truncated: true }));
    text = text.slice(0, Math.floor(text.length * 0.9)).toWellFormed();
  }
}

/** RFC 8030, 5.4: at most 32 characters of base64url. */
function topicOf(collapseKey: string): string {
  return createHash("sha256").update(collapseKey).digest("base64url").slice(0, 32);
}

function secondsLeft({ expiresAt }: Notification, nowMs: number): number {
  if (expiresAt === 0n) return TTL_SECONDS_MAX;
  const seconds = Math.ceil((Number(expiresAt / 1_000_000n) - nowMs) / 1000);
  return Math.min(Math.max(seconds, 0), TTL_SECONDS_MAX);
}
