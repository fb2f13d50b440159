// Judges what is to be published: what the state says against it is said now, before anything is written. What is on its way to
// the disk counts as if it were there.
//
// P1. A key that is on its way is taken: the same key again gets the first one's id, when that is durable.
import { create } from "@bufbuild/protobuf";
import { NotificationSchema } from "@sluice/api";
import type { NewNotificationRecord, PublishDraft, PublishVerdict } from "./contract.ts";
import type { KindOf } from "./engine/records.ts";
import { bytesMaxOf, itemsMaxOf, OVERFLOW_REJECT, policyOf, ttlMsOf } from "./engine/policies.ts";
import { NONE } from "./engine/rows.ts";
import type { InboxState } from "./engine/state.ts";
import { measureNotification } from "./journal/encode.ts";
import type { StoreLimits } from "./store-options.ts";

const DELAYED_MAX = 100_000;

/** A draft that may be written. */
export interface Accepted {
  readonly record: NewNotificationRecord;
  readonly bodyBytes: number;
  readonly key: string;
  /** Users that it makes, rows that it makes. */
  readonly newUsers: number;
  readonly rows: number;
  /** Users whose policy rejects what does not fit: it counts for them until it is there. */
  readonly reserved: readonly string[];
}

export type Judgement =
  | { readonly kind: "accepted"; readonly accepted: Accepted }
  /** It is there already, or will be. */
  | { readonly kind: "duplicate"; readonly id: number }
  | { readonly kind: "refused"; readonly verdict: PublishVerdict };

export class Publishing {
  readonly #state: InboxState;
  readonly #limits: StoreLimits;
  readonly #keys = new Map<string, number>();
  readonly #reserved = new Map<string, { count: number; bytes: number }>();
  #newUsers = 0;
  #rows = 0;

  constructor(state: InboxState, limits: StoreLimits) {
    this.#state = state;
    this.#limits = limits;
  }

  /** Users that are on their way, beside those of drafts. */
  get newUsers(): number {
    return this.#newUsers;
  }

  judge(draft: PublishDraft, nowNs: bigint): Judgement {
    const nowMs = Number(nowNs / 1_000_000n);
    const { idempotencyKey: key } = draft;
    if (key !== "") {
      const known = this.#state.keys.get(key);
      const id = known !== undefined && known.untilMs > nowMs ? known.id : this.#keys.get(key);
      if (id !== undefined) return { kind: "duplicate", id };
    }
    const userIds = draft.everyone ? [] : [...new Set(draft.userIds)];
    const named = draft.everyone ? [...new Set(draft.userIds)] : userIds;
    const newUsers = named.filter((name) => this.#state.users.find(name) === NONE).length;
    const refusal = this.#boundRefusal(draft, { newUsers, rows: userIds.length }) ?? this.#topicRefusal(draft);
    if (refusal !== undefined) return { kind: "refused", verdict: refusal };
    const published = this.#publishedOf(draft, named, nowNs);
    const bodyBytes = measureNotification(published.notification ?? {});
    const reserved = userIds.filter((name) => this.#rejects(name));
    for (const name of reserved) {
      const full = this.#fullRefusal(name, bodyBytes);
      if (full !== undefined) return { kind: "refused", verdict: full };
    }
    const record: NewNotificationRecord = { kind: { case: "published", value: published } };
    return { kind: "accepted", accepted: { record, bodyBytes, key, newUsers, rows: userIds.length, reserved } };
  }

  /** It was appended at this place. */
  begin({ key, newUsers, rows, reserved, bodyBytes }: Accepted, place: number): void {
    if (key !== "") this.#keys.set(key, place);
    this.#newUsers += newUsers;
    this.#rows += rows;
    for (const name of reserved) {
      const { count, bytes } = this.#reserved.get(name) ?? { count: 0, bytes: 0 };
      this.#reserved.set(name, { count: count + 1, bytes: bytes + bodyBytes });
    }
  }

  /** It is in effect. */
  end({ key, newUsers, rows, reserved, bodyBytes }: Accepted): void {
    this.#keys.delete(key);
    this.#newUsers -= newUsers;
    this.#rows -= rows;
    for (const name of reserved) {
      const { count, bytes } = this.#reserved.get(name)!;
      if (count === 1) this.#reserved.delete(name);
      else this.#reserved.set(name, { count: count - 1, bytes: bytes - bodyBytes });
    }
  }

  #publishedOf(draft: PublishDraft, userIds: string[], nowNs: bigint): KindOf<"published"> {
    const { type, title, message, priority, metadata, collapseKey, actionUrl } = draft;
    const state = this.#state;
    let ttlMs = draft.ttlMs || ttlMsOf(state.defaultPolicy, priority);
    let byUser: number[] = [];
    if (draft.ttlMs === 0 && !draft.everyone) {
      byUser = userIds.map((name) => {
        const user = state.users.find(name);
        return user === NONE ? ttlMs : ttlMsOf(policyOf(state, user), priority);
      });
      if (byUser.every((each) => each === byUser[0])) {
        ttlMs = byUser[0] ?? ttlMs;
        byUser = [];
      }
    }
    return {
      notification: create(NotificationSchema, {
        type,
        title,
        message,
        timestamp: nowNs,
        priority,
        metadata: { ...metadata },
        collapseKey,
        actionUrl,
      }),
      userIds,
      topics: draft.everyone ? [] : [...new Set(draft.topics)],
      everyone: draft.everyone,
      idempotencyKey: draft.idempotencyKey,
      ttlMs: BigInt(ttlMs),
      ttlMsByUser: byUser.map(BigInt),
      deliverAt: draft.deliverAt,
      at: nowNs,
    };
  }

  #topicRefusal({ topics, everyone }: PublishDraft): PublishVerdict | undefined {
    if (everyone || topics.length === 0) return undefined;
    const { topics: known, channels } = this.#state;
    const unknown = topics.find((name) => !known.has(name));
    if (unknown !== undefined) {
      const text = `Cannot publish to the topic "${unknown}": nobody ever joined it; SubscribeTopics makes it`;
      return { kind: "refused", reason: "UNKNOWN_TOPIC", text };
    }
    const { topicsMax } = this.#limits;
    const isNew = !channels.has([...new Set(topics)].sort().join("\0"));
    if (!isNew || topics.length === 1 || channels.size < 2 * topicsMax) return undefined;
    return limit(
      `Cannot publish to this set of topics: there are ${channels.size} sets, the limit is ${2 * topicsMax}`,
    );
  }

