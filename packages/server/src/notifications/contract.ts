// The parts of notifications, and what they ask of each other.
//
//   service.ts, subscription.ts   the RPCs; cursors, presence, frames
//        │ commands, readers         ▲ ReaderListener: something is new
//   store.ts                      commands become records; what is durable is applied, in order; timers; bodies
//        │ records                   ▲ records again, when the store is opened
//   engine/                       what the records make of it: users, inboxes, topics, devices. Synchronous, no I/O
//
// N1. State is the fold of durable records. A command is judged when it comes, becomes one record, and takes effect when that
//     is durable: its promise resolves then. Nothing that is not durable is ever seen.
// N2. The effect of a record depends on nothing that may have been removed from the journal before it: that something is
//     evicted, expires or is replaced is a record of its own.
// N3. Whatever a reader of an inbox is to see has a sequence, that of its record; what is of one priority is handed out in that
//     order, and changes and removals among what is of priority 7. `position` says how far, by priority.
// N4. Names and lengths are checked by the caller; what depends on state is judged here.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { NotificationRecordSchema, Policy } from "@sluice/api";

export type NewNotificationRecord = MessageInitShape<typeof NotificationRecordSchema>;

/** By priority from 0 to 7: everything up to this sequence. */
export type Through = readonly number[];

/** What one user makes of a notification. */
export interface ItemState {
  readonly seen: boolean;
  readonly read: boolean;
  readonly archived: boolean;
  /** Unix ms; 0: not. */
  readonly snoozedUntilMs: number;
  /** Greater with each change; 0: as it was published. */
  readonly revision: number;
}

/** A notification in an inbox. */
export interface InboxItem {
  /** Sequence of its publication. */
  readonly id: number;
  /** Of its (last) delivery: `id`, unless it was delayed or snoozed. */
  readonly sequence: number;
  readonly priority: number;
  /** undefined: not in memory, it stands in the body. */
  readonly type: string | undefined;
  /** By which it came; "": it was for this user, or for everyone. */
  readonly topic: string;
  /** It is in many inboxes: its cursor needs no tag of the user. */
  readonly isShared: boolean;
  /** Unix ms. */
  readonly deliveredAtMs: number;
  /** Unix ms; 0: never. */
  readonly expiresAtMs: number;
  readonly state: ItemState;
  /** It came within the quiet hours of the user. */
  readonly silent: boolean;
  /** For `NotificationStore.body`. */
  readonly place: number;
}

export type RemovalName = "evicted" | "expired" | "replaced" | "deleted";

/** What a reader hands out, in the order of N3. One event is sent as a whole: its position is that behind all of it. */
export type InboxEvent =
  | { readonly kind: "item"; readonly item: InboxItem }
  /** The present states of these items (those that are gone are left out). */
  | { readonly kind: "state"; readonly changes: readonly { readonly id: number; readonly state: ItemState }[] }
  /** All that came up to here has what is true here. */
  | {
      readonly kind: "through";
      readonly through: Through;
      readonly seen: boolean;
      readonly read: boolean;
      readonly archived: boolean;
    }
  /** Once: everything up to `liveAfter` has been handed out. Time for counts and `sync`. */
  | { readonly kind: "live" }
  | {
      readonly kind: "removal";
      readonly reason: RemovalName;
      /** The newest of them, 100 at most. */
      readonly ids: readonly number[];
      readonly count: number;
      /** Of "replaced": by which; 0: not known any more. */
      readonly replacedBy: number;
    };

export interface ReaderOptions {
  /**
   * Where it begins: behind this position; "unread": with what is neither read, archived nor snoozed, then with all that is new; "new": with what
   * is new.
   */
  readonly from: Through | "unread" | "new";
  /** The most urgent of the backlog first, within a priority as it came. */
  readonly byPriority?: boolean;
  /** Only these and more urgent ones. */
  readonly minPriority?: number;
  /** Named: what was removed since its acknowledgement is counted exactly, however long ago that was. */
  readonly deviceId?: string;
}

/** Synchronous; must not call back into the store. */
export interface ReaderListener {
  /** `next` may have something. Called once until `next` has answered undefined again. */
  changed(): void;
  /** No more comes: the user or the device was removed. */
  ended(why: "user-deleted" | "device-removed"): void;
}

/** One reader of an inbox. It holds a position, nothing else: who does not call `next` costs nothing. */
export interface InboxReader {
  /** The next event; undefined: nothing now. */
  next(): InboxEvent | undefined;
  /** Behind what `next` answered last. A new array with each change. */
  readonly position: Through;
  /** The head of the history when this reader was made: what lies behind it is live. */
  readonly liveAfter: number;
  close(): void;
}

export interface PublishDraft {
  readonly userIds: readonly string[];
  readonly topics: readonly string[];
  readonly everyone: boolean;
  readonly type: string;
  readonly title: string;
  readonly message: string;
  readonly priority: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly idempotencyKey: string;
  /** 0: what the policy says. */
  readonly ttlMs: number;
  readonly collapseKey: string;
  /** Unix ns; 0: at once. */
  readonly deliverAt: bigint;
  readonly actionUrl: string;
}

export type PublishVerdict =
  | { readonly kind: "published"; readonly id: number; readonly duplicate: boolean }
  | {
      readonly kind: "refused";
      /** The inbox of a user whose policy says so; a bound of the server; a topic that nobody ever joined. */
      readonly reason: "INBOX_FULL" | "LIMIT_EXCEEDED" | "UNKNOWN_TOPIC";
      /** For people: what, the value, the limit. */
      readonly text: string;
    };

