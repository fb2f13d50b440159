// The SDK in a browser: inboxes, by gRPC-Web.
import { NotificationService } from "@sluice/api";
import { createWebClient } from "@sluice/rpc";
import { NotificationClient } from "./inbox-client.ts";
import { STREAM_RETRY, UNARY_RETRY, withRetry } from "./retry.ts";
import { systemClock, systemRandom } from "./time.ts";

export { Inbox, type InboxCounts, type InboxEvent, type InboxOptions } from "./inbox.ts";
export { type InboxSelection, type InboxState, type NewNotification, NotificationClient } from "./inbox-client.ts";

const UNARY_TIMEOUT_MS = 10_000;

/**
 * The notifications of a server, from a page that it serves or whose origin it lists (`webOrigins`).
 * @param baseUrl "https://sluice.example"
 */
export function connectNotifications(baseUrl: string): NotificationClient {
  const [clock, random, closed] = [systemClock, systemRandom, new AbortController().signal];
  return new NotificationClient({
    rpc: createWebClient(NotificationService, baseUrl),
    clock,
    random,
    closed,
    retry: STREAM_RETRY,
    ask(call, { signal = closed, timeoutMs = UNARY_TIMEOUT_MS, retry }) {
      const policy = { ...UNARY_RETRY, ...retry };
      return withRetry(() => call({ signal, timeoutMs }), { policy, clock, random, signal });
    },
  });
}