  #boundRefusal(draft: PublishDraft, adds: { newUsers: number; rows: number }): PublishVerdict | undefined {
    const { users, items, keys, delayed } = this.#state;
    const { usersMax, inboxItemsTotalMax, rememberedKeysMax } = this.#limits;
    if (users.size + this.#newUsers + adds.newUsers > usersMax) {
      return limit(`Cannot publish to ${adds.newUsers} new users: there are ${users.size}, the limit is ${usersMax}`);
    }
    if (items.size + this.#rows + adds.rows > inboxItemsTotalMax) {
      return limit(`Cannot publish: all inboxes hold ${items.size} notifications, the limit is ${inboxItemsTotalMax}`);
    }
    if (draft.idempotencyKey !== "" && keys.size + this.#keys.size >= rememberedKeysMax) {
      return limit(
        `Cannot remember the idempotency key: ${keys.size} are remembered, the limit is ${rememberedKeysMax}`,
      );
    }
    if (draft.deliverAt > 0n && delayed.size >= DELAYED_MAX) {
      return limit(`Cannot delay the notification: ${delayed.size} are delayed, the limit is ${DELAYED_MAX}`);
    }
    return undefined;
  }

  #rejects(name: string): boolean {
    const user = this.#state.users.find(name);
    const policy = user === NONE ? this.#state.defaultPolicy : policyOf(this.#state, user);
    return policy?.overflow === OVERFLOW_REJECT;
  }

  #fullRefusal(name: string, bodyBytes: number): PublishVerdict | undefined {
    const { users, defaultPolicy } = this.#state;
    const user = users.find(name);
    const policy = user === NONE ? defaultPolicy : policyOf(this.#state, user);
    const underway = this.#reserved.get(name) ?? { count: 0, bytes: 0 };
    const count = underway.count + (user === NONE ? 0 : users.count(user));
    const bytes = underway.bytes + (user === NONE ? 0 : users.bytes(user));
    const itemsMax = itemsMaxOf(policy, this.#limits);
    const bytesMax = bytesMaxOf(policy, this.#limits);
    if (count + 1 <= itemsMax && bytes + bodyBytes <= bytesMax) return undefined;
    const has = `it has ${count} notifications of ${bytes} bytes, its policy allows ${itemsMax} of ${bytesMax}`;
    return { kind: "refused", reason: "INBOX_FULL", text: `Cannot publish to the inbox of "${name}": ${has}` };
  }
}

function limit(text: string): PublishVerdict {
  return { kind: "refused", reason: "LIMIT_EXCEEDED", text };
}