export interface StateCommand {
  readonly userId: string;
  readonly ids: readonly number[];
  /** In place of ids: all that came up to here; only to true, and never snoozed. */
  readonly through?: Through;
  readonly seen?: boolean;
  readonly read?: boolean;
  readonly archived?: boolean;
  /** Unix ms; 0: no longer. */
  readonly snoozedUntilMs?: number;
  /** "": none. */
  readonly requestId: string;
  /** Of the one id. */
  readonly ifRevision?: number;
}

export type StateVerdict =
  | { readonly kind: "changed"; readonly changed: number }
  | { readonly kind: "unknown"; readonly id: number }
  | { readonly kind: "revision"; readonly revision: number };

export interface WebPushTarget {
  readonly endpoint: string;
  readonly p256dh: string;
  readonly auth: string;
}

/** For whom a notification is. */
export interface PushRoute {
  readonly userIds: readonly string[];
  readonly topics: readonly string[];
  readonly everyone: boolean;
}
export interface PushDevice {
  readonly userId: string;
  readonly deviceId: string;
  readonly target: WebPushTarget;
}

export interface DeviceView {
  readonly deviceId: string;
  /** undefined: it has acknowledged nothing. */
  readonly ack: Through | undefined;
  readonly webPush: WebPushTarget | undefined;
  /** Unix ms: its last command, here or in a session before. */
  readonly lastSeenMs: number;
}

export interface InboxCounts {
  readonly unread: number;
  readonly unreadByPriority: readonly number[];
}

export interface ListQuery {
  /** Only what was delivered before this sequence; undefined: all. */
  readonly before?: number;
  readonly max: number;
  readonly minPriority?: number;
  readonly unreadOnly?: boolean;
  readonly includeArchived?: boolean;
  /** None: all. Items of "" (this user, everyone) are left out when there are some. */
  readonly topics?: readonly string[];
}
export interface ListPage {
  /** Newest first. May be fewer than `max` although there are more: a bounded piece of work. */
  readonly items: readonly InboxItem[];
  /** For the next page; 0: that was all. */
  readonly before: number;
}

export interface TopicView {
  readonly name: string;
  readonly members: number;
}

export interface StoreStatistics {
  readonly users: number;
  readonly topics: number;
  /** Of users directly. */
  readonly items: number;
  /** Of topics and everyone. */
  readonly sharedItems: number;
  readonly delayed: number;
  readonly diskBytes: number;
  readonly liveBytes: number;
}

/**
 * What the service asks for. Commands resolve when they are durable and in effect; they throw or reject with LimitExceeded,
 * NotFound (a user that is not there, where one must be) and what a journal refuses with.
 */
export interface NotificationStore extends AsyncDisposable {
  /** Drawn when the store was made: cursors of another one are void. */
  readonly epoch: number;
  /** The last sequence that is in effect. */
  readonly head: number;
  readonly statistics: StoreStatistics;

  /** Resolves when `bytes` more fit under what is not durable yet; undefined: now. */
  room(bytes: number): Promise<void> | undefined;
  /** One verdict for each, in order. */
  publish(drafts: readonly PublishDraft[]): Promise<readonly PublishVerdict[]>;
  /** First contact: the user is there from now on. Undefined: it was already. */
  touch(userId: string): Promise<void> | undefined;
  setState(command: StateCommand): Promise<StateVerdict>;
  /** Joins and leaves; who is in it already, or not, stays so. */
  changeTopics(
    userId: string,
    change: { readonly join?: readonly string[]; readonly leave?: readonly string[] },
  ): Promise<void>;
  /** Deletes from this inbox. Ids that are not there (any more): the first of them is answered, and nothing was deleted. */
  remove(userId: string, ids: readonly number[]): Promise<{ readonly unknown: number | undefined }>;
  setPolicy(userId: string, policy: Policy | undefined): Promise<void>;
  /** Never goes back. */
  acknowledge(userId: string, deviceId: string, through: Through): Promise<void>;
  /** undefined: no longer. */
  putWebPush(userId: string, deviceId: string, target: WebPushTarget | undefined): Promise<void>;
  removeDevice(userId: string, deviceId: string): Promise<void>;
  deleteUser(userId: string): Promise<void>;

  hasUser(userId: string): boolean;
  /** Of a user that is not there: zeros. */
  counts(userId: string): InboxCounts;
  list(userId: string, query: ListQuery): ListPage;
  /** What is in the inbox of this user; undefined: no such id there. */
  find(userId: string, id: number): InboxItem | undefined;
  /** By name, after this one. `userId` "": of all. */
  topics(userId: string, page: { readonly after: string; readonly max: number }): readonly TopicView[];
  devices(userId: string): readonly DeviceView[];
  /** Users whom a notification for these reaches, with the devices that have a push service: over those, not over all users. */
  webPushDevices(route: PushRoute): Iterable<PushDevice>;
  /** In effect: the user's own, or the default. */
  policy(userId: string): { readonly policy: Policy; readonly isDefault: boolean };

  /** @throws NotFound when the user is not there: `touch` comes first */
  openReader(userId: string, options: ReaderOptions, listener: ReaderListener): InboxReader;
  /**
   * The stored bytes of `Notification`, without id, cursor, state and what else depends on the reader: what is appended to
   * them is merged (protobuf). At once when they are in memory. Undefined: it is gone meanwhile.
   */
  body(item: Pick<InboxItem, "place">): Uint8Array | Promise<Uint8Array | undefined> | undefined;
  /** Called once, when the store has failed: everything ends with UNAVAILABLE, and it is opened again. */
  onFailure(listener: (error: Error) => void): void;
}
