// How a notification reads on a terminal: one line.
import type { Notification } from "@sluice/client";
import type { Paint, Style } from "../terminal.ts";
import { formatTime } from "./log-line.ts";

/** From priority 0 to 7. */
const STYLES: readonly Style[] = ["reset", "reset", "cyan", "cyan", "yellow", "yellow", "red", ["bold", "red"]];

/** "● 2026-11-21 08:43:01.123 P7 order.paid  Paid: thank you  [shop] 17": ● is unread, ✓ read, ▪ archived. */
export function formatNotification(
  notification: Notification,
  { paint, isUtc }: { paint: Paint; isUtc: boolean },
): string {
  const { id, type, title, message, timestamp, priority, topic, state, silent, actionUrl } = notification;
  const mark = state?.archived === true ? "▪" : state?.read === true ? "✓" : "●";
  const words = [title, message].filter((text) => text !== "").map(visible);
  const parts = [
    paint(STYLES[priority] ?? "reset", `${mark} P${priority}`),
    paint("dim", formatTime(timestamp, isUtc)),
    ...(type === "" ? [] : [paint("cyan", visible(type))]),
    words.join(": "),
    ...(topic === "" ? [] : [paint("dim", `[${visible(topic)}]`)]),
    ...(actionUrl === "" ? [] : [paint("dim", visible(actionUrl))]),
    ...(silent ? [paint("dim", "(silent)")] : []),
    paint("dim", `#${id}`),
  ];
  return parts.join(" ");
}

/** As protobuf's JSON has it. */
export function notificationToJson(notification: Notification): object {
  const { $typeName: _, $unknown: __, control: ___, state, ...fields } = notification;
  if (state === undefined) return fields;
  const { $typeName: ____, $unknown: _____, ...flags } = state;
  return { ...fields, state: flags };
}

/** Control characters shown instead of obeyed: a notification must not steer a terminal. */
function visible(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (each) =>
    each === "\n" ? " ⏎ " : `\\x${each.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
