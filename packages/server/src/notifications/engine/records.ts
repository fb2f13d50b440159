// What is common to all that puts records into effect.
import type { NewNotificationRecord } from "../contract.ts";
import type { Delivery, InboxState } from "./state.ts";

type Kind = NonNullable<NewNotificationRecord["kind"]>;
export type KindOf<C extends Kind["case"]> = Extract<Kind, { case: C }>["value"];

/** A record, and how long the notification in it is as it is stored; 0: it has none. */
export interface AppliedRecord {
  readonly kind?: NewNotificationRecord["kind"];
  readonly bodyBytes: number;
}

/** Unix ms of Unix ns. */
export function msOf(ns: bigint | undefined): number {
  return ns === undefined ? 0 : Number(ns / 1_000_000n);
}

/** Where a notification is stored, and how long it is. */
export interface StoredAt {
  readonly id: number;
  readonly place: number;
  readonly bytes: number;
}

/** What of a publication is needed to deliver it. */
export function deliveryOf(state: InboxState, published: KindOf<"published">, at: StoredAt): Delivery {
  const notification = published.notification ?? {};
  return {
    ...at,
    priority: notification.priority ?? 0,
    type: state.types.intern(notification.type ?? ""),
    collapseKey: notification.collapseKey ?? "",
    userIds: published.userIds ?? [],
    topics: published.topics ?? [],
    everyone: published.everyone ?? false,
    ttlMs: Number(published.ttlMs ?? 0n),
    ttlMsByUser: (published.ttlMsByUser ?? []).map(Number),
  };
}

export function delay(state: InboxState, delayed: Delivery & { readonly deliverAtMs: number }): void {
  state.delayed.set(delayed.id, delayed);
  state.delayedDue.push(delayed.deliverAtMs, delayed.id);
  state.liveBytes += delayed.bytes;
}

export function remember(state: InboxState, key: { key: string; id: number; untilMs: number }): void {
  // So that the order stays that of time.
  state.keys.delete(key.key);
  state.keys.set(key.key, key);
}

/**
 * Unix s; 0: never. Never too early, up to a second too late: of the time of delivery whole seconds are kept, so that it is the
 * same for what was carried.
 */
export function expiryOf(atMs: number, ttlMs: number): number {
  return ttlMs === 0 ? 0 : Math.min(0xffff_fffe, Math.floor(atMs / 1000) + Math.ceil(ttlMs / 1000) + 1);
}
