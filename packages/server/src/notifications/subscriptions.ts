// All streams of notifications: who is here, and how they are found again.
import { randomBytes } from "node:crypto";
import type { Call } from "@sluice/rpc";
import { Draining, LimitExceeded, NotFound } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { Clock } from "../store/contract.ts";
import { Heartbeats } from "../stream/heartbeat.ts";
import type { NotificationStore } from "./contract.ts";
import { SharedFrames } from "./item-frames.ts";
import type { Presence, PresenceWatch } from "./presence.ts";
import type { SubscriptionQuery } from "./requests.ts";
import { InboxSubscription } from "./subscription.ts";

export interface SubscriptionsOptions {
  readonly presence: Presence;
  readonly clock: Clock;
  readonly limits: Limits;
}

const ID_BYTES = 12;

export class InboxSubscriptions {
  readonly presence: Presence;
  readonly #options: SubscriptionsOptions;
  readonly #heartbeats: Heartbeats;
  readonly #shared = new SharedFrames();
  readonly #open = new Map<string, InboxSubscription>();
  readonly #watches = new Set<PresenceWatch>();
  #isDraining = false;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#heartbeats = new Heartbeats(options.clock);
    this.presence = options.presence;
  }

  /** Open streams, watches of presence among them. */
  get size(): number {
    return this.#open.size + this.#watches.size;
  }

  /** Before anything is done for a stream. @throws Draining, LimitExceeded */
  admit(): void {
    if (this.#isDraining) throw new Draining();
    const { devicesMax } = this.#options.limits;
    if (this.size < devicesMax) return;
    const text = `Cannot subscribe to notifications: the server has ${this.size} subscriptions, its limit`;
    throw new LimitExceeded(text, "subscriptions to notifications");
  }

  /** @throws Draining, LimitExceeded; NotFound when the user was deleted in this moment */
  open(query: SubscriptionQuery, { store, call }: { store: NotificationStore; call: Call }): InboxSubscription {
    this.admit();
    const { clock } = this.#options;
    const { presence } = this;
    const subscription = new InboxSubscription({
      id: randomBytes(ID_BYTES).toString("base64url"),
      query,
      store,
      shared: this.#shared,
      heartbeats: this.#heartbeats,
      clock,
      onClose: ({ id, userId, deviceId }) => {
        if (this.#open.delete(id)) presence.leave(userId, deviceId);
      },
    });
    this.#open.set(subscription.id, subscription);
    presence.enter(query.userId, query.deviceId);
    call.onEnd(() => subscription.close());
    return subscription;
  }

  /** @throws NotFound */
  get(id: string): InboxSubscription {
    const subscription = this.#open.get(id);
    if (subscription === undefined) throw new NotFound("subscription", id, "it has ended, or never was");
    return subscription;
  }

  /** @throws Draining, LimitExceeded */
  watch(userId: string, graceMs: number, call: Call): PresenceWatch {
    this.admit();
    const watch = this.presence.watch(userId, graceMs, (ended) => this.#watches.delete(ended));
    this.#watches.add(watch);
    call.onEnd(() => watch.close());
    return watch;
  }

  /** Ends all with UNAVAILABLE; new ones are refused. */
  drain(): void {
    this.#isDraining = true;
    this.interrupt();
  }

  /** Ends all with UNAVAILABLE: the devices come again. */
  interrupt(): void {
    for (const subscription of this.#open.values()) subscription.interrupt();
    for (const watch of this.#watches) watch.interrupt();
  }
}
