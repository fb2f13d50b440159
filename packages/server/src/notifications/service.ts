// The notification service: its handlers, and what they share. Each handler reads as the way of the data: parse, authorize, do.
//
// NS1. Every entrance asks `authorize` for the inbox that it is about to touch, before it looks whether it is there.
// NS2. Whatever a request names (cursor, id, topic), only what is in the named user's inbox comes out: the store is asked
//      for that inbox and nothing else.
import type {
  NotificationService,
  SeedNotificationService,
  SubscriptionRequest,
  UpdateSubscriptionRequest,
  WatchPresenceRequest,
} from "@sluice/api";
import type { Call, FrameSource, ServiceHandlers } from "@sluice/rpc";
import { CursorExpired, SluiceError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { type Authorize, type Subject, subjectOf } from "../security/authorize.ts";
import type { Clock } from "../store/contract.ts";
import { WriteBudget } from "../stream/write-budget.ts";
import type { NotificationStore, PublishDraft, Through } from "./contract.ts";
import { parseInboxCursor } from "./cursor.ts";
import { createInboxHandlers, EVERYONE } from "./inbox-handlers.ts";
import type { Presence } from "./presence.ts";
import { publish } from "./publish.ts";
import { bad, parseFlow, parseSubscription, parseUser, type ReadPosition } from "./requests.ts";
import type { Sinks } from "./sinks/sinks.ts";
import { InboxSubscriptions } from "./subscriptions.ts";

/** The store as it is now: after a failure it is opened again. */
export interface NotificationStoreSource {
  /** @throws SluiceError "unavailable" while there is none */
  readonly current: NotificationStore;
  /** Called whenever a store has failed: whoever reads it has to come again. */
  onFailure(listener: (error: Error) => void): void;
}

export interface NotificationServiceOptions {
  readonly source: NotificationStoreSource;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly presence: Presence;
  /** Undefined: nobody who is away is told. */
  readonly sinks: Pick<Sinks, "published" | "publicKey" | "refuse"> | undefined;
}

export interface NotificationServiceHandle {
  readonly handlers: ServiceHandlers<typeof NotificationService>;
  /** Of the unversioned service. */
  readonly seedHandlers: ServiceHandlers<typeof SeedNotificationService>;
  /** Open streams: subscriptions and watches of presence. */
  readonly devices: number;
  /** Of requests to publish that came and are not taken yet. */
  readonly publishingBytes: number;
  /** Ends all streams with UNAVAILABLE; new ones are refused. */
  drain(): void;
}

const GRACE_MS_DEFAULT = 10_000;
const GRACE_MS_MAX = 24 * 3600 * 1000;

export function createNotificationService(options: NotificationServiceOptions): NotificationServiceHandle {
  const { source, authorize, clock, limits, presence, sinks } = options;
  const store = (): NotificationStore => source.current;
  const subscriptions = new InboxSubscriptions({ clock, limits, presence });
  const budget = new WriteBudget(limits.writesBytesMax);
  source.onFailure(() => subscriptions.interrupt());
  const position: ReadPosition = (cursor, user, field) => readPosition(store(), { cursor, user, field });
  const streams = { store, subscriptions, authorize, limits, position };

  return {
    handlers: {
      ...createInboxHandlers({ store, authorize, limits, presence, position, sinks }),
      ...streamHandlers(streams),
      subscribeToNotifications: subscribe(streams, true),
      publish: {
        raw: true,
        unary: (bytes, call) =>
          publish(bytes, {
            store: store(),
            limits,
            sinks,
            budget,
            authorize: (draft) => authorizeDraft(authorize, subjectOf(call), draft),
          }),
      },
    },
    seedHandlers: { subscribeToNotifications: subscribe(streams, false) },
    get devices() {
      return subscriptions.size;
    },
    get publishingBytes() {
      return budget.held;
    },
    drain: () => subscriptions.drain(),
  };
}

interface Streams {
  readonly store: () => NotificationStore;
  readonly subscriptions: InboxSubscriptions;
  readonly authorize: Authorize;
  readonly limits: Limits;
  readonly position: ReadPosition;
}

/** First contact makes the user: what goes to everyone is theirs from then on. */
function subscribe({ store, subscriptions, authorize, limits, position }: Streams, isVersioned: boolean) {
  return (request: SubscriptionRequest, call: Call): FrameSource | Promise<FrameSource> => {
    const query = parseSubscription(request, { limits, isVersioned, position });
    authorize(subjectOf(call), "read", { type: "inbox", name: query.userId });
    subscriptions.admit();
    const inbox = store();
    const touched = inbox.touch(query.userId);
    const open = (): FrameSource => subscriptions.open(query, { store: inbox, call });
    return touched === undefined ? open() : touched.then(open);
  };
}

function streamHandlers({ store, subscriptions, authorize, limits, position }: Streams) {
  async function updateSubscription(
    { subscriptionId, flow, ackCursor }: UpdateSubscriptionRequest,
    call: Call,
  ): Promise<Record<string, never>> {
    const subscription = subscriptions.get(subscriptionId);
    const { userId, deviceId } = subscription;
    authorize(subjectOf(call), "consume", { type: "inbox", name: userId });
    const ack = ackCursor === "" ? undefined : position(ackCursor, userId, "ack_cursor");
    if (ack !== undefined && deviceId === "") {
      throw bad("ack_cursor", "is remembered for a device, and the subscription named none");
    }
    try {
      if (flow !== undefined) subscription.setFlow(parseFlow(flow));
    } catch (error) {
      if (error instanceof RangeError) throw bad("flow.seen", error.message);
      throw error;
    }
    if (ack !== undefined) await store().acknowledge(userId, deviceId, ack);
    return {};
  }

  function watchPresence({ userId, graceMs = GRACE_MS_DEFAULT }: WatchPresenceRequest, call: Call): FrameSource {
    parseUser(userId, limits);
    if (graceMs > GRACE_MS_MAX) throw bad("grace_ms", `${graceMs} is more than a day (${GRACE_MS_MAX})`);
    authorize(subjectOf(call), "describe", { type: "inbox", name: userId });
    return subscriptions.watch(userId, graceMs, call);
  }

  return { updateSubscription, watchPresence };
}

/** Whatever a notification goes to. @throws PermissionDenied */
function authorizeDraft(authorize: Authorize, subject: Subject, { userIds, topics, everyone }: PublishDraft): void {
  for (const name of userIds) authorize(subject, "write", { type: "inbox", name });
  for (const name of topics) authorize(subject, "write", { type: "topic", name });
  if (everyone) authorize(subject, "write", { type: "inbox", name: EVERYONE });
}

/** Where a cursor of this store points. @throws InvalidRequest, CursorExpired, SluiceError "out-of-range" */
function readPosition(
  store: NotificationStore,
  { cursor, user, field }: { readonly cursor: string; readonly user: string; readonly field: string },
): Through {
  const { epoch, through } = parseInboxCursor(cursor, user, field);
  if (epoch !== store.epoch) {
    const text = `Cannot go on after this cursor (${field}): it is of a history that is not here any more; begin anew`;
    throw new CursorExpired(text, {});
  }
  if (Math.max(...through) > store.head) {
    const text = `Cannot go on after this cursor (${field}): it lies ahead of what there is, ${store.head}`;
    throw new SluiceError("out-of-range", text, { reason: "CURSOR_AHEAD" });
  }
  return through;
}
