// A user's inbox as it is: a snapshot, then what comes and what becomes of it, across lost connections. For Node and browsers.
//
// IB1. A notification is told once: after a lost connection the stream goes on behind the last cursor that was seen.
// IB2. What is read elsewhere changes `items` before it is told. A change of "all up to a cursor" cannot be worked out here,
//      for cursors are opaque: the snapshot is taken anew, and the stream goes on where that was made.
// IB3. `counts` are the server's; in between each new notification is one more.
// IB4. What is acknowledged is what was told: nothing that waits to be taken from the iteration.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ListNotificationsRequestSchema,
  ListNotificationsResponse,
  Notification,
  NotificationState,
  RemovalReason,
  StateChange,
  SubscriptionRequestSchema,
  UpdateSubscriptionRequestSchema,
} from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { listenTo, SILENCE_IN_HEARTBEATS } from "./listen.ts";
import { type ConnectionEvent, reconnecting } from "./reconnect.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Clock, Random } from "./time.ts";

/** Which notifications, and how they are watched. */
export interface InboxOptions {
  /** What this device is called; presence shows it. Default: it has no name. */
  readonly deviceId?: string;
  /** `*` stands for any characters, `?` for one: "order.*". Default: all. */
  readonly eventTypes?: readonly string[];
  /** The lowest priority that is wanted, 0 to 7. Default: all. */
  readonly priority?: number;
  /** How many of the newest are kept in `items`, 1 to 1,000. Default: 100. */
  readonly itemsMax?: number;
  /** How often the server says that the stream lives, ms; one that is silent is opened anew. 0: never. Default: 15 s. */
  readonly heartbeatMs?: number;
  /** Ends it: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Default: goes on for ever, with up to 30 s between attempts. */
  readonly retry?: Partial<RetryPolicy>;
}

/** How many are neither read nor archived. */
export interface InboxCounts {
  readonly unread: number;
  /** By priority, from 0 to 7. */
  readonly unreadByPriority: readonly number[];
}

/** What happens to an inbox, in order; `items` and `counts` are up to date when it is told. */
export type InboxEvent =
  /** `items` and `counts` are as they are on the server: at the beginning, and whenever they had to be taken anew. */
  | { readonly kind: "snapshot"; readonly items: readonly Notification[]; readonly counts: InboxCounts }
  /** A new one, or one that was snoozed and comes again. */
  | { readonly kind: "notification"; readonly notification: Notification }
  /** These of `items` have another state. */
  | { readonly kind: "changed"; readonly items: readonly Notification[] }
  /** Gone, and why; `count` of them, of which `ids` are some. */
  | {
      readonly kind: "removed";
      readonly reason: RemovalReason;
      readonly ids: readonly string[];
      readonly count: number;
    }
  | { readonly kind: "counts"; readonly counts: InboxCounts }
  /** Everything up to now has been told. */
  | { readonly kind: "sync" }
  | ConnectionEvent;

/** The calls that an inbox needs. */
export interface InboxCalls {
  readonly listNotifications: (
    request: MessageInitShape<typeof ListNotificationsRequestSchema>,
    options: { readonly signal: AbortSignal },
  ) => Promise<ListNotificationsResponse>;
  readonly subscribeToNotifications: (
    request: MessageInitShape<typeof SubscriptionRequestSchema>,
    options: { readonly signal: AbortSignal },
  ) => AsyncIterable<Notification>;
  readonly updateSubscription: (
    request: MessageInitShape<typeof UpdateSubscriptionRequestSchema>,
    options: { readonly signal: AbortSignal },
  ) => Promise<unknown>;
}

/** Where an inbox lives. */
export interface InboxContext {
  readonly calls: InboxCalls;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

const HEARTBEAT_MS = 15_000;
const ITEMS_MAX = 100;
const NO_COUNTS: InboxCounts = { unread: 0, unreadByPriority: [0, 0, 0, 0, 0, 0, 0, 0] };

type Message =
  | { readonly kind: "list"; readonly list: ListNotificationsResponse }
  | { readonly kind: "message"; readonly message: Notification };

/** Opened when it is iterated, once; it goes on after lost connections. */
export class Inbox implements AsyncIterable<InboxEvent> {
  readonly userId: string;
  readonly #context: InboxContext;
  readonly #options: InboxOptions;
  #items: readonly Notification[] = [];
  #counts = NO_COUNTS;
  /** Behind what was told last; undefined: take a snapshot. */
  #cursor: string | undefined;
  /** Of the stream that is open now; "": there is none, or it has not begun. */
  #subscriptionId = "";
  #isOpened = false;

  constructor(userId: string, context: InboxContext, options: InboxOptions) {
    this.userId = userId;
    this.#context = context;
    this.#options = options;
  }

  /** The newest, newest first, without those that are archived. */
  get items(): readonly Notification[] {
    return this.#items;
  }

  get counts(): InboxCounts {
    return this.#counts;
  }

