// A notification store for tests of the service: arrays of objects, everything decided at once, nothing on disk. It says what
// the contract means as plainly as it can be said; it is neither fast nor bounded.
import { create, toBinary } from "@bufbuild/protobuf";
import { NotificationSchema, type Policy, PolicySchema } from "@sluice/api";
import { NotFound } from "../../errors.ts";
import type {
  DeviceView,
  InboxCounts,
  InboxEvent,
  InboxItem,
  InboxReader,
  ItemState,
  ListPage,
  ListQuery,
  NotificationStore,
  PublishDraft,
  PushDevice,
  PushRoute,
  PublishVerdict,
  ReaderListener,
  ReaderOptions,
  RemovalName,
  StateCommand,
  StateVerdict,
  Through,
  WebPushTarget,
} from "../contract.ts";
import { PRIORITIES } from "../cursor.ts";

interface Happened {
  readonly sequence: number;
  readonly priority: number;
  readonly event: InboxEvent;
}

interface User {
  readonly items: Map<number, InboxItem>;
  readonly history: Happened[];
  readonly topics: Set<string>;
  readonly devices: Map<string, { ack?: Through; webPush?: WebPushTarget }>;
  readonly readers: Set<MemoryReader>;
  policy?: Policy;
}

const FRESH: ItemState = { seen: false, read: false, archived: false, snoozedUntilMs: 0, revision: 0 };

export class MemoryStore implements NotificationStore {
  readonly epoch: number;
  head = 0;
  /** Bodies are handed out as promises, as if they were read from disk. */
  readsFromDisk = false;
  readonly #users = new Map<string, User>();
  readonly #topics = new Set<string>();
  readonly #bodies: Uint8Array[] = [];
  readonly #keys = new Map<string, number>();
  #defaultPolicy = create(PolicySchema);

  constructor(epoch = 7) {
    this.epoch = epoch;
  }

