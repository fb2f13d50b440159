// Settings of notifications: who is told of what somebody misses who is away.
import { z } from "zod";
import { parseWebhook, WEBHOOK_ALLOWED, type WebhookSetting } from "../notifications/sinks/webhook-settings.ts";
import { setting } from "./setting.ts";
import { duration, listOf, orOff } from "./types.ts";

/** Push services of the browsers that there are. */
const PUSH_HOSTS =
  "fcm.googleapis.com,*.push.services.mozilla.com,*.notify.windows.com,web.push.apple.com,*.push.apple.com";
const HOST_ALLOWED = "the name of a host, with * for any characters, or an origin such as http://127.0.0.1:9000";
const SUBJECT_ALLOWED = "mailto:ADDRESS or https://HOST/PATH";

const webhook = z.string({ error: `allowed is ${WEBHOOK_ALLOWED}` }).transform((text, context): WebhookSetting => {
  const found = parseWebhook(text);
  if (typeof found !== "string") return found;
  context.addIssue({ code: "custom", message: `"${text}" is no webhook: ${found}; allowed is ${WEBHOOK_ALLOWED}` });
  return z.NEVER;
});

const subject = z.string().refine((text) => /^(?:mailto:[^\s@]+@[^\s@]+|https:\/\/\S+)$/u.test(text), {
  error: ({ input }) => `"${String(input)}" is none; allowed is ${SUBJECT_ALLOWED}`,
});

const host = z.string({ error: `allowed is ${HOST_ALLOWED}` }).transform((text, context): string => {
  const trimmed = text.trim();
  if (/^[\w.*-]+(?::\d+)?$/u.test(trimmed) || URL.parse(trimmed)?.origin === trimmed) return trimmed;
  context.addIssue({ code: "custom", message: `"${text}" is none; allowed is ${HOST_ALLOWED}` });
  return z.NEVER;
});

export const notificationSettings = z.strictObject({
  away: setting(duration("0", "30d"), {
    description:
      "How long none of a user's devices must have been connected before webhooks and push services are told.",
    placeholder: "duration",
    default: "5m",
  }),
  webhooks: setting(orOff(listOf(webhook, WEBHOOK_ALLOWED)), {
    description:
      "Web servers that hear of notifications for users who are away. In the file a map: NAME: URL, or NAME with url, " +
      "secretFile, types and minPriority below it.",
    placeholder: "NAME=URL|off",
    default: "off",
    isList: true,
    isMap: true,
  }),
  webPushSubject: setting(orOff(subject), {
    description:
      "Whom push services of browsers ask when something is wrong; browsers of users who are away are told only with it.",
    placeholder: "mailto:ADDRESS|off",
    default: "off",
  }),
  webPushHosts: setting(listOf(host, HOST_ALLOWED), {
    description: "Push services that the server sends to, whatever endpoint a browser names.",
    placeholder: "host",
    default: PUSH_HOSTS,
    isList: true,
    isAdvanced: true,
  }),
});

/** As the server takes them. */
export interface NotificationSettings {
  readonly awayMs: number;
  readonly webhooks: readonly WebhookSetting[];
  /** undefined: off. */
  readonly webPush: { readonly subject: string; readonly hosts: readonly string[] } | undefined;
}

/** @param resolvePath of files that the settings name */
export function toNotificationSettings(
  { away, webhooks = [], webPushSubject, webPushHosts }: z.output<typeof notificationSettings>,
  resolvePath: (key: string, path: string) => string,
): NotificationSettings {
  return {
    awayMs: away,
    webhooks: webhooks.map((each) => {
      const { secretFile } = each;
      return {
        ...each,
        secretFile: secretFile === undefined ? undefined : resolvePath("notifications.webhooks", secretFile),
      };
    }),
    webPush: webPushSubject === undefined ? undefined : { subject: webPushSubject, hosts: webPushHosts },
  };
}
