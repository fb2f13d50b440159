// What can be asked of a server's notifications.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  Device,
  DraftSchema,
  ListNotificationsRequestSchema,
  Notification,
  NotificationService,
  Policy,
  PolicySchema,
  PublishOutcome,
  Topic,
  WatchPresenceResponse,
} from "@sluice/api";
import type { Client } from "@sluice/rpc";
import { Inbox, type InboxContext, type InboxCounts, type InboxOptions } from "./inbox.ts";
import { pages } from "./pages.ts";
import type { UnaryOptions } from "./retry.ts";
import type { Random } from "./time.ts";

/** A notification to publish: for whom (`userIds`, `topics`, `everyone`), and what. */
export type NewNotification = Omit<MessageInitShape<typeof DraftSchema>, "$typeName" | "$unknown">;

/** Which notifications of an inbox. */
export type InboxSelection = Pick<
  Exclude<MessageInitShape<typeof ListNotificationsRequestSchema>, { $typeName: string }>,
  "eventTypes" | "priorityLevel" | "unreadOnly" | "includeArchived" | "topics"
>;

/** What is said of notifications. */
export interface InboxState {
  readonly seen?: boolean;
  readonly read?: boolean;
  readonly archived?: boolean;
  /** Unix ns; 0: no longer. */
  readonly snoozedUntil?: bigint;
}

export interface NotificationClientContext extends Omit<InboxContext, "calls"> {
  readonly rpc: Client<typeof NotificationService>;
  /** A call with one answer, tried again where that may help. */
  readonly ask: <T>(
    call: (options: { signal: AbortSignal; timeoutMs?: number }) => Promise<T>,
    options: UnaryOptions,
  ) => Promise<T>;
}

const KEY_BYTES = 12;

/** The notifications of a server. */
export class NotificationClient {
  readonly #context: NotificationClientContext;

  constructor(context: NotificationClientContext) {
    this.#context = context;
  }

  /**
   * Publishes; resolves when they are on disk. A lost answer does not make two of one. Each is judged by itself: one that is
   * refused has no id, and says why. @throws RpcError
   */
  async publish(
    notifications: NewNotification | readonly NewNotification[],
    options: UnaryOptions = {},
  ): Promise<PublishOutcome[]> {
    const { rpc, random, ask } = this.#context;
    const drafts = Array.isArray(notifications)
      ? (notifications as NewNotification[])
      : [notifications as NewNotification];
    const keyed = drafts.map((draft) => ({ ...draft, idempotencyKey: draft.idempotencyKey ?? keyOf(random) }));
    return (await ask((call) => rpc.publish({ notifications: keyed }, call), options)).outcomes;
  }

  /** The inbox of a user: a snapshot, then what happens, across lost connections. Opened when it is iterated. */
  watchInbox(userId: string, options: InboxOptions = {}): Inbox {
    const { rpc, ...context } = this.#context;
    return new Inbox(userId, { ...context, calls: rpc }, options);
  }

  /** Newest first. @throws RpcError */
  async *list(
    userId: string,
    selection: InboxSelection = {},
    options: UnaryOptions = {},
  ): AsyncGenerator<Notification> {
    const { rpc, ask } = this.#context;
    yield* pages(async (pageToken) => {
      const page = await ask((call) => rpc.listNotifications({ ...selection, userId, pageToken }, call), options);
      return { rows: page.notifications, next: page.nextPageToken };
    });
  }

  /**
   * What becomes of these notifications; "all": of all that there are. Resolves with how many have another state now.
   * @throws RpcError: NOT_FOUND
   */
  async setState(
    userId: string,
    ids: readonly string[] | "all",
    state: InboxState,
    options: UnaryOptions = {},
  ): Promise<bigint> {
    const { rpc, random, ask } = this.#context;
    const which =
      ids === "all"
        ? { throughCursor: (await ask((call) => rpc.listNotifications({ userId, pageSize: 1 }, call), options)).cursor }
        : { ids: [...ids] };
    const request = { ...which, ...state, userId, requestId: keyOf(random) };
    return (await ask((call) => rpc.setState(request, call), options)).changed;
  }

  /** What is neither read nor archived. @throws RpcError */
  async counts(userId: string, options: UnaryOptions = {}): Promise<InboxCounts> {
    const { rpc, ask } = this.#context;
    const { counts } = await ask((call) => rpc.getCounts({ userId }, call), options);
    return { unread: Number(counts?.unread ?? 0n), unreadByPriority: (counts?.unreadByPriority ?? []).map(Number) };
  }