  get statistics() {
    const items = [...this.#users.values()].reduce((sum, { items }) => sum + items.size, 0);
    return {
      users: this.#users.size,
      topics: this.#topics.size,
      items,
      sharedItems: 0,
      delayed: 0,
      diskBytes: 0,
      liveBytes: 0,
    };
  }

  room(): undefined {
    return undefined;
  }

  publish(drafts: readonly PublishDraft[]): Promise<readonly PublishVerdict[]> {
    return Promise.resolve(drafts.map((draft) => this.#publish(draft)));
  }

  touch(userId: string): Promise<void> | undefined {
    if (this.#users.has(userId)) return undefined;
    this.#userOf(userId);
    return Promise.resolve();
  }

  setState(command: StateCommand): Promise<StateVerdict> {
    const { userId, ids, through, seen, read, archived, ifRevision, snoozedUntilMs } = command;
    const user = this.#users.get(userId);
    const named = ids.map((id) => user?.items.get(id));
    const unknown = ids.find((_, i) => named[i] === undefined);
    if (user === undefined || unknown !== undefined) return Promise.resolve({ kind: "unknown", id: unknown ?? 0 });
    const first = named[0];
    if (ifRevision !== undefined && first !== undefined && first.state.revision !== ifRevision) {
      return Promise.resolve({ kind: "revision", revision: first.state.revision });
    }
    const wanted = [...user.items.values()].filter(({ id, sequence, priority }) =>
      through === undefined ? ids.includes(id) : sequence <= through[priority]!,
    );
    this.head++;
    const changes: { readonly id: number; readonly state: ItemState }[] = [];
    for (const item of wanted) {
      const { revision, ...before } = item.state;
      const after = { ...before, ...defined({ seen, read, archived, snoozedUntilMs }) };
      if (JSON.stringify(after) === JSON.stringify(before)) continue;
      const state = { ...after, revision: revision + 1 };
      user.items.set(item.id, { ...item, state });
      changes.push({ id: item.id, state });
    }
    const event: InboxEvent =
      through === undefined
        ? { kind: "state", changes }
        : { kind: "through", through, seen: seen === true, read: read === true, archived: archived === true };
    this.#tell(user, { sequence: this.head, priority: 0, event });
    return Promise.resolve({ kind: "changed", changed: changes.length });
  }

  changeTopics(userId: string, { join = [], leave = [] }: { join?: readonly string[]; leave?: readonly string[] }) {
    const user = this.#userOf(userId);
    for (const topic of join) user.topics.add(topic);
    for (const topic of join) this.#topics.add(topic);
    for (const topic of leave) user.topics.delete(topic);
    return Promise.resolve();
  }

  remove(userId: string, ids: readonly number[]): Promise<{ readonly unknown: number | undefined }> {
    const user = this.#users.get(userId);
    const unknown = ids.find((id) => user?.items.has(id) !== true);
    if (user !== undefined && unknown === undefined) this.#removeAll(user, ids, "deleted");
    return Promise.resolve({ unknown });
  }

  setPolicy(userId: string, policy: Policy | undefined): Promise<void> {
    if (userId === "") this.#defaultPolicy = policy ?? create(PolicySchema);
    else if (policy === undefined) delete this.#userOf(userId).policy;
    else this.#userOf(userId).policy = policy;
    return Promise.resolve();
  }

  acknowledge(userId: string, deviceId: string, through: Through): Promise<void> {
    const { devices } = this.#userOf(userId);
    devices.set(deviceId, { ...devices.get(deviceId), ack: through });
    return Promise.resolve();
  }

  *webPushDevices({ userIds, everyone }: PushRoute): Iterable<PushDevice> {
    for (const [userId, { devices }] of this.#users) {
      if (!everyone && !userIds.includes(userId)) continue;
      for (const [deviceId, { webPush: target }] of devices)
        if (target !== undefined) yield { userId, deviceId, target };
    }
  }
  putWebPush(userId: string, deviceId: string, target: WebPushTarget | undefined): Promise<void> {
    const { devices } = this.#userOf(userId);
    devices.set(deviceId, { ...devices.get(deviceId), ...defined({ webPush: target }) });
    return Promise.resolve();
  }

  removeDevice(userId: string, deviceId: string): Promise<void> {
    const user = this.#userOf(userId);
    user.devices.delete(deviceId);
    for (const reader of user.readers) if (reader.deviceId === deviceId) reader.listener.ended("device-removed");
    return Promise.resolve();
  }

  deleteUser(userId: string): Promise<void> {
    const user = this.#users.get(userId);
    this.#users.delete(userId);
    for (const reader of user?.readers ?? []) reader.listener.ended("user-deleted");
    return Promise.resolve();
  }

  hasUser(userId: string): boolean {
    return this.#users.has(userId);
  }

  counts(userId: string): InboxCounts {
    const unreadByPriority = Array.from({ length: PRIORITIES }, () => 0);
    for (const { priority, state } of this.#users.get(userId)?.items.values() ?? []) {
      if (!state.read && !state.archived) unreadByPriority[priority]!++;
    }
    return { unread: unreadByPriority.reduce((sum, each) => sum + each, 0), unreadByPriority };
  }

  list(userId: string, query: ListQuery): ListPage {
    const { before = Number.POSITIVE_INFINITY, max, minPriority = 0, unreadOnly, includeArchived, topics = [] } = query;
    const all = [...(this.#users.get(userId)?.items.values() ?? [])]
      .filter(({ sequence, priority }) => sequence < before && priority >= minPriority)
      .filter(({ state }) => (includeArchived === true || !state.archived) && (unreadOnly !== true || !state.read))
      .filter(({ topic }) => topics.length === 0 || topics.includes(topic))
      .toSorted((a, b) => b.sequence - a.sequence);
    const items = all.slice(0, max);
    return { items, before: all.length > max ? items.at(-1)!.sequence : 0 };
  }

  find(userId: string, id: number): InboxItem | undefined {
    return this.#users.get(userId)?.items.get(id);
  }

  topics(userId: string, { after, max }: { after: string; max: number }) {
    const names = userId === "" ? this.#topics : (this.#users.get(userId)?.topics ?? []);
    return [...names]
      .filter((name) => name > after)
      .toSorted()
      .slice(0, max)
      .map((name) => ({ name, members: [...this.#users.values()].filter(({ topics }) => topics.has(name)).length }));
  }

  devices(userId: string): readonly DeviceView[] {
    return Array.from(this.#users.get(userId)?.devices ?? [], ([deviceId, { ack, webPush }]) => {
      return { deviceId, ack, webPush, lastSeenMs: 1 };
    });
  }

  policy(userId: string) {
    const own = this.#users.get(userId)?.policy;
    return { policy: own ?? this.#defaultPolicy, isDefault: own === undefined };
  }

  openReader(userId: string, options: ReaderOptions, listener: ReaderListener): InboxReader {
    const user = this.#users.get(userId);
    if (user === undefined) throw new NotFound("user", userId, "it was deleted");
    const reader = new MemoryReader(user, { options, listener, head: this.head });
    user.readers.add(reader);
    return reader;
  }

  body({ place }: Pick<InboxItem, "place">): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    const body = this.#bodies[place];
    return this.readsFromDisk ? Promise.resolve(body) : body;
  }

  onFailure(_listener?: (error: Error) => void): void {}

  /** As a policy does it. */
  evict(userId: string, ids: readonly number[], reason: RemovalName = "evicted"): void {
    this.#removeAll(this.#userOf(userId), ids, reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #publish(draft: PublishDraft): PublishVerdict {
    const { topics, userIds, everyone, idempotencyKey } = draft;
    const unknown = topics.find((topic) => !this.#topics.has(topic));
    if (unknown !== undefined)
      return { kind: "refused", reason: "UNKNOWN_TOPIC", text: `Nobody ever joined "${unknown}"` };
    const known = this.#keys.get(idempotencyKey);
    if (known !== undefined) return { kind: "published", id: known, duplicate: true };
    const id = ++this.head;
    if (idempotencyKey !== "") this.#keys.set(idempotencyKey, id);
    const { type, title, message, priority, metadata, collapseKey, actionUrl } = draft;
    const fields = { type, title, message, priority, metadata, collapseKey, actionUrl, timestamp: 5n };
    const place = this.#bodies.push(toBinary(NotificationSchema, create(NotificationSchema, fields))) - 1;
    const isShared = everyone || topics.length > 0;
    const item = {
      id,
      sequence: id,
      priority,
      type: undefined,
      isShared,
      deliveredAtMs: 1,
      expiresAtMs: 0,
      silent: false,
      place,
      state: FRESH,
    };
    for (const userId of userIds) this.#userOf(userId);
    for (const [userId, user] of this.#users) {
      const topic = everyone ? "" : (topics.find((name) => user.topics.has(name)) ?? "");
      if (!everyone && topic === "" && !userIds.includes(userId)) continue;
      const own = { ...item, topic };
      user.items.set(id, own);
      this.#tell(user, { sequence: id, priority, event: { kind: "item", item: own } });
    }
    return { kind: "published", id, duplicate: false };
  }

  #removeAll(user: User, ids: readonly number[], reason: RemovalName): void {
    for (const id of ids) user.items.delete(id);
    const event = { kind: "removal", reason, ids, count: ids.length, replacedBy: 0 } as const;
    this.#tell(user, { sequence: ++this.head, priority: 0, event });
  }

  #tell(user: User, happened: Happened): void {
    user.history.push(happened);
    for (const reader of user.readers) reader.listener.changed();
  }

  #userOf(userId: string): User {
    let user = this.#users.get(userId);
    if (user === undefined) {
      user = { items: new Map(), history: [], topics: new Set(), devices: new Map(), readers: new Set() };
      this.#users.set(userId, user);
    }
    return user;
  }
}

class MemoryReader implements InboxReader {
  readonly deviceId: string | undefined;
  readonly listener: ReaderListener;
  readonly liveAfter: number;
  readonly #user: User;
  readonly #options: ReaderOptions;
  #position: number[];
  #hasToldLive = false;

  constructor(
    user: User,
    { options, listener, head }: { options: ReaderOptions; listener: ReaderListener; head: number },
  ) {
    const { from } = options;
    this.#user = user;
    this.#options = options;
    this.listener = listener;
    this.deviceId = options.deviceId;
    this.liveAfter = head;
    this.#position =
      typeof from === "object" ? [...from] : Array.from({ length: PRIORITIES }, () => (from === "new" ? head : 0));
  }

  get position(): Through {
    return [...this.#position];
  }

  next(): InboxEvent | undefined {
    const { byPriority = false, minPriority = 0 } = this.#options;
    const wanted = this.#user.history.filter((each) => this.#wants(each, minPriority));
    const backlog = wanted.filter(({ sequence }) => sequence <= this.liveAfter);
    const first = byPriority
      ? backlog.toSorted((a, b) => b.priority - a.priority || a.sequence - b.sequence)[0]
      : backlog[0];
    const live = wanted.find(({ sequence }) => sequence > this.liveAfter);
    const urgent = wanted.find(
      ({ sequence, priority }) => sequence > this.liveAfter && priority > (first?.priority ?? 8),
    );
    if (first === undefined && !this.#hasToldLive) {
      this.#hasToldLive = true;
      this.#position = this.#position.map((each) => Math.max(each, this.liveAfter));
      return { kind: "live" };
    }
    const next = urgent ?? first ?? live;
    if (next === undefined) return undefined;
    // Nothing of this reader's lies between: the cursor is one where it can be.
    const isInOrder = next === wanted[0];
    this.#position = this.#position.map((each, priority) =>
      isInOrder || priority === next.priority ? Math.max(each, next.sequence) : each,
    );
    return next.event.kind === "item" ? this.#present(next.event.item) : next.event;
  }

  close(): void {
    this.#user.readers.delete(this);
  }

  #wants({ sequence, priority, event }: Happened, minPriority: number): boolean {
    if (sequence <= this.#position[priority]!) return false;
    if (event.kind !== "item") return this.#options.from !== "unread" || sequence > this.liveAfter;
    const item = this.#user.items.get(event.item.id);
    if (item === undefined || priority < minPriority) return false;
    return this.#options.from !== "unread" || sequence > this.liveAfter || !(item.state.read || item.state.archived);
  }

  #present(item: InboxItem): InboxEvent {
    return { kind: "item", item: this.#user.items.get(item.id) ?? item };
  }
}

/** What is not undefined. */
function defined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}