  /**
   * The device has all that was told so far, so that nothing else need tell it: kept by the server, also across a restart.
   * Resolves at once while no connection is there: what comes later is acknowledged with it.
   * @throws RpcError; TypeError for an inbox without a device id
   */
  async acknowledge(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if ((this.#options.deviceId ?? "") === "")
      throw new TypeError("Cannot acknowledge without a device id: give it one");
    if (this.#subscriptionId === "" || this.#cursor === undefined) return;
    const { calls, closed } = this.#context;
    const signals = [closed, options.signal].filter((signal) => signal !== undefined);
    const request = { subscriptionId: this.#subscriptionId, ackCursor: this.#cursor };
    await calls.updateSubscription(request, { signal: AbortSignal.any(signals) });
  }

  /** @throws RpcError; the signal's reason; TypeError when it was opened before */
  [Symbol.asyncIterator](): AsyncIterableIterator<InboxEvent> {
    if (this.#isOpened) throw new TypeError("Cannot iterate an inbox twice: watch it anew");
    this.#isOpened = true;
    const { clock, random, retry, closed } = this.#context;
    return reconnecting<Message, InboxEvent>({
      attempt: (stop) => this.#attempt(stop),
      eventsOf: (message) => (message.kind === "list" ? [this.#take(message.list)] : this.#apply(message.message)),
      clock,
      random,
      retry: { ...retry, ...this.#options.retry },
      signals: [closed, this.#options.signal],
    });
  }

  async *#attempt(stop: AbortSignal): AsyncGenerator<Message> {
    const { calls, clock } = this.#context;
    const { deviceId = "", eventTypes = [], priority = 0, itemsMax = ITEMS_MAX } = this.#options;
    const { heartbeatMs = HEARTBEAT_MS } = this.#options;
    const selection = { userId: this.userId, eventTypes: [...eventTypes], priorityLevel: priority };
    for (;;) {
      if (this.#cursor === undefined) {
        const list = await calls.listNotifications({ ...selection, pageSize: itemsMax }, { signal: stop });
        yield { kind: "list", list };
      }
      const request = { ...selection, deviceId, resumeAfter: this.#cursor ?? "", heartbeatMs };
      const messages = listenTo((options) => calls.subscribeToNotifications(request, options), {
        what: "stream of notifications",
        silenceMs: heartbeatMs > 0 ? heartbeatMs * SILENCE_IN_HEARTBEATS : undefined,
        clock,
        stop,
      });
      try {
        for await (const message of messages) {
          yield { kind: "message", message };
          if (this.#cursor === undefined) break; // IB2
        }
        if (this.#cursor !== undefined) return;
      } catch (error) {
        // What the cursor was of is not there any more.
        if (!(error instanceof RpcError && error.code === Code.OUT_OF_RANGE)) throw error;
        this.#cursor = undefined;
      } finally {
        this.#subscriptionId = "";
      }
    }
  }

  #take({ notifications, counts, cursor }: ListNotificationsResponse): InboxEvent {
    this.#items = notifications;
    this.#counts = countsOf(counts);
    this.#cursor = cursor;
    return { kind: "snapshot", items: this.#items, counts: this.#counts };
  }

  #apply(message: Notification): InboxEvent[] {
    const kind = message.control?.kind;
    switch (kind?.case) {
      case undefined:
        this.#moveTo(message.cursor);
        return message.state?.archived === true ? [] : [this.#add(message)];
      case "opened":
        this.#subscriptionId = kind.value.subscriptionId;
        return [];
      case "stateChange":
        this.#moveTo(kind.value.cursor);
        return this.#change(kind.value);
      case "removal": {
        const { reason, ids, count, cursor } = kind.value;
        this.#moveTo(cursor);
        this.#items = this.#items.filter(({ id }) => !ids.includes(id));
        return [{ kind: "removed", reason, ids, count: Number(count) }];
      }
      case "counts":
        this.#counts = countsOf(kind.value);
        return [{ kind: "counts", counts: this.#counts }];
      case "sync":
        this.#moveTo(kind.value.cursor);
        return [{ kind: "sync" }];
      case "heartbeat":
        if (kind.value.lagEntries === 0n) this.#moveTo(kind.value.headCursor);
        return [];
      default:
        return [];
    }
  }

  #moveTo(cursor: string): void {
    if (cursor !== "" && this.#cursor !== undefined) this.#cursor = cursor;
  }

  #add(notification: Notification): InboxEvent {
    const { id, priority, state } = notification;
    const { itemsMax = ITEMS_MAX } = this.#options;
    if (state === undefined) {
      const unreadByPriority = this.#counts.unreadByPriority.map((count, i) => (i === priority ? count + 1 : count));
      this.#counts = { unread: this.#counts.unread + 1, unreadByPriority };
    }
    const others = this.#items.filter((item) => item.id !== id);
    // More urgent ones that came after it may have overtaken it.
    let at = 0;
    while (at < others.length && others[at]!.priority > priority && BigInt(others[at]!.id) > BigInt(id)) at++;
    this.#items = others.toSpliced(at, 0, notification).slice(0, itemsMax);
    return { kind: "notification", notification };
  }

  #change({ ids, throughCursor, state }: StateChange): InboxEvent[] {
    if (throughCursor !== "") {
      this.#cursor = undefined;
      return [];
    }
    if (state === undefined) return [];
    const changed = new Map<string, Notification>();
    for (const item of this.#items) {
      if (ids.includes(item.id) && isNewer(state, item.state)) changed.set(item.id, { ...item, state });
    }
    this.#items = this.#items
      .map((item) => changed.get(item.id) ?? item)
      .filter((item) => item.state?.archived !== true);
    return changed.size === 0 ? [] : [{ kind: "changed", items: [...changed.values()] }];
  }
}

function isNewer(state: NotificationState, known: NotificationState | undefined): boolean {
  return known === undefined || state.revision > known.revision;
}

function countsOf(counts: ListNotificationsResponse["counts"]): InboxCounts {
  if (counts === undefined) return NO_COUNTS;
  return { unread: Number(counts.unread), unreadByPriority: counts.unreadByPriority.map(Number) };
}