  /** Deletes notifications from one inbox. Not tried again by itself. @throws RpcError: NOT_FOUND */
  async delete(userId: string, ids: readonly string[], options: UnaryOptions = {}): Promise<void> {
    const { rpc, ask } = this.#context;
    const once = { retry: { attemptsMax: 1 }, ...options };
    await ask((call) => rpc.deleteNotifications({ userId, ids: [...ids] }, call), once);
  }

  /** What comes to these topics is the user's from now on. @throws RpcError */
  async joinTopics(userId: string, topics: readonly string[], options: UnaryOptions = {}): Promise<void> {
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.subscribeTopics({ userId, topics: [...topics] }, call), options);
  }

  /** What comes to them later is not. @throws RpcError */
  async leaveTopics(userId: string, topics: readonly string[], options: UnaryOptions = {}): Promise<void> {
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.unsubscribeTopics({ userId, topics: [...topics] }, call), options);
  }

  /** By name; of a user, or all. @throws RpcError */
  async *listTopics(userId = "", options: UnaryOptions = {}): AsyncGenerator<Topic> {
    const { rpc, ask } = this.#context;
    yield* pages(async (pageToken) => {
      const page = await ask((call) => rpc.listTopics({ userId, pageToken }, call), options);
      return { rows: page.topics, next: page.nextPageToken };
    });
  }

  /** Of a user, or ("") the default of all. @throws RpcError */
  async getPolicy(
    userId: string,
    options: UnaryOptions = {},
  ): Promise<{ readonly policy: Policy; readonly isDefault: boolean }> {
    const { rpc, ask } = this.#context;
    const { policy, isDefault } = await ask((call) => rpc.getPolicy({ userId }, call), options);
    return { policy: policy!, isDefault };
  }

  /** undefined: the default again. Resolves with what is in effect. @throws RpcError: INVALID_ARGUMENT */
  async setPolicy(
    userId: string,
    policy: Omit<MessageInitShape<typeof PolicySchema>, "$typeName" | "$unknown"> | undefined,
    options: UnaryOptions = {},
  ): Promise<Policy> {
    const { rpc, ask } = this.#context;
    const request = { userId, ...(policy === undefined ? {} : { policy }) };
    return (await ask((call) => rpc.setPolicy(request, call), options)).policy!;
  }

  /** Devices that are connected, or have acknowledged something. @throws RpcError */
  async listDevices(userId: string, options: UnaryOptions = {}): Promise<Device[]> {
    const { rpc, ask } = this.#context;
    return (await ask((call) => rpc.listDevices({ userId }, call), options)).devices;
  }

  /** Ends its streams, and forgets what it had acknowledged. @throws RpcError */
  async removeDevice(userId: string, deviceId: string, options: UnaryOptions = {}): Promise<void> {
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.removeDevice({ userId, deviceId }, call), options);
  }

  /** First the devices that are connected, then each that comes or goes; until the connection is lost. @throws RpcError */
  watchPresence(
    userId: string,
    options: { readonly graceMs?: number; readonly signal?: AbortSignal } = {},
  ): AsyncIterable<WatchPresenceResponse> {
    const { rpc, closed } = this.#context;
    const { graceMs, signal } = options;
    const request = { userId, ...(graceMs === undefined ? {} : { graceMs }) };
    return rpc.watchPresence(request, { signal: signal === undefined ? closed : AbortSignal.any([closed, signal]) });
  }

  /** What a browser subscribes for at its push service: `applicationServerKey`. @throws RpcError: FAILED_PRECONDITION */
  async getWebPushKey(userId: string, options: UnaryOptions = {}): Promise<string> {
    const { rpc, ask } = this.#context;
    return (await ask((call) => rpc.getWebPushKey({ userId }, call), options)).publicKey;
  }

  /** Where a push service reaches the browser when it is not connected; undefined: no longer. @throws RpcError */
  async putWebPush(
    userId: string,
    deviceId: string,
    target: { readonly endpoint: string; readonly p256dh: string; readonly auth: string } | undefined,
    options: UnaryOptions = {},
  ): Promise<void> {
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.putWebPush({ userId, deviceId, ...target }, call), options);
  }

  /** With inbox, devices, topics and policy. @throws RpcError */
  async deleteUser(userId: string, options: UnaryOptions = {}): Promise<void> {
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.deleteUser({ userId }, call), options);
  }
}

function keyOf(random: Random): string {
  return Array.from(random.bytes(KEY_BYTES), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
